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
from ivit_onnx.opset._shapes import evaluate, parse
from ivit_onnx.proof.value import Value

__all__ = ["violations"]

#: Kernels that take unsigned bytes add 128 to one side of a product, and 128 times the sum of the other side is taken
#: off again: three terms of at most 255 * 128, 128 * 128 and the bias.
_OFFSET_PRODUCT = (255 + 128) * 128


def violations(node: onnx.NodeProto, inputs: dict[str, Value]) -> Iterator[str]:
    """What a call of an operator of the domain breaks of its contract. `inputs` by the operator's names."""
    operator = OPERATORS[node.op_type]
    attributes = {attribute.name: attribute for attribute in node.attribute}
    yield from _attributes(operator, attributes)
    for tensor in operator.inputs:
        value = inputs.get(tensor.name)
        if value is None or tensor.values is None:
            continue
        least, largest = tensor.values
        if value.least < least or value.largest > largest:
            yield f"input {tensor.name}: expected {least}..{largest}, found {value.least}..{value.largest}"
    for layer in operator.groups("Linear"):
        weight, bias = (inputs.get(tensor.name) for tensor in layer[:2])
        if weight is None or weight.shape is None or not isinstance(weight.shape[0], int):
            continue
        reached = weight.shape[0] * _OFFSET_PRODUCT + (0 if bias is None else bias.magnitude)
        if reached >= 2**31:
            yield (
                f"input {layer[0].name}: sums of products of bytes with an offset can reach {reached}, "
                f"expected less than 2^31: {weight.shape[0]} rows are too many"
            )
    known = {name: attribute.i for name, attribute in attributes.items()} | _dimensions(operator, inputs)
    for limit in operator.limits:
        size = evaluate(limit.form, known)
        if size is None or not limit.minimum <= size <= limit.maximum:
            yield f"{limit}: expected {limit.minimum}..{limit.maximum}, found {size}"


def _dimensions(operator: Operator, inputs: dict[str, Value]) -> dict[str, int]:
    """The values of the letters of shapes that have no leading dimensions."""
    found: dict[str, int] = {}
    for tensor in operator.inputs:
        value, shape = inputs.get(tensor.name), parse(tensor.shape)
        if value is None or value.shape is None or shape.leading or len(value.shape) != len(shape.axes):
            continue
        found |= {axis: dim for axis, dim in zip(shape.axes, value.shape, strict=True) if isinstance(dim, int)}
    return found


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
