"""A function and a node as they are written, without what does not decide what they compute."""

from __future__ import annotations

import onnx
from onnx import numpy_helper

from ivit_onnx.proof.types import standard

__all__ = ["canonical_function", "canonical_node"]


def canonical_function(function: onnx.FunctionProto) -> bytes:
    """A function as it is written, without documentation, names of nodes and types that can be derived."""
    plain = onnx.FunctionProto(domain=function.domain, name=function.name)
    plain.input.extend(function.input)
    plain.output.extend(function.output)
    plain.attribute.extend(sorted(function.attribute))
    plain.attribute_proto.extend(function.attribute_proto)
    plain.node.extend(canonical_node(node) for node in function.node)
    content: bytes = plain.SerializeToString(deterministic=True)
    return content


def canonical_node(node: onnx.NodeProto) -> onnx.NodeProto:
    """A node as it is written, without documentation and its name."""
    domain = "" if standard(node.domain) else node.domain
    plain = onnx.NodeProto(op_type=node.op_type, domain=domain, input=node.input, output=node.output)
    for attribute in sorted(node.attribute, key=lambda entry: entry.name):
        kept = plain.attribute.add()
        kept.CopyFrom(attribute)
        kept.doc_string = ""
        if kept.HasField("t"):  # one form of the same numbers
            kept.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(kept.t)))
    return plain
