"""IntTokenMax: maximum pooling over tokens."""

from __future__ import annotations

import numpy as np
from onnxscript import script

from ivit_onnx.opset._primitives import ScaleRound
from ivit_onnx.opset._spec import IVIT, Limit, Operator, Tensor, activation, op
from ivit_onnx.opset.arithmetic import Array, saturate, scale_round
from ivit_onnx.opset.requantize import scale_inputs

__all__ = ["OPERATORS", "IntTokenMax"]


@script(IVIT, default_opset=op)
def IntTokenMax(x, multiplier, shift):
    """Maximum over tokens, at another scale: int8 to int8."""
    largest = op.ReduceMax(op.Cast(x, to=7), op.Constant(value_ints=[1]), keepdims=0)
    scaled = ScaleRound(largest, multiplier, shift)
    clamped = op.Min(op.Max(scaled, op.Constant(value_int=-128)), op.Constant(value_int=127))
    y = op.Cast(clamped, to=3)
    return y


def _reference(x: Array, multiplier: Array, shift: Array) -> Array:
    return saturate(scale_round(x.max(1), multiplier, shift), np.int8)


OPERATORS = (
    Operator(
        function=IntTokenMax,
        compute=_reference,
        summary="Maximum over the tokens of each image, int8 to int8 of another scale.",
        formula="y = clamp_int8((max(x over T) * m + 2^(e-1)) >> e)",
        signature=(
            activation("x", "int8", "[N, T, C]", "tokens, scale s_x"),
            scale_inputs("", "[] or [C]", "s_x / s_y"),
        ),
        outputs=(Tensor("y", "int8", "[N, C]", "maxima, scale s_y"),),
        limits=(Limit("T", 1, 2**16 - 1, "tokens"),),
    ),
)
