"""IntLinear, IntLinear16, IntLinear32, IntLinearAdd: matrix product, bias and requantisation in one operator."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnxscript import script

from ivit_onnx.opset import add_requantize, int_layer_norm
from ivit_onnx.opset._spec import IVIT, Group, Operator, Role, Tensor, activation, op
from ivit_onnx.opset.add_requantize import AddRequantize
from ivit_onnx.opset.arithmetic import Array, matmul, saturate, scale_round
from ivit_onnx.opset.int_layer_norm import IntLayerNorm, norm_inputs
from ivit_onnx.opset.requantize import Requantize, Requantize16, Requantize32, scale_inputs

__all__ = [
    "OPERATORS",
    "IntLinear",
    "IntLinear16",
    "IntLinear32",
    "IntLinearAdd",
    "IntLinearAddNorm",
    "linear",
    "linear_inputs",
]


@script(IVIT, default_opset=op)
def IntLinear(x, weight, bias, multiplier, shift):
    """Linear layer: int8 x int8 products summed in int32, plus bias, requantised to int8."""
    accumulator = op.Add(op.MatMulInteger(x, weight), bias)
    y = Requantize(accumulator, multiplier, shift)
    return y


@script(IVIT, default_opset=op)
def IntLinear16(x, weight, bias, multiplier, shift):
    """Linear layer: int8 x int8 products summed in int32, plus bias, requantised to int16."""
    accumulator = op.Add(op.MatMulInteger(x, weight), bias)
    y = Requantize16(accumulator, multiplier, shift)
    return y


@script(IVIT, default_opset=op)
def IntLinear32(x, weight, bias, multiplier, shift):
    """Linear layer: int8 x int8 products summed in int32, plus bias, requantised to int32 of one common scale."""
    accumulator = op.Add(op.MatMulInteger(x, weight), bias)
    y = Requantize32(accumulator, multiplier, shift)
    return y


@script(IVIT, default_opset=op)
def IntLinearAdd(
    x,
    residual,
    weight,
    bias,
    multiplier,
    shift,
    branch_multiplier,
    branch_shift,
    residual_multiplier,
    residual_shift,
):
    """Linear layer to int16 followed by the residual connection."""
    branch = IntLinear16(x, weight, bias, multiplier, shift)
    y = AddRequantize(branch, branch_multiplier, branch_shift, residual, residual_multiplier, residual_shift)
    return y


@script(IVIT, default_opset=op)
def IntLinearAddNorm(
    x,
    residual,
    weight,
    bias,
    multiplier,
    shift,
    branch_multiplier,
    branch_shift,
    residual_multiplier,
    residual_shift,
    norm_multiplier,
    norm_offset,
    norm_shift,
):
    """Linear layer, residual connection, and the normalisation of the residual stream that follows it."""
    y = IntLinearAdd(
        x,
        residual,
        weight,
        bias,
        multiplier,
        shift,
        branch_multiplier,
        branch_shift,
        residual_multiplier,
        residual_shift,
    )
    normalized = IntLayerNorm(y, norm_multiplier, norm_offset, norm_shift)
    return y, normalized


def linear(
    x: Array, weight: Array, bias: Array, multiplier: Array, shift: Array, dtype: type[np.signedinteger[Any]]
) -> Array:
    """x @ weight + bias, requantised and saturated to `dtype`."""
    accumulator = matmul(x, weight) + np.asarray(bias, np.int64)
    return saturate(scale_round(accumulator, multiplier, shift), dtype)


def reference_add(
    x: Array,
    residual: Array,
    weight: Array,
    bias: Array,
    multiplier: Array,
    shift: Array,
    branch_multiplier: Array,
    branch_shift: Array,
    residual_multiplier: Array,
    residual_shift: Array,
) -> Array:
    branch = linear(x, weight, bias, multiplier, shift, np.int16)
    return add_requantize.reference(
        branch, branch_multiplier, branch_shift, residual, residual_multiplier, residual_shift
    )


def reference_add_norm(*inputs: Array) -> tuple[Array, Array]:
    y = reference_add(*inputs[:-3])
    return y, int_layer_norm.reference(y, *inputs[-3:])


def linear_inputs(prefix: str, x_scale: str, y_scale: str, rows: str = "K", columns: str = "N") -> Group:
    """Weight, bias and requantisation inputs of one linear layer inside an operator."""
    weight_doc = "weight, one scale s_w per output channel"
    members = (
        Tensor(f"{prefix}weight", "int8", f"[{rows}, {columns}]", weight_doc, Role.PACKED),
        Tensor(f"{prefix}bias", "int32", f"[{columns}]", f"bias at scale {x_scale} * s_w"),
        scale_inputs(prefix, f"[] or [{columns}]", f"{x_scale} * s_w / {y_scale}"),
    )
    return Group("Linear", f"{prefix}linear", members)


def _operator(function: Any, dtype: type[np.signedinteger[Any]]) -> Operator:
    def reference(x: Array, weight: Array, bias: Array, multiplier: Array, shift: Array) -> Array:
        return linear(x, weight, bias, multiplier, shift, dtype)

    name = np.dtype(dtype).name
    return Operator(
        function=function,
        reference=reference,
        summary=f"Linear layer with {name} output.",
        formula=f"y = clamp_{name}(((x @ weight + bias) * m + 2^(e-1)) >> e); x @ weight + bias must fit int32",
        signature=(activation("x", "int8", "[.., K]", "scale s_x"), linear_inputs("", "s_x", "s_y")),
        outputs=(Tensor("y", name, "[.., N]", "scale s_y"),),
        composite=True,
    )


OPERATORS = (
    _operator(IntLinear, np.int8),
    _operator(IntLinear16, np.int16),
    _operator(IntLinear32, np.int32),
    Operator(
        function=IntLinearAdd,
        reference=reference_add,
        summary="Linear layer whose int16 result is added to the residual stream.",
        formula="y = AddRequantize(IntLinear16(x, weight, bias, m, e), residual)",
        signature=(
            activation("x", "int8", "[.., K]", "scale s_x"),
            activation("residual", "int16", "[.., N]", "residual stream, scale s_r"),
            linear_inputs("", "s_x", "s_b"),
            scale_inputs("branch_", "[]", "s_b / s_y"),
            scale_inputs("residual_", "[]", "s_r / s_y"),
        ),
        outputs=(Tensor("y", "int16", "[.., N]", "residual stream, scale s_y"),),
        composite=True,
    ),
    Operator(
        function=IntLinearAddNorm,
        reference=reference_add_norm,
        summary="Linear layer, residual connection and the normalisation after it.",
        formula="y = IntLinearAdd(x, residual); normalized = IntLayerNorm(y)",
        signature=(
            activation("x", "int8", "[.., K]", "scale s_x"),
            activation("residual", "int16", "[.., C]", "residual stream, scale s_r"),
            linear_inputs("", "s_x", "s_b", "K", "C"),
            scale_inputs("branch_", "[]", "s_b / s_y"),
            scale_inputs("residual_", "[]", "s_r / s_y"),
            norm_inputs("norm_", "s_n"),
        ),
        outputs=(
            Tensor("y", "int16", "[.., C]", "residual stream, scale s_y"),
            Tensor("normalized", "int8", "[.., C]", "scale s_n"),
        ),
        composite=True,
    ),
)
