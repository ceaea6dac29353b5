"""What a function computes, whatever its nodes and values are called and whether its callees are inlined."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import onnx
from onnx import numpy_helper

from ivit_onnx.opset import DOMAIN, function_protos
from ivit_onnx.proof.types import standard

__all__ = ["canonical_function", "canonical_node", "foreign_functions"]

_Functions = Mapping[tuple[str, str], onnx.FunctionProto]
_Attributes = Mapping[str, bytes]


def foreign_functions(model: onnx.ModelProto) -> list[str]:
    """Functions of the domain whose bodies compute something else than those of the operator set."""
    own, functions = _own_digests(), _by_name(model.functions)
    return [
        function.name
        for function in model.functions
        if function.domain == DOMAIN and own.get(function.name) != _digest(function, functions)
    ]


@cache
def _own_digests() -> dict[str, tuple[bytes, ...]]:
    functions = _by_name(function_protos())
    return {name: _digest(function, functions) for (_, name), function in functions.items()}


def _by_name(functions: Iterable[onnx.FunctionProto]) -> _Functions:
    return {(function.domain, function.name): function for function in functions}


def _digest(function: onnx.FunctionProto, functions: _Functions) -> tuple[bytes, ...]:
    """The inputs and attributes, and a hash for each output: of the operators that lead to it, through all calls."""
    inputs = [f"input {index}".encode() for index in range(len(function.input))]
    attributes = {name: f"attribute {name}".encode() for name in function.attribute}
    return (*inputs, *sorted(attributes.values()), *_expanded(function, functions, inputs, attributes, depth=0))


def _expanded(
    function: onnx.FunctionProto, functions: _Functions, inputs: Sequence[bytes], attributes: _Attributes, depth: int
) -> tuple[bytes, ...]:
    values = dict(zip(function.input, inputs, strict=False))
    if depth > len(functions):
        return (b"calls itself",)
    for node in function.node:
        arguments = [values.get(name, b"unknown") for name in node.input]
        bound = {
            entry.name: attributes.get(entry.ref_attr_name, b"missing") if entry.ref_attr_name else _attribute(entry)
            for entry in node.attribute
        }
        callee = functions.get((node.domain, node.op_type))
        if callee is not None:
            results: Sequence[bytes] = _expanded(callee, functions, arguments, bound, depth + 1)
        else:
            parts = [b"" if standard(node.domain) else node.domain.encode(), node.op_type.encode(), *arguments]
            parts += [part for name in sorted(bound) for part in (name.encode(), bound[name])]
            whole = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
            results = [hashlib.sha256(whole + bytes([index])).digest() for index in range(len(node.output))]
        values.update(zip(node.output, results, strict=False))
    return tuple(values.get(name, b"unknown") for name in function.output)


def _attribute(attribute: onnx.AttributeProto) -> bytes:
    """The value of an attribute; equal constants are equal, whichever way they are written."""
    value: object = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        array = numpy_helper.to_array(value)
        value = (str(array.dtype), array.shape, array.tolist())
    return repr(value).encode()


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
