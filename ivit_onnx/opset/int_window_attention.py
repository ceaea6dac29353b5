"""IntWindowAttention: the self-attention of Swin, inside windows of the token grid."""

from __future__ import annotations

import numpy as np
from onnxscript import script

from ivit_onnx.opset import shiftmax
from ivit_onnx.opset._primitives import MatMulProbability, ScaleRound
from ivit_onnx.opset._spec import IVIT, Attribute, Operator, Tensor, op
from ivit_onnx.opset._windows import (
    TokenPlaces,
    WindowOffsets,
    WindowRegions,
    WindowTokens,
    token_places,
    window_offsets,
    window_regions,
    window_tokens,
)
from ivit_onnx.opset.arithmetic import Array, matmul, saturate, scale_round
from ivit_onnx.opset.requantize import Requantize, multiplier_inputs
from ivit_onnx.opset.shiftmax import EXP_ATTRIBUTES, FRAC_BITS, MASKED, ScoreShiftmax

__all__ = ["OPERATORS", "IntWindowAttention"]


@script(IVIT, default_opset=op)
def IntWindowAttention(
    qkv,
    padding,
    relative_position,
    score_multiplier,
    score_shift,
    placed_multiplier,
    placed_shift,
    context_multiplier,
    context_shift,
    heads: int,
    height: int,
    width: int,
    window: int,
    shift: int,
    x0: int,
    n: int,
    frac_bits: int,
):
    """Multi-head self-attention inside windows of a grid of tokens, with relative position bias and cyclic shift."""
    batch = op.Shape(qkv, start=0, end=1)
    one = op.Constant(value_ints=[1])
    three = op.Constant(value_ints=[3])
    packed = op.Shape(qkv, start=2, end=3)
    channels = op.Div(packed, three)
    heads_ = op.Reshape(op.Constant(value_int=heads), one)
    head_dim = op.Div(channels, heads_)
    side = op.Reshape(op.Constant(value_int=window), one)
    area = op.Mul(side, side)
    tokens = WindowTokens(height=height, width=width, window=window, shift=shift)
    windows = op.Div(op.Shape(tokens), area)
    # Padding is a token of its own, after all others.
    padded = op.Concat(qkv, op.Expand(padding, op.Concat(batch, one, packed, axis=0)), axis=1)
    placed_qkv = op.Gather(padded, tokens, axis=1)
    per_head = op.Reshape(placed_qkv, op.Concat(batch, windows, area, three, heads_, head_dim, axis=0))
    # [N, W, T, 3, heads, D] -> three of [N, W, heads, T, D], the keys transposed.
    query = op.Transpose(op.Gather(per_head, op.Constant(value_int=0), axis=3), perm=[0, 1, 3, 2, 4])
    key = op.Transpose(op.Gather(per_head, op.Constant(value_int=1), axis=3), perm=[0, 1, 3, 4, 2])
    value = op.Transpose(op.Gather(per_head, op.Constant(value_int=2), axis=3), perm=[0, 1, 3, 2, 4])
    score = Requantize(op.MatMulInteger(query, key), score_multiplier, score_shift)
    by_pair = op.Gather(op.Cast(relative_position, to=7), WindowOffsets(window=window), axis=0)
    bias = op.Reshape(op.Transpose(by_pair, perm=[1, 0]), op.Concat(heads_, area, area, axis=0))
    placed = op.Add(ScaleRound(score, placed_multiplier, placed_shift), bias)
    clamped = op.Min(op.Max(placed, op.Constant(value_int=-128)), op.Constant(value_int=127))
    regions = WindowRegions(height=height, width=width, window=window, shift=shift)
    of_query = op.Reshape(regions, op.Concat(windows, one, area, one, axis=0))
    of_key = op.Reshape(regions, op.Concat(windows, one, one, area, axis=0))
    masked = op.Add(clamped, op.Constant(value_int=-1099511627776))
    visible = op.Where(op.Equal(of_query, of_key), clamped, masked)
    probability = ScoreShiftmax(visible, x0=x0, n=n, frac_bits=frac_bits)
    context = op.Transpose(MatMulProbability(probability, value), perm=[0, 1, 3, 2, 4])
    merged = op.Reshape(context, op.Concat(batch, op.Mul(windows, area), channels, axis=0))
    places = TokenPlaces(height=height, width=width, window=window, shift=shift)
    y = Requantize(op.Gather(merged, places, axis=1), context_multiplier, context_shift)
    return y


def reference(
    qkv: Array,
    padding: Array,
    relative_position: Array,
    score_multiplier: Array,
    score_shift: Array,
    placed_multiplier: Array,
    placed_shift: Array,
    context_multiplier: Array,
    context_shift: Array,
    *,
    heads: int,
    height: int,
    width: int,
    window: int,
    shift: int,
    x0: int,
    n: int,
    frac_bits: int,
) -> Array:
    batch, _, packed = qkv.shape
    grid = (height, width, window, shift)
    tokens, regions = window_tokens(*grid), window_regions(*grid)
    padded = np.concatenate([qkv, np.broadcast_to(padding, (batch, 1, packed))], axis=1)
    per_head = padded[:, tokens].reshape(batch, *tokens.shape, 3, heads, packed // 3 // heads)
    q, k, v = per_head.transpose(3, 0, 1, 4, 2, 5)
    score = saturate(scale_round(matmul(q, k.swapaxes(-1, -2)), score_multiplier, score_shift), np.int8)
    bias = relative_position[window_offsets(window)].transpose(2, 0, 1)
    placed = saturate(scale_round(score, placed_multiplier, placed_shift) + bias, np.int8)
    visible = regions[:, None, :, None] == regions[:, None, None, :]
    masked = np.where(visible, placed.astype(np.int64), MASKED)
    probability = shiftmax.reference(masked, x0=x0, n=n, frac_bits=frac_bits)
    context = matmul(probability, v).transpose(0, 1, 3, 2, 4).reshape(batch, tokens.size, packed // 3)
    return saturate(scale_round(context[:, token_places(*grid)], context_multiplier, context_shift), np.int8)


OPERATORS = (
    Operator(
        function=IntWindowAttention,
        reference=reference,
        summary="Multi-head self-attention inside (shifted) windows of a grid of tokens, with relative position bias.",
        formula="the grid is shifted cyclically, `shift` tokens up and to the left, padded below and on the right; "
        "it is cut into windows of T = window^2 tokens; "
        "per window and head: score = Requantize(q @ k^T); "
        "placed = clamp_int8(((score * mp + 2^(ep-1)) >> ep) + relative_position[offset]); "
        "p = Shiftmax(placed), context = Requantize(p @ v); "
        "a pair of tokens that only the shift made neighbours is left out of the maximum and has E = -x0, the least; "
        "every token goes back to where it was",
        inputs=(
            Tensor("qkv", "int8", "[N, L, 3*C]", "L = height * width; queries, keys, values, each [heads, D]; scale s"),
            Tensor("padding", "int8", "[3*C]", "what stands in qkv for a token of the padding"),
            Tensor(
                "relative_position",
                "int16",
                "[(2*window-1)^2, heads]",
                "bias of each offset between two tokens, at scale s_placed; row (dy + window - 1) * (2 * window - 1) + "
                "dx + window - 1 for a query dy below and dx right of the key",
            ),
            *multiplier_inputs("score_", "[]", "s^2 * D^-0.5 / s_score"),
            *multiplier_inputs("placed_", "[]", "s_score / s_placed, where x0 = floor(-1 / s_placed)"),
            *multiplier_inputs("context_", "[] or [C]", "2^-frac_bits * s / s_y"),
        ),
        outputs=(Tensor("y", "int8", "[N, L, C]", "heads merged, tokens in the order of qkv, scale s_y"),),
        attributes=(
            Attribute("heads", 1, 1024, "number of heads; divides C"),
            Attribute("height", 1, 65536, "rows of the token grid"),
            Attribute("width", 1, 65536, "columns of the token grid"),
            Attribute("window", 1, 256, "side of a window in tokens"),
            Attribute("shift", 0, 255, "cyclic shift in tokens; less than window"),
            *EXP_ATTRIBUTES,
            FRAC_BITS,
        ),
        composite=True,
    ),
)
