"""AddRequantize: the residual connection."""

from __future__ import annotations

import numpy as np
from onnxscript import script

from ivit_onnx.opset._primitives import ScaleRound
from ivit_onnx.opset._spec import IVIT, Operator, Tensor, activation, op
from ivit_onnx.opset.arithmetic import Array, saturate, scale_round
from ivit_onnx.opset.requantize import scale_inputs

__all__ = ["ADD_REQUANTIZE", "OPERATORS", "AddRequantize"]


@script(IVIT, default_opset=op)
def AddRequantize(a, a_multiplier, a_shift, b, b_multiplier, b_shift):
    """Residual connection: each side is scaled and rounded by itself, then both are added and clamped to int16."""
    a_scaled = ScaleRound(a, a_multiplier, a_shift)
    b_scaled = ScaleRound(b, b_multiplier, b_shift)
    total = op.Add(a_scaled, b_scaled)
    clamped = op.Min(op.Max(total, op.Constant(value_int=-32768)), op.Constant(value_int=32767))
    y = op.Cast(clamped, to=5)
    return y


def reference(a: Array, a_multiplier: Array, a_shift: Array, b: Array, b_multiplier: Array, b_shift: Array) -> Array:
    return saturate(scale_round(a, a_multiplier, a_shift) + scale_round(b, b_multiplier, b_shift), np.int16)


ADD_REQUANTIZE = Operator(
    function=AddRequantize,
    compute=reference,
    summary="Adds two int16 tensors of different scales at a third scale: the residual connection.",
    formula="y = clamp_int16(((a * ma + 2^(ea-1)) >> ea) + ((b * mb + 2^(eb-1)) >> eb))",
    signature=(
        activation("a", "int16", "[.., C]", "first side, scale s_a"),
        scale_inputs("a_", "[] or [C]", "s_a / s_y"),
        activation("b", "int16", "[.., C]", "second side, same shape, scale s_b"),
        scale_inputs("b_", "[] or [C]", "s_b / s_y"),
    ),
    outputs=(Tensor("y", "int16", "[.., C]", "sum at scale s_y"),),
)
OPERATORS = (ADD_REQUANTIZE,)
