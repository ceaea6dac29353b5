"""IntMlpAdd: the feed-forward half of a transformer block with its residual connection."""

from __future__ import annotations

import numpy as np
from onnxscript import script

from ivit_onnx.opset import int_layer_norm, shift_gelu
from ivit_onnx.opset._spec import IVIT, Group, Operator, Tensor, activation, op
from ivit_onnx.opset.arithmetic import Array, saturate, scale_round
from ivit_onnx.opset.int_layer_norm import IntLayerNorm, norm_inputs
from ivit_onnx.opset.int_linear import IntLinear, IntLinearAdd, linear, linear_inputs, reference_add
from ivit_onnx.opset.requantize import Requantize, scale_inputs
from ivit_onnx.opset.shift_gelu import ShiftGELU
from ivit_onnx.opset.shiftmax import EXP_ATTRIBUTES

__all__ = ["NORMALIZED", "OPERATORS", "OUTPUT", "IntMlpAdd", "IntMlpAddNorm", "mlp_inputs"]


@script(IVIT, default_opset=op)
def IntMlpAdd(
    x,
    residual,
    fc1_weight,
    fc1_bias,
    fc1_multiplier,
    fc1_shift,
    gelu_multiplier,
    gelu_shift,
    fc2_weight,
    fc2_bias,
    fc2_multiplier,
    fc2_shift,
    branch_multiplier,
    branch_shift,
    residual_multiplier,
    residual_shift,
    x0: int,
    n: int,
):
    """Feed-forward block: linear, ShiftGELU, requantisation, linear to int16, residual connection."""
    hidden = IntLinear(x, fc1_weight, fc1_bias, fc1_multiplier, fc1_shift)
    activated = op.Cast(ShiftGELU(hidden, x0=x0, n=n), to=6)
    activated_int8 = Requantize(activated, gelu_multiplier, gelu_shift)
    y = IntLinearAdd(
        activated_int8,
        residual,
        fc2_weight,
        fc2_bias,
        fc2_multiplier,
        fc2_shift,
        branch_multiplier,
        branch_shift,
        residual_multiplier,
        residual_shift,
    )
    return y


@script(IVIT, default_opset=op)
def IntMlpAddNorm(
    x,
    residual,
    fc1_weight,
    fc1_bias,
    fc1_multiplier,
    fc1_shift,
    gelu_multiplier,
    gelu_shift,
    fc2_weight,
    fc2_bias,
    fc2_multiplier,
    fc2_shift,
    branch_multiplier,
    branch_shift,
    residual_multiplier,
    residual_shift,
    norm_multiplier,
    norm_offset,
    norm_shift,
    x0: int,
    n: int,
):
    """Feed-forward block, residual connection, and the normalisation of the residual stream that follows it."""
    y = IntMlpAdd(
        x,
        residual,
        fc1_weight,
        fc1_bias,
        fc1_multiplier,
        fc1_shift,
        gelu_multiplier,
        gelu_shift,
        fc2_weight,
        fc2_bias,
        fc2_multiplier,
        fc2_shift,
        branch_multiplier,
        branch_shift,
        residual_multiplier,
        residual_shift,
        x0=x0,
        n=n,
    )
    normalized = IntLayerNorm(y, norm_multiplier, norm_offset, norm_shift)
    return y, normalized


def reference(
    x: Array,
    residual: Array,
    fc1_weight: Array,
    fc1_bias: Array,
    fc1_multiplier: Array,
    fc1_shift: Array,
    gelu_multiplier: Array,
    gelu_shift: Array,
    *fc2_and_residual: Array,
    x0: int,
    n: int,
) -> Array:
    hidden = linear(x, fc1_weight, fc1_bias, fc1_multiplier, fc1_shift, np.int8)
    activated = shift_gelu.reference(hidden, x0=x0, n=n)
    activated_int8 = saturate(scale_round(activated, gelu_multiplier, gelu_shift), np.int8)
    return reference_add(activated_int8, residual, *fc2_and_residual)


def reference_norm(*inputs: Array, x0: int, n: int) -> tuple[Array, Array]:
    y = reference(*inputs[:-3], x0=x0, n=n)
    return y, int_layer_norm.reference(y, *inputs[-3:])


def mlp_inputs(nonlinear: Tensor | Group) -> tuple[Tensor | Group, ...]:
    """The inputs; `nonlinear` is that, or are those, of the activation function, from s_h to s_g."""
    return (
        activation("x", "int8", "[.., C]", "normalised tokens, scale s_x"),
        activation("residual", "int16", "[.., C]", "residual stream, scale s_r"),
        linear_inputs("fc1_", "s_x", "s_h", "C", "H"),
        nonlinear,
        linear_inputs("fc2_", "s_g", "s_b", "H", "C"),
        scale_inputs("branch_", "[]", "s_b / s_y"),
        scale_inputs("residual_", "[]", "s_r / s_y"),
    )


OUTPUT = Tensor("y", "int16", "[.., C]", "residual stream, scale s_y")
NORMALIZED = Tensor("normalized", "int8", "[.., C]", "scale s_n")

_INPUTS = mlp_inputs(scale_inputs("gelu_", "[] or [H]", "s_h * 2^-7 / s_g"))

OPERATORS = (
    Operator(
        function=IntMlpAdd,
        reference=reference,
        summary="Feed-forward block: linear, ShiftGELU, requantisation, linear, residual connection.",
        formula="y = IntLinearAdd(Requantize(ShiftGELU(IntLinear(x, fc1))), residual, fc2)",
        signature=_INPUTS,
        outputs=(OUTPUT,),
        attributes=EXP_ATTRIBUTES,
        composite=True,
    ),
    Operator(
        function=IntMlpAddNorm,
        reference=reference_norm,
        summary="Feed-forward block, residual connection and the normalisation after it.",
        formula="y = IntMlpAdd(x, residual); normalized = IntLayerNorm(y)",
        signature=(*_INPUTS, norm_inputs("norm_", "s_n")),
        outputs=(OUTPUT, NORMALIZED),
        attributes=EXP_ATTRIBUTES,
        composite=True,
    ),
)
