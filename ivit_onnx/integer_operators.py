"""Standard operators whose CPU kernels in ONNX Runtime compute in integers where all their types are integers.

A closed list: what is not in it may take its integers through floating point, as Pow and Resize do, and is
not known to be integer-only. tests/test_integer_operators.py runs each that computes on integers that no float holds.
"""

from __future__ import annotations

from collections.abc import Mapping

from onnx import NodeProto

from ivit_onnx.opset import DOMAIN, OPERATORS

__all__ = ["INTEGER_OPERATORS", "computes_in_integers"]

#: These move, repeat, choose or count elements, and compute nothing with them.
_MOVES = (
    *("Concat", "Constant", "ConstantOfShape", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements"),
    *("GatherND", "Identity", "Pad", "Reshape", "ScatterElements", "ScatterND", "Shape", "Size", "Slice"),
    *("SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where"),
)
#: Loops over elements of the tensor's own type, or of int32 sums of bytes. Two of them are exact up to 2^53 only, which
#: the proof against overflow makes sure of: `Range` divides once in double precision for the number of its elements,
#: and `ReduceSum` adds in double precision in ONNX Runtime 1.32 (in integers in 1.23).
_ARITHMETIC = (
    *("Abs", "Add", "And", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Cast", "Clip"),
    *("ConvInteger", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "MatMulInteger", "Max"),
    *("Min", "Mod", "Mul", "Neg", "Not", "Or", "Range", "ReduceMax", "ReduceMin", "ReduceSum", "Sign", "Sub", "Xor"),
)

#: By operator, the attributes that have to be as they stand here.
INTEGER_OPERATORS: Mapping[str, Mapping[str, int]] = {
    **{name: {} for name in (*_MOVES, *_ARITHMETIC)},
    "Mod": {"fmod": 0},
}


def computes_in_integers(node: NodeProto) -> bool:
    """Whether a node of integer types is known to compute in integers: one of the list, or of this package's own."""
    if node.domain == DOMAIN:
        return node.op_type in OPERATORS
    if node.domain not in ("", "ai.onnx") or node.op_type not in INTEGER_OPERATORS:
        return False
    wanted = INTEGER_OPERATORS[node.op_type]
    return all(attribute.i == wanted.get(attribute.name, attribute.i) for attribute in node.attribute)
