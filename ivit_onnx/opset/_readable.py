"""Rewrites the functions that onnxscript writes so that they read well in a graph viewer.

Requires: bodies as onnxscript makes them, with `tmp`, `tmp_0`, ... for what has no name in the source.

Ensures: the same computation, in which

1. each literal constant is a `Constant` with a tensor and exactly one reader; Netron then draws it inside the reader,
   as `B = 127`, instead of as a node of its own,
2. an intermediate without a name carries the name of the operator that makes it: `sub`, `cast_2`.
"""

from __future__ import annotations

import re

import numpy as np
from onnx import FunctionProto, NodeProto, TensorProto, helper, numpy_helper

__all__ = ["readable"]

_UNNAMED = re.compile(r"tmp(_\d+)?")


def readable(function: FunctionProto) -> FunctionProto:
    """The same function, easier to read."""
    literals = {node.output[0]: tensor for node in function.node if (tensor := _literal(node)) is not None}
    outputs = [name for node in function.node for name in node.output]
    names = _Names({*function.input, *(name for name in outputs if not _UNNAMED.fullmatch(name))} - set(literals))
    renamed: dict[str, str] = {}
    result = FunctionProto()
    result.CopyFrom(function)
    del result.node[:]
    for source in function.node:
        if source.output[0] in literals:
            continue
        node = NodeProto()
        node.CopyFrom(source)
        for i, name in enumerate(source.input):
            if name in literals:
                node.input[i] = names.fresh("constant" if _UNNAMED.fullmatch(name) else name)
                result.node.append(_constant(node.input[i], literals[name]))
            else:
                node.input[i] = renamed.get(name, name)
        for i, name in enumerate(source.output):
            if _UNNAMED.fullmatch(name):
                renamed[name] = node.output[i] = names.fresh(_snake_case(source.op_type))
        result.node.append(node)
    return result


class _Names:
    """Names in use inside one function."""

    def __init__(self, taken: set[str]) -> None:
        self.taken = taken

    def fresh(self, base: str) -> str:
        """`base`, or `base_2`, `base_3`, ... if that is taken."""
        name, count = base, 1
        while name in self.taken:
            count += 1
            name = f"{base}_{count}"
        self.taken.add(name)
        return name


def _literal(node: NodeProto) -> TensorProto | None:
    """The value of a Constant, unless it is an attribute of the function."""
    if node.op_type != "Constant" or node.attribute[0].ref_attr_name:
        return None
    attribute = node.attribute[0]
    if attribute.name == "value":
        return attribute.t
    if attribute.name == "value_int":
        return numpy_helper.from_array(np.array(attribute.i, np.int64))
    if attribute.name == "value_ints":
        return numpy_helper.from_array(np.array(attribute.ints, np.int64))
    return None


def _constant(name: str, value: TensorProto) -> NodeProto:
    tensor = TensorProto()
    tensor.CopyFrom(value)
    tensor.name = name
    return helper.make_node("Constant", [], [name], value=tensor)


def _snake_case(op_type: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", op_type).lower()
