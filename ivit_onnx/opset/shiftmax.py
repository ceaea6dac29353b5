"""Shiftmax: integer softmax by shifts."""

from __future__ import annotations

import numpy as np
from onnxscript import script

from ivit_onnx.opset._primitives import PowerOfTwo, ShiftExp
from ivit_onnx.opset._spec import IVIT, Attribute, Operator, Tensor, activation, op
from ivit_onnx.opset.arithmetic import INT32_MAX, Array, shift_exp
from ivit_onnx.options.choices import SOFTMAX_BITS

__all__ = ["EXP_ATTRIBUTES", "FRAC_BITS", "MASKED", "SHIFTMAX", "OPERATORS", "PRIMITIVES", "ScoreShiftmax", "Shiftmax"]

#: Added to a score that must not count: far below n * x0, at which the exponential is cut off.
MASKED = -(2**40)

FRAC_BITS = Attribute(
    "frac_bits", 7, 15, "fractional bits of a probability: output scale 2^-frac_bits", allowed=SOFTMAX_BITS
)
EXP_ATTRIBUTES = (
    Attribute("x0", -(2**29), -1, "floor(-1 / scale) of the exponent's scale"),
    Attribute("n", 1, 31, "fractional bits of the exponential"),
)


@script(IVIT, default_opset=op)
def ScoreShiftmax(score, x0: int, n: int, frac_bits: int):
    """Shiftmax of int64 scores. A score of -2**40 or less stands for one that must not count: its exponential is -x0,
    the least that there is."""
    last_axis = op.Constant(value_ints=[-1])
    row_max = op.ReduceMax(score, last_axis, keepdims=1)
    exponential = ShiftExp(op.Sub(score, row_max), x0=x0, n=n)
    row_sum = op.Min(op.ReduceSum(exponential, last_axis, keepdims=1), op.Constant(value_int=2147483647))
    factor = op.Div(op.Constant(value_int=2147483648), row_sum)
    frac_bits_ = op.Constant(value_int=frac_bits)
    divisor = PowerOfTwo(op.Sub(op.Constant(value_int=31), frac_bits_))
    scaled = op.Div(op.Mul(exponential, factor), divisor)
    limit = op.Sub(PowerOfTwo(frac_bits_), op.Constant(value_int=1))
    probability = op.Cast(op.Min(scaled, limit), to=5)
    return probability


@script(IVIT, default_opset=op)
def Shiftmax(x, x0: int, n: int, frac_bits: int):
    """Softmax over the last axis in integers (I-ViT, algorithm 1): int8 scores to int16 of scale 2**-frac_bits."""
    y = ScoreShiftmax(op.Cast(x, to=7), x0=x0, n=n, frac_bits=frac_bits)
    return y


def reference(x: Array, *, x0: int, n: int, frac_bits: int) -> Array:
    """Takes scores of any integer type; one of -2**40 or less must not count."""
    x64 = x.astype(np.int64)
    e = shift_exp(x64 - x64.max(-1, keepdims=True), x0, n)
    total = np.minimum(e.sum(-1, keepdims=True), INT32_MAX)
    return np.minimum((e * (2**31 // total)) >> (31 - frac_bits), 2**frac_bits - 1).astype(np.int16)


SHIFTMAX = Operator(
    function=Shiftmax,
    compute=reference,
    summary="Softmax over the last axis by shifts, with an integer reciprocal of the sum.",
    formula="E = shift_exp(x - max(x)); S = min(sum(E), 2^31 - 1); F = 2^31 // S; "
    "y = min((E * F) >> (31 - frac_bits), 2^frac_bits - 1)",
    signature=(activation("x", "int8", "[.., T]", "scores, scale s with x0 = floor(-1 / s)"),),
    outputs=(Tensor("y", "int16", "[.., T]", "probabilities, scale 2^-frac_bits"),),
    attributes=(*EXP_ATTRIBUTES, FRAC_BITS),
)
PRIMITIVES = (ScoreShiftmax,)
OPERATORS = (SHIFTMAX,)
