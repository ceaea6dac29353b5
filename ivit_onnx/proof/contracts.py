"""What native kernels require beyond the function bodies: their contracts, and the narrow paths that stand on them.

A kernel replaces the whole body of an operator, so the proof of a body says something about the kernel only if the
body is the operator set's own. What each narrow path assumes, and where that is made sure of, is listed in
docs/trust.md; checked here is what follows from the model alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import AttributeProto

from ivit_onnx.opset import OPERATORS, Operator
from ivit_onnx.proof.value import Value

__all__ = ["violations"]

#: Bounds of the kernels' own checks.
_SHIFTS = (1, 62)
_OFFSETS = (-(2**62), 2**62)
_MEAN_TOKENS = 65535
#: Kernels that take unsigned bytes add 128 to one side of a product, and 128 times the sum of the other side is taken
#: off again: three terms of at most 255 * 128, 128 * 128 and the bias.
_OFFSET_PRODUCT = (255 + 128) * 128


def violations(node: onnx.NodeProto, inputs: dict[str, Value]) -> Iterator[str]:
    """What a call of an operator of the domain breaks of its contract. `inputs` by the operator's names."""
    operator = OPERATORS[node.op_type]
    attributes = {attribute.name: attribute for attribute in node.attribute}
    yield from _attributes(operator, attributes)
    for name, value in inputs.items():
        bounds = _SHIFTS if name.endswith("shift") else _OFFSETS if name.endswith("offset") else None
        if bounds is not None and (value.least < bounds[0] or value.largest > bounds[1]):
            yield f"input {name}: expected {bounds[0]}..{bounds[1]}, found {value.least}..{value.largest}"
        if name.endswith("weight") and value.shape is not None and isinstance(value.shape[0], int):
            bias = inputs.get(f"{name.removesuffix('weight')}bias")
            reached = value.shape[0] * _OFFSET_PRODUCT + (0 if bias is None else bias.magnitude)
            if reached >= 2**31:
                yield (
                    f"input {name}: sums of products of bytes with an offset can reach {reached}, "
                    f"expected less than 2^31: {value.shape[0]} rows are too many"
                )
    x = next(iter(inputs.values()), None)
    if node.op_type.startswith("IntTokenMean") and x is not None and x.shape is not None:
        tokens = x.shape[1] if len(x.shape) == 3 else None
        if not isinstance(tokens, int) or not 1 <= tokens <= _MEAN_TOKENS:
            yield f"tokens of input x: expected 1..{_MEAN_TOKENS}, found {tokens}"


def _attributes(operator: Operator, found: dict[str, AttributeProto]) -> Iterator[str]:
    for attribute in operator.attributes:
        value = found.get(attribute.name)
        if value is None or value.type != AttributeProto.INT:
            yield f"attribute {attribute.name}: expected an integer, found none"
        elif not attribute.minimum <= value.i <= attribute.maximum or (
            attribute.allowed and value.i not in attribute.allowed
        ):
            expected = ", ".join(map(str, attribute.allowed)) or f"{attribute.minimum}..{attribute.maximum}"
            yield f"attribute {attribute.name}: expected {expected}, found {value.i}"
