"""Inputs and outputs of a model: tensors, the inputs with a known rank."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from ivit_onnx.proof.report import Finding

__all__ = ["interface_deviations"]


def interface_deviations(model: onnx.ModelProto) -> Iterator[Finding]:
    """Types that are not of tensors, inputs without rank, and dimensions that are no number of elements."""
    inputs = {value.name for value in model.graph.input}
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for message in _messages(value, is_input=value.name in inputs):
            yield Finding(value.name, value.name, message)


def _messages(value: onnx.ValueInfoProto, *, is_input: bool) -> Iterator[str]:
    kind = value.type.WhichOneof("value")
    if kind not in ("tensor_type", None):
        yield f"expected a tensor, found a {kind.removesuffix('_type')}"
        return
    tensor = value.type.tensor_type
    if is_input and not tensor.elem_type:
        yield "expected an element type, found none"
    if is_input and not tensor.HasField("shape"):
        yield "expected an input of a known number of dimensions, found no shape"
    for axis, dim in enumerate(tensor.shape.dim):
        if dim.HasField("dim_value") and dim.dim_value < 0:
            yield f"dimension {axis} is {dim.dim_value}: expected a number of elements, or a name for any"
