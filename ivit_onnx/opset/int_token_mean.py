"""IntTokenMean, IntTokenMean16: average pooling over tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnxscript import script

from ivit_onnx.opset._primitives import RoundedDivide, ScaleRound
from ivit_onnx.opset._spec import IVIT, OUTPUT_PARTS, Limit, Operator, Tensor, activation, op
from ivit_onnx.opset.arithmetic import Array, rounded_divide, saturate, scale_round
from ivit_onnx.opset.requantize import scale_inputs

__all__ = ["OPERATORS", "IntTokenMean", "IntTokenMean16"]


@script(IVIT, default_opset=op)
def IntTokenMean(x, multiplier, shift):
    """Mean over tokens, rounded half to even, at another scale: int8 to int8."""
    token_sum = op.ReduceSum(op.Cast(x, to=7), op.Constant(value_ints=[1]), keepdims=0)
    mean = RoundedDivide(token_sum, op.Shape(x, start=1, end=2))
    scaled = ScaleRound(mean, multiplier, shift)
    clamped = op.Min(op.Max(scaled, op.Constant(value_int=-128)), op.Constant(value_int=127))
    y = op.Cast(clamped, to=3)
    return y


@script(IVIT, default_opset=op)
def IntTokenMean16(x, multiplier, shift):
    """Mean over tokens, rounded half to even, at another scale: int16 to int16."""
    token_sum = op.ReduceSum(op.Cast(x, to=7), op.Constant(value_ints=[1]), keepdims=0)
    mean = RoundedDivide(token_sum, op.Shape(x, start=1, end=2))
    scaled = ScaleRound(mean, multiplier, shift)
    clamped = op.Min(op.Max(scaled, op.Constant(value_int=-32768)), op.Constant(value_int=32767))
    y = op.Cast(clamped, to=5)
    return y


def _operator(function: Any, dtype: type[np.signedinteger[Any]]) -> Operator:
    def reference(x: Array, multiplier: Array, shift: Array) -> Array:
        mean = rounded_divide(x.astype(np.int64).sum(1), x.shape[1])
        return saturate(scale_round(mean, multiplier, shift), dtype)

    name = np.dtype(dtype).name
    return Operator(
        base=IntTokenMean.name,
        parts=OUTPUT_PARTS[np.iinfo(dtype).bits],
        function=function,
        compute=reference,
        summary=f"Mean over the tokens of each image, {name} to {name} of another scale.",
        formula=f"mean = round_half_even(sum(x over T) / T); y = clamp_{name}((mean * m + 2^(e-1)) >> e)",
        signature=(
            activation("x", name, "[N, T, C]", "tokens, scale s_x"),
            scale_inputs("", "[] or [C]", "s_x / s_y"),
        ),
        outputs=(Tensor("y", name, "[N, C]", "means, scale s_y"),),
        limits=(Limit("T", 1, 2**16 - 1, "tokens"),),
    )


OPERATORS = (_operator(IntTokenMean, np.int8), _operator(IntTokenMean16, np.int16))
