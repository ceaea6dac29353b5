"""IntLinear, IntLinear16, IntLinear32, IntLinearAdd: matrix product, bias and requantisation in one operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onnxscript import script

from ivit_onnx.opset._spec import IVIT, Group, Operator, Role, Tensor, activation, op
from ivit_onnx.opset._variants import then_norm
from ivit_onnx.opset.add_requantize import ADD_REQUANTIZE, AddRequantize
from ivit_onnx.opset.arithmetic import MATMUL
from ivit_onnx.opset.requantize import (
    REQUANTIZE,
    REQUANTIZE_16,
    REQUANTIZE_32,
    Requantize,
    Requantize16,
    Requantize32,
    scale_inputs,
)

__all__ = [
    "INT_LINEAR",
    "INT_LINEAR_16",
    "INT_LINEAR_ADD",
    "OPERATORS",
    "IntLinear",
    "IntLinear16",
    "IntLinear32",
    "IntLinearAdd",
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


def linear(
    matmul: Callable[..., Any],
    requantize: Callable[..., Any],
    x: Any,
    weight: Any,
    bias: Any,
    multiplier: Any,
    shift: Any,
) -> Any:
    """IntLinear by implementations of the product and of Requantize, or of another width."""
    return requantize(matmul(x, weight) + bias, multiplier, shift)


def linear_add(
    linear: Callable[..., Any],
    add: Callable[..., Any],
    x: Any,
    residual: Any,
    weight: Any,
    bias: Any,
    multiplier: Any,
    shift: Any,
    branch_multiplier: Any,
    branch_shift: Any,
    residual_multiplier: Any,
    residual_shift: Any,
) -> Any:
    """IntLinearAdd by implementations of IntLinear16 and AddRequantize."""
    branch = linear(x, weight, bias, multiplier, shift)
    return add(branch, branch_multiplier, branch_shift, residual, residual_multiplier, residual_shift)


def linear_inputs(prefix: str, x_scale: str, y_scale: str, rows: str = "K", columns: str = "N") -> Group:
    """Weight, bias and requantisation inputs of one linear layer inside an operator."""
    weight_doc = "weight, one scale s_w per output channel"
    members = (
        Tensor(f"{prefix}weight", "int8", f"[{rows}, {columns}]", weight_doc, Role.PACKED),
        Tensor(f"{prefix}bias", "int32", f"[{columns}]", f"bias at scale {x_scale} * s_w"),
        scale_inputs(prefix, f"[] or [{columns}]", f"{x_scale} * s_w / {y_scale}"),
    )
    return Group("Linear", f"{prefix}linear", members)


def _operator(function: Any, requantize: Operator) -> Operator:
    name = requantize.outputs[0].dtype
    return Operator(
        base=IntLinear.name,
        parts=requantize.parts,
        function=function,
        compute=linear,
        uses=(MATMUL, requantize),
        summary=f"Linear layer with {name} output.",
        formula=f"y = clamp_{name}(((x @ weight + bias) * m + 2^(e-1)) >> e); x @ weight + bias must fit int32",
        signature=(activation("x", "int8", "[.., K]", "scale s_x"), linear_inputs("", "s_x", "s_y")),
        outputs=(Tensor("y", name, "[.., N]", "scale s_y"),),
        composite=True,
    )


INT_LINEAR = _operator(IntLinear, REQUANTIZE)
INT_LINEAR_16 = _operator(IntLinear16, REQUANTIZE_16)
INT_LINEAR_ADD = Operator(
    function=IntLinearAdd,
    compute=linear_add,
    uses=(INT_LINEAR_16, ADD_REQUANTIZE),
    summary="Linear layer whose int16 result is added to the residual stream.",
    formula="y = AddRequantize(IntLinear16(x, weight, bias, m, e), residual)",
    signature=(
        activation("x", "int8", "[.., K]", "scale s_x"),
        activation("residual", "int16", "[.., C]", "residual stream, scale s_r"),
        linear_inputs("", "s_x", "s_b", "K", "C"),
        scale_inputs("branch_", "[]", "s_b / s_y"),
        scale_inputs("residual_", "[]", "s_r / s_y"),
    ),
    outputs=(Tensor("y", "int16", "[.., C]", "residual stream, scale s_y"),),
    composite=True,
)

OPERATORS = (
    INT_LINEAR,
    INT_LINEAR_16,
    _operator(IntLinear32, REQUANTIZE_32),
    INT_LINEAR_ADD,
    then_norm(
        INT_LINEAR_ADD,
        "IntLinearAddNorm",
        summary="Linear layer, residual connection and the normalisation after it.",
        doc="Linear layer, residual connection, and the normalisation of the residual stream that follows it.",
    ),
)
