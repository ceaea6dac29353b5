"""IntTableWindowAttention: IntWindowAttention with the exponential of its softmax from a table."""

from __future__ import annotations

from functools import partial
from typing import Any

from onnxscript import script

from ivit_onnx.opset import table_softmax
from ivit_onnx.opset._spec import IVIT, Operator, op
from ivit_onnx.opset._window_attention import PlacedScores, WindowContext, WindowHeads
from ivit_onnx.opset.arithmetic import Array
from ivit_onnx.opset.int_window_attention import GRID, INPUTS, LIMITS, OUTPUT, attend, formula
from ivit_onnx.opset.requantize import Requantize
from ivit_onnx.opset.shiftmax import FRAC_BITS
from ivit_onnx.opset.table_softmax import ScoreTableSoftmax, exponentials_input

__all__ = ["OPERATORS", "IntTableWindowAttention"]


@script(IVIT, default_opset=op)
def IntTableWindowAttention(
    qkv,
    padding,
    relative_position,
    score_multiplier,
    score_shift,
    placed_multiplier,
    placed_shift,
    context_multiplier,
    context_shift,
    exponentials,
    heads: int,
    height: int,
    width: int,
    window: int,
    shift: int,
    frac_bits: int,
):
    """Multi-head self-attention inside windows of a grid of tokens, with relative position bias and cyclic shift."""
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
    probability = ScoreTableSoftmax(placed, exponentials, frac_bits=frac_bits)
    context = WindowContext(qkv, probability, value, height=height, width=width, window=window, shift=shift)
    y = Requantize(context, context_multiplier, context_shift)
    return y


def reference(*inputs_and_table: Array, frac_bits: int, **grid: Any) -> Array:
    *inputs, exponentials = inputs_and_table
    softmax = partial(table_softmax.reference, exponentials=exponentials, frac_bits=frac_bits)
    return attend(*inputs, **grid, softmax=softmax)


OPERATORS = (
    Operator(
        function=IntTableWindowAttention,
        reference=reference,
        summary="Attention inside windows as IntWindowAttention computes it, but for exponentials by table.",
        formula=formula("TableSoftmax", "is left out of the maximum and has E = 0"),
        signature=(*INPUTS, exponentials_input("s_placed")),
        outputs=(OUTPUT,),
        attributes=(*GRID, FRAC_BITS),
        limits=LIMITS,
        composite=True,
    ),
)
