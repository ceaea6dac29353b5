"""IntDeferredAttention, IntDeferredWindowAttention: attention that divides by the sum of exponentials at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnxscript import OnnxFunction, script

from ivit_onnx.opset import _deferred
from ivit_onnx.opset._deferred import CONTEXT_BITS, DEFERRED_CONTEXT, NARROW_SCORES, DeferredContext, NarrowScores
from ivit_onnx.opset._spec import IVIT, Operator, Part, Tensor, activation, op
from ivit_onnx.opset._window_attention import WindowHeads
from ivit_onnx.opset._windows import TokenPlaces, WindowOffsets, WindowRegions, WindowTokens
from ivit_onnx.opset.arithmetic import MATMUL, Array, saturate
from ivit_onnx.opset.int_attention import HEADS, join_heads, split_heads
from ivit_onnx.opset.int_window_attention import (
    GRID,
    LIMITS,
    PADDING,
    cut_windows,
    join_windows,
    pair_bias,
    relative_position_input,
    visible_scores,
)
from ivit_onnx.opset.requantize import REQUANTIZE, Requantize, scale_inputs

__all__ = ["OPERATORS", "PRIMITIVES"]


@script(IVIT, default_opset=op)
def IntDeferredAttention(
    qkv,
    context_multiplier,
    context_shift,
    exponentials,
    heads: int,
    score_shift: int,
    distance_multiplier: int,
    levels: int,
):
    """Multi-head self-attention on packed qkv [N, T, 3 * C], divided by the sum of exponentials at its end."""
    batch = op.Shape(qkv, start=0, end=1)
    tokens = op.Shape(qkv, start=1, end=2)
    three = op.Constant(value_ints=[3])
    heads_ = op.Reshape(op.Constant(value_int=heads), op.Constant(value_ints=[1]))
    channels = op.Div(op.Shape(qkv, start=2, end=3), three)
    head_dim = op.Div(channels, heads_)
    per_head = op.Reshape(qkv, op.Concat(batch, tokens, three, heads_, head_dim, axis=0))
    # [N, T, 3, heads, D] -> three of [N, heads, T, D], the keys transposed.
    query = op.Transpose(op.Gather(per_head, op.Constant(value_int=0), axis=2), perm=[0, 2, 1, 3])
    key = op.Transpose(op.Gather(per_head, op.Constant(value_int=1), axis=2), perm=[0, 2, 3, 1])
    value = op.Transpose(op.Gather(per_head, op.Constant(value_int=2), axis=2), perm=[0, 2, 1, 3])
    score = NarrowScores(op.MatMulInteger(query, key), score_shift=score_shift)
    context = DeferredContext(score, value, exponentials, distance_multiplier=distance_multiplier, levels=levels)
    merged = op.Reshape(op.Transpose(context, perm=[0, 2, 1, 3]), op.Concat(batch, tokens, channels, axis=0))
    y = Requantize(merged, context_multiplier, context_shift)
    return y


@script(IVIT, default_opset=op)
def BiasedScores(score, relative_position, heads: int, height: int, width: int, window: int, shift: int):
    """int64 scores [N, W, heads, T, T] with the relative position bias, clamped to 16 bits; 2**40 less for two tokens
    that only the shift made neighbours."""
    one = op.Constant(value_ints=[1])
    heads_ = op.Reshape(op.Constant(value_int=heads), one)
    side = op.Reshape(op.Constant(value_int=window), one)
    area = op.Mul(side, side)
    by_pair = op.Gather(op.Cast(relative_position, to=7), WindowOffsets(window=window), axis=0)
    bias = op.Reshape(op.Transpose(by_pair, perm=[1, 0]), op.Concat(heads_, area, area, axis=0))
    biased = op.Add(score, bias)
    clamped = op.Min(op.Max(biased, op.Constant(value_int=-32768)), op.Constant(value_int=32767))
    regions = WindowRegions(height=height, width=width, window=window, shift=shift)
    windows = op.Div(op.Shape(regions), area)
    of_query = op.Reshape(regions, op.Concat(windows, one, area, one, axis=0))
    of_key = op.Reshape(regions, op.Concat(windows, one, one, area, axis=0))
    masked = op.Add(clamped, op.Constant(value_int=-1099511627776))
    visible = op.Where(op.Equal(of_query, of_key), clamped, masked)
    return visible


@script(IVIT, default_opset=op)
def IntDeferredWindowAttention(
    qkv,
    padding,
    relative_position,
    context_multiplier,
    context_shift,
    exponentials,
    heads: int,
    height: int,
    width: int,
    window: int,
    shift: int,
    score_shift: int,
    distance_multiplier: int,
    levels: int,
):
    """IntDeferredAttention inside windows of a grid of tokens, with relative position bias and cyclic shift."""
    query, key, value = WindowHeads(qkv, padding, heads=heads, height=height, width=width, window=window, shift=shift)
    score = NarrowScores(op.MatMulInteger(query, key), score_shift=score_shift)
    biased = BiasedScores(score, relative_position, heads=heads, height=height, width=width, window=window, shift=shift)
    context = DeferredContext(biased, value, exponentials, distance_multiplier=distance_multiplier, levels=levels)
    batch = op.Shape(qkv, start=0, end=1)
    channels = op.Div(op.Shape(qkv, start=2, end=3), op.Constant(value_ints=[3]))
    places = op.Shape(WindowTokens(height=height, width=width, window=window, shift=shift))
    merged = op.Reshape(op.Transpose(context, perm=[0, 1, 3, 2, 4]), op.Concat(batch, places, channels, axis=0))
    tokens = TokenPlaces(height=height, width=width, window=window, shift=shift)
    y = Requantize(op.Gather(merged, tokens, axis=1), context_multiplier, context_shift)
    return y


PRIMITIVES: tuple[OnnxFunction[..., Any], ...] = (BiasedScores,)


def attend(
    matmul: Callable[..., Any],
    narrow: Callable[..., Any],
    defer: Callable[..., Any],
    requantize: Callable[..., Any],
    qkv: Any,
    context_multiplier: Any,
    context_shift: Any,
    exponentials: Any,
    *,
    heads: int,
    score_shift: int,
    **softmax: int,
) -> Any:
    """IntDeferredAttention by implementations of the product, NARROW_SCORES, DEFERRED_CONTEXT and Requantize."""
    q, k, v = split_heads(qkv, heads)
    context = defer(narrow(matmul(q, k.swapaxes(-1, -2)), score_shift), v, exponentials, **softmax)
    return requantize(join_heads(context), context_multiplier, context_shift)


def attend_in_windows(
    matmul: Callable[..., Array],
    narrow: Callable[..., Array],
    defer: Callable[..., Array],
    requantize: Callable[..., Array],
    qkv: Array,
    padding: Array,
    relative_position: Array,
    context_multiplier: Array,
    context_shift: Array,
    exponentials: Array,
    *,
    heads: int,
    height: int,
    width: int,
    window: int,
    shift: int,
    score_shift: int,
    **softmax: int,
) -> Array:
    """IntDeferredWindowAttention in numpy, by the same implementations."""
    grid = (height, width, window, shift)
    q, k, v = cut_windows(qkv, padding, grid, heads)
    score = narrow(matmul(q, k.swapaxes(-1, -2)), score_shift)
    biased = saturate(score + pair_bias(relative_position, window), np.int16)
    context = defer(visible_scores(biased, grid), v, exponentials, **softmax)
    return requantize(join_windows(context, grid), context_multiplier, context_shift)


_CONTEXT = scale_inputs("context_", "[] or [C]", f"2^-{CONTEXT_BITS} * s / s_y")
_PARTS = frozenset({Part.DEFERRED})

OPERATORS = (
    Operator(
        function=IntDeferredAttention,
        compute=attend,
        uses=(MATMUL, NARROW_SCORES, DEFERRED_CONTEXT, REQUANTIZE),
        summary="Multi-head self-attention whose exponentials are divided by their sum after they met the values.",
        formula=f"per head: score = clamp_int16((q @ k^T) >> score_shift); {_deferred.FORMULA}",
        signature=(
            activation("qkv", "int8", "[N, T, 3*C]", "queries, keys, values in this order, each [heads, D]; scale s"),
            _CONTEXT,
            _deferred.EXPONENTIALS,
        ),
        outputs=(Tensor("y", "int8", "[N, T, C]", "heads merged, scale s_y"),),
        attributes=(HEADS, *_deferred.ATTRIBUTES),
        limits=(_deferred.levels_limit("T"),),
        composite=True,
        since=2,
        base="IntAttention",
        parts=_PARTS,
    ),
    Operator(
        function=IntDeferredWindowAttention,
        compute=attend_in_windows,
        uses=(MATMUL, NARROW_SCORES, DEFERRED_CONTEXT, REQUANTIZE),
        summary="Attention inside windows as IntWindowAttention has it, with the softmax of IntDeferredAttention.",
        formula="windows are those of IntWindowAttention; per window and head: "
        "score = clamp_int16(clamp_int16((q @ k^T) >> score_shift) + relative_position[offset]); "
        f"{_deferred.FORMULA}; a pair of tokens that only the shift made neighbours is left out of the maximum and has "
        "E = 0",
        signature=(
            activation("qkv", "int8", "[N, height*width, 3*C]", "queries, keys, values, each [heads, D]; scale s"),
            PADDING,
            relative_position_input("that of scores"),
            _CONTEXT,
            _deferred.EXPONENTIALS,
        ),
        outputs=(Tensor("y", "int8", "[N, height*width, C]", "heads merged, tokens in the order of qkv, scale s_y"),),
        attributes=(*GRID, *_deferred.ATTRIBUTES),
        limits=(*LIMITS, _deferred.levels_limit("window^2")),
        composite=True,
        since=2,
        base="IntWindowAttention",
        parts=_PARTS,
    ),
)
