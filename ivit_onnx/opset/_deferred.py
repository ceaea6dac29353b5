"""Deferred normalisation: exponentials of scores times values first, divided by the sum of their row afterwards.

What is narrowed is the distance of a score from the maximum of its row, taken from the accumulators, and not the score:
where an exponential is as good as 0, distances need no codes. An exponential has 15 bits in the table. With fewer
levels it is dithered: what is added before it is truncated differs from token to token, so that small exponentials of
many tokens keep their sum, where rounding would leave nothing of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnxscript import OnnxFunction, script

from ivit_onnx.opset._primitives import FloorDivide, MatMulProbability, PowerOfTwo
from ivit_onnx.opset._spec import IVIT, Attribute, Computation, Limit, Tensor, op
from ivit_onnx.opset.arithmetic import MATMUL, Array

__all__ = [
    "ATTRIBUTES",
    "CONTEXT_BITS",
    "DEFERRED_CONTEXT",
    "DITHER",
    "EXPONENTIALS",
    "FORMULA",
    "HIDDEN",
    "LEVELS_OF_A_ROW",
    "NARROW_SCORES",
    "PRIMITIVES",
    "DeferredContext",
    "NarrowScores",
    "levels_limit",
]

#: Steps of the dither from token to token, in 2^-15: about the golden ratio's fractional part, and odd.
DITHER = 20251
#: Fractional bits of a context before it is requantised.
CONTEXT_BITS = 15
#: Levels of all exponentials of a row: with so many, sums of their products with values fit int32.
LEVELS_OF_A_ROW = 2**24
#: Scores of this distance or more from the maximum of their row do not count.
HIDDEN = 2**39


@script(IVIT, default_opset=op)
def NarrowScores(product, score_shift: int):
    """int32 products without their last score_shift bits, clamped to 16 bits; int64."""
    divisor = PowerOfTwo(op.Constant(value_int=score_shift))
    shifted = FloorDivide(op.Cast(product, to=7), divisor)
    score = op.Min(op.Max(shifted, op.Constant(value_int=-32768)), op.Constant(value_int=32767))
    return score


@script(IVIT, default_opset=op)
def DeferredContext(score, value, exponentials, distance_multiplier: int, levels: int):
    """int64 scores [.., T, T] of 16 bits, 2**40 less for those that must not count, and int8 values [.., T, D] to int32
    contexts [.., T, D], with 15 fractional bits."""
    last_axis = op.Constant(value_ints=[-1])
    zero = op.Constant(value_int=0)
    levels_ = op.Constant(value_int=levels)
    steps = op.Constant(value_int=32768)
    difference = op.Neg(op.Sub(score, op.ReduceMax(score, last_axis, keepdims=1)))
    distance = op.Min(difference, op.Constant(value_int=32767))
    scaled = op.Add(op.Mul(distance, op.Constant(value_int=distance_multiplier)), op.Constant(value_int=16384))
    entry = op.Min(op.Div(scaled, steps), op.Constant(value_int=255))
    of_table = op.Gather(op.Cast(exponentials, to=7), entry)
    tokens = op.Gather(op.Shape(score, start=-1), zero)
    token = op.Range(zero, tokens, op.Constant(value_int=1))
    dither = op.Div(op.Mod(op.Mul(token, op.Constant(value_int=20251)), steps), levels_)
    truncated = op.Div(op.Add(of_table, dither), op.Div(steps, levels_))
    narrow = op.Min(truncated, op.Sub(levels_, op.Constant(value_int=1)))
    counts = op.Less(difference, op.Constant(value_int=549755813888))
    exponential = op.Where(counts, narrow, zero)
    least = op.Div(levels_, op.Constant(value_int=32))
    total = op.Max(op.ReduceSum(exponential, last_axis, keepdims=1), least)
    numerator = op.Sub(op.Mul(levels_, op.Constant(value_int=67108864)), op.Constant(value_int=1))
    factor = op.Div(numerator, total)
    sum_of_values = op.Cast(MatMulProbability(op.Cast(exponential, to=5), value), to=7)
    half = op.Mul(levels_, op.Constant(value_int=1024))
    divided = FloorDivide(op.Add(op.Mul(sum_of_values, factor), half), op.Add(half, half))
    # Never beyond: the sum of values is at most 128 times the sum of exponentials.
    clamped = op.Min(op.Max(divided, op.Constant(value_int=-4194304)), op.Constant(value_int=4194304))
    context = op.Cast(clamped, to=6)
    return context


PRIMITIVES: tuple[OnnxFunction[..., Any], ...] = (NarrowScores, DeferredContext)


def narrow_scores(product: Array, score_shift: int) -> Array:
    """NarrowScores in numpy."""
    return np.clip(product >> score_shift, -32768, 32767)


def deferred_context(
    matmul: Callable[..., Array],
    score: Array,
    value: Array,
    exponentials: Array,
    *,
    distance_multiplier: int,
    levels: int,
) -> Array:
    """DeferredContext in numpy."""
    difference = score.max(-1, keepdims=True) - score
    entry = np.minimum((np.minimum(difference, 32767) * distance_multiplier + 2**14) >> 15, 255)
    dither = np.arange(score.shape[-1]) * DITHER % 2**15 // levels
    narrow = np.minimum((exponentials.astype(np.int64)[entry] + dither) // (2**15 // levels), levels - 1)
    exponential = np.where(difference < HIDDEN, narrow, 0)
    factor = (levels * 2**26 - 1) // np.maximum(exponential.sum(-1, keepdims=True), levels // 32)
    context = (matmul(exponential, value) * factor + levels * 2**10) // (levels * 2**11)
    return np.clip(context, -(2**22), 2**22)


NARROW_SCORES = Computation(compute=narrow_scores)
DEFERRED_CONTEXT = Computation(compute=deferred_context, uses=(MATMUL,))


EXPONENTIALS = Tensor(
    "exponentials",
    "int16",
    "[256]",
    "entry d is the exponential of a score d steps below the maximum, 32767 * exp(-d * s_d) rounded",
    values=(0, 32767),
)
LEVELS = Attribute(
    "levels",
    128,
    32768,
    "how many levels an exponential has; 256 make a byte of it, 32768 leave it as it is in the table",
    allowed=tuple(2**bits for bits in range(7, 16)),
)
ATTRIBUTES = (
    Attribute(
        "score_shift", 0, 15, "last bits of q @ k^T that scores lose: their scale is 2^score_shift * s^2 * D^-0.5"
    ),
    Attribute(
        "distance_multiplier", 1, 32767, "m of the ratio m * 2^-15 of a score's scale to s_d, the step of distances"
    ),
    LEVELS,
)
FORMULA = (
    "n = min((min(max(score) - score, 32767) * distance_multiplier + 2^14) >> 15, 255); "
    f"r[t] = ((t * {DITHER}) mod 2^15) // levels for token t of the row; "
    "E = min((exponentials[n] + r) // (2^15 // levels), levels - 1); S = max(sum(E), levels // 32); "
    "F = (2^26 * levels - 1) // S; context = Requantize(((E @ v) * F + 2^10 * levels) // (2^11 * levels))"
)


def levels_limit(tokens: str) -> Limit:
    """Sums of products of exponentials and values fit int32."""
    return Limit(f"{tokens}*levels", 1, LEVELS_OF_A_ROW, "levels of all exponentials of a row")
