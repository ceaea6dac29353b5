"""IntWindowAttention, IntTableWindowAttention: the self-attention of Swin, inside windows of the token grid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnxscript import script

from ivit_onnx.opset._compose import OpenStep, filled
from ivit_onnx.opset._softmax import SHIFT_SOFTMAX, TABLE_SOFTMAX, Softmax
from ivit_onnx.opset._spec import IVIT, Attribute, Group, Limit, Operator, Tensor, activation, op
from ivit_onnx.opset._window_attention import PlacedScores, WindowContext, WindowHeads
from ivit_onnx.opset._windows import token_places, window_offsets, window_regions, window_tokens
from ivit_onnx.opset.arithmetic import Array, matmul, saturate, scale_round
from ivit_onnx.opset.int_attention import HEADS
from ivit_onnx.opset.requantize import Requantize, scale_inputs
from ivit_onnx.opset.shiftmax import MASKED

__all__ = [
    "GRID",
    "LIMITS",
    "OPERATORS",
    "PADDING",
    "cut_windows",
    "join_windows",
    "pair_bias",
    "relative_position_input",
    "visible_scores",
]

#: Height and width of a grid of tokens, side of a window, cyclic shift.
Grid = tuple[int, int, int, int]


@script(IVIT, default_opset=op)
def WindowAttention(
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
):
    """IntWindowAttention, the softmax left open."""
    query, key, value = WindowHeads(qkv, padding, heads=heads, height=height, width=width, window=window, shift=shift)
    score = Requantize(op.MatMulInteger(query, key), score_multiplier, score_shift)
    placed = PlacedScores(
        score,
        relative_position,
        placed_multiplier,
        placed_shift,
        heads=heads,
        height=height,
        width=width,
        window=window,
        shift=shift,
    )
    probability = OpenStep(placed)
    context = WindowContext(qkv, probability, value, height=height, width=width, window=window, shift=shift)
    y = Requantize(context, context_multiplier, context_shift)
    return y


def attend(
    softmax: Callable[..., Array],
    qkv: Array,
    padding: Array,
    relative_position: Array,
    score_multiplier: Array,
    score_shift: Array,
    placed_multiplier: Array,
    placed_shift: Array,
    context_multiplier: Array,
    context_shift: Array,
    *table: Array,
    heads: int,
    height: int,
    width: int,
    window: int,
    shift: int,
    **exponential: int,
) -> Array:
    """The attention with any softmax from int64 scores, MASKED where they must not count, to int16 probabilities."""
    grid = (height, width, window, shift)
    q, k, v = cut_windows(qkv, padding, grid, heads)
    score = saturate(scale_round(matmul(q, k.swapaxes(-1, -2)), score_multiplier, score_shift), np.int8)
    bias = pair_bias(relative_position, window)
    biased = saturate(scale_round(score, placed_multiplier, placed_shift) + bias, np.int8)
    probability = softmax(visible_scores(biased, grid), *table, **exponential)
    context = join_windows(matmul(probability, v), grid)
    return saturate(scale_round(context, context_multiplier, context_shift), np.int8)


def cut_windows(qkv: Array, padding: Array, grid: Grid, heads: int) -> tuple[Array, Array, Array]:
    """Queries, keys and values [N, W, heads, T, D] of the W windows of a grid."""
    batch, _, packed = qkv.shape
    tokens = window_tokens(*grid)
    padded = np.concatenate([qkv, np.broadcast_to(padding, (batch, 1, packed))], axis=1)
    per_head = padded[:, tokens].reshape(batch, *tokens.shape, 3, heads, packed // 3 // heads)
    q, k, v = per_head.transpose(3, 0, 1, 4, 2, 5)
    return q, k, v


def pair_bias(relative_position: Array, window: int) -> Array:
    """The bias of each pair of tokens of a window, [heads, T, T]."""
    return relative_position[window_offsets(window)].transpose(2, 0, 1)


def visible_scores(scores: Array, grid: Grid) -> Array:
    """Scores [N, W, heads, T, T] in int64, MASKED for two tokens that only the shift made neighbours."""
    regions = window_regions(*grid)
    visible = regions[:, None, :, None] == regions[:, None, None, :]
    return np.where(visible, scores.astype(np.int64), MASKED)


def join_windows(context: Array, grid: Grid) -> Array:
    """[N, W, heads, T, D], every token where it stands in qkv: [N, height * width, heads * D]."""
    batch, count, heads, area, head_dim = context.shape
    merged = context.transpose(0, 1, 3, 2, 4).reshape(batch, count * area, heads * head_dim)
    return merged[:, token_places(*grid)]


def _formula(softmax: Softmax) -> str:
    return (
        "the grid is shifted cyclically, `shift` tokens up and to the left, padded below and on the right; "
        "it is cut into windows of T = window^2 tokens; "
        "per window and head: score = Requantize(q @ k^T); "
        "placed = clamp_int8(((score * mp + 2^(ep-1)) >> ep) + relative_position[offset]); "
        f"p = {softmax.operator.name}(placed), context = Requantize(p @ v); "
        f"a pair of tokens that only the shift made neighbours {softmax.masked}; "
        "every token goes back to where it was"
    )


PADDING = Tensor("padding", "int8", "[3*C]", "what stands in qkv for a token of the padding")


def relative_position_input(scale: str) -> Tensor:
    """The biases of pairs of tokens, at the scale of what they are added to."""
    doc = (
        f"bias of each offset between two tokens, at scale {scale}; row (dy + window - 1) * (2 * window - 1) + "
        "dx + window - 1 for a query dy below and dx right of the key"
    )
    return Tensor("relative_position", "int16", "[(2*window-1)^2, heads]", doc)


_INPUTS = (
    activation("qkv", "int8", "[N, height*width, 3*C]", "queries, keys, values, each [heads, D]; scale s"),
    PADDING,
    relative_position_input("s_placed"),
    scale_inputs("score_", "[]", "s^2 * D^-0.5 / s_score"),
    scale_inputs("placed_", "[]", "s_score / s_placed; s_placed is the scale of the softmax"),
    scale_inputs("context_", "[] or [C]", "2^-frac_bits * s / s_y"),
)
_OUTPUT = Tensor("y", "int8", "[N, height*width, C]", "heads merged, tokens in the order of qkv, scale s_y")
GRID = (
    HEADS,
    Attribute("height", 1, 65536, "rows of the token grid"),
    Attribute("width", 1, 65536, "columns of the token grid"),
    Attribute("window", 1, 256, "side of a window in tokens"),
    Attribute("shift", 0, 255, "cyclic shift in tokens", below="window"),
)
#: A bias is kept for each pair, and a small file could ask for gigabytes.
LIMITS = (Limit("heads*window^4", 1, 2**28, "pairs of tokens of a window, over all heads"),)


def _attention(name: str, softmax: Softmax, summary: str) -> Operator:
    signature: tuple[Tensor | Group, ...] = (*_INPUTS, *softmax.inputs("s_placed"))
    attributes = (*GRID, *softmax.attributes)
    doc = "Multi-head self-attention inside windows of a grid of tokens, with relative position bias and cyclic shift."
    return Operator(
        function=filled(WindowAttention, softmax.of_scores, name, doc, signature, attributes),
        compute=attend,
        uses=(softmax.operator,),
        summary=summary,
        formula=_formula(softmax),
        signature=signature,
        outputs=(_OUTPUT,),
        attributes=attributes,
        limits=LIMITS,
        composite=True,
        base="IntWindowAttention",
        parts=softmax.parts,
    )


OPERATORS = (
    _attention(
        "IntWindowAttention",
        SHIFT_SOFTMAX,
        "Multi-head self-attention inside (shifted) windows of a grid of tokens, with relative position bias.",
    ),
    _attention(
        "IntTableWindowAttention",
        TABLE_SOFTMAX,
        "Attention inside windows as IntWindowAttention computes it, but for exponentials by table.",
    ),
)
