"""The steps of attention inside windows that are the same for every softmax."""

from __future__ import annotations

from typing import Any

from onnxscript import OnnxFunction, script

from ivit_onnx.opset._primitives import MatMulProbability, ScaleRound
from ivit_onnx.opset._spec import IVIT, op
from ivit_onnx.opset._windows import TokenPlaces, WindowOffsets, WindowRegions, WindowTokens

__all__ = ["PRIMITIVES", "PlacedScores", "WindowContext", "WindowHeads"]


@script(IVIT, default_opset=op)
def WindowHeads(qkv, padding, heads: int, height: int, width: int, window: int, shift: int):
    """Queries [N, W, heads, T, D], keys [N, W, heads, D, T] and values [N, W, heads, T, D] of the W windows of T
    tokens."""
    batch = op.Shape(qkv, start=0, end=1)
    one = op.Constant(value_ints=[1])
    three = op.Constant(value_ints=[3])
    packed = op.Shape(qkv, start=2, end=3)
    heads_ = op.Reshape(op.Constant(value_int=heads), one)
    head_dim = op.Div(op.Div(packed, three), heads_)
    side = op.Reshape(op.Constant(value_int=window), one)
    area = op.Mul(side, side)
    tokens = WindowTokens(height=height, width=width, window=window, shift=shift)
    windows = op.Div(op.Shape(tokens), area)
    # Padding is a token of its own, after all others.
    padded = op.Concat(qkv, op.Expand(padding, op.Concat(batch, one, packed, axis=0)), axis=1)
    placed = op.Gather(padded, tokens, axis=1)
    per_head = op.Reshape(placed, op.Concat(batch, windows, area, three, heads_, head_dim, axis=0))
    # [N, W, T, 3, heads, D] -> three of [N, W, heads, T, D], the keys transposed.
    query = op.Transpose(op.Gather(per_head, op.Constant(value_int=0), axis=3), perm=[0, 1, 3, 2, 4])
    key = op.Transpose(op.Gather(per_head, op.Constant(value_int=1), axis=3), perm=[0, 1, 3, 4, 2])
    value = op.Transpose(op.Gather(per_head, op.Constant(value_int=2), axis=3), perm=[0, 1, 3, 2, 4])
    return query, key, value


@script(IVIT, default_opset=op)
def PlacedScores(
    score,
    relative_position,
    placed_multiplier,
    placed_shift,
    heads: int,
    height: int,
    width: int,
    window: int,
    shift: int,
):
    """int8 scores [N, W, heads, T, T] at another scale, with the relative position bias, clamped to 8 bits; int64.
    2**40 less for two tokens that only the shift made neighbours."""
    one = op.Constant(value_ints=[1])
    heads_ = op.Reshape(op.Constant(value_int=heads), one)
    side = op.Reshape(op.Constant(value_int=window), one)
    area = op.Mul(side, side)
    by_pair = op.Gather(op.Cast(relative_position, to=7), WindowOffsets(window=window), axis=0)
    bias = op.Reshape(op.Transpose(by_pair, perm=[1, 0]), op.Concat(heads_, area, area, axis=0))
    placed = op.Add(ScaleRound(score, placed_multiplier, placed_shift), bias)
    clamped = op.Min(op.Max(placed, op.Constant(value_int=-128)), op.Constant(value_int=127))
    regions = WindowRegions(height=height, width=width, window=window, shift=shift)
    windows = op.Div(op.Shape(regions), area)
    of_query = op.Reshape(regions, op.Concat(windows, one, area, one, axis=0))
    of_key = op.Reshape(regions, op.Concat(windows, one, one, area, axis=0))
    masked = op.Add(clamped, op.Constant(value_int=-1099511627776))
    visible = op.Where(op.Equal(of_query, of_key), clamped, masked)
    return visible


@script(IVIT, default_opset=op)
def WindowContext(qkv, probability, value, height: int, width: int, window: int, shift: int):
    """Probabilities [N, W, heads, T, T] x values [N, W, heads, T, D], heads merged, every token where it stands in qkv:
    int32 [N, height * width, heads * D]."""
    batch = op.Shape(qkv, start=0, end=1)
    channels = op.Div(op.Shape(qkv, start=2, end=3), op.Constant(value_ints=[3]))
    places = op.Shape(WindowTokens(height=height, width=width, window=window, shift=shift))
    context = op.Transpose(MatMulProbability(probability, value), perm=[0, 1, 3, 2, 4])
    merged = op.Reshape(context, op.Concat(batch, places, channels, axis=0))
    tokens = TokenPlaces(height=height, width=width, window=window, shift=shift)
    y = op.Gather(merged, tokens, axis=1)
    return y


PRIMITIVES: tuple[OnnxFunction[..., Any], ...] = (WindowHeads, PlacedScores, WindowContext)
