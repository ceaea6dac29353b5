"""TableSoftmax: softmax in integers, with the exponential from a table."""

from __future__ import annotations

import numpy as np
from onnxscript import script

from ivit_onnx.opset._primitives import PowerOfTwo
from ivit_onnx.opset._spec import IVIT, Operator, Tensor, activation, op
from ivit_onnx.opset.arithmetic import INT32_MAX, Array
from ivit_onnx.opset.shiftmax import FRAC_BITS

__all__ = ["TABLE_SOFTMAX", "OPERATORS", "PRIMITIVES", "ScoreTableSoftmax", "TableSoftmax", "exponentials_input"]


@script(IVIT, default_opset=op)
def ScoreTableSoftmax(score, exponentials, frac_bits: int):
    """TableSoftmax of int64 scores. A score of -2**40 or less stands for one that must not count: its exponential is
    0."""
    last_axis = op.Constant(value_ints=[-1])
    row_max = op.ReduceMax(score, last_axis, keepdims=1)
    difference = op.Sub(score, row_max)
    entry = op.Neg(op.Max(difference, op.Constant(value_int=-255)))
    of_table = op.Gather(op.Cast(exponentials, to=7), entry)
    counts = op.Greater(difference, op.Constant(value_int=-256))
    exponential = op.Where(counts, of_table, op.Constant(value_int=0))
    total = op.ReduceSum(exponential, last_axis, keepdims=1)
    # At least 1, as the first entry is: whatever the table, nothing is divided by zero.
    row_sum = op.Max(op.Min(total, op.Constant(value_int=2147483647)), op.Constant(value_int=1))
    frac_bits_ = op.Constant(value_int=frac_bits)
    half = PowerOfTwo(op.Sub(op.Constant(value_int=30), frac_bits_))
    factor = op.Div(op.Sub(op.Constant(value_int=2147483647), half), row_sum)
    divisor = PowerOfTwo(op.Sub(op.Constant(value_int=31), frac_bits_))
    probability = op.Cast(op.Div(op.Add(op.Mul(exponential, factor), half), divisor), to=5)
    return probability


@script(IVIT, default_opset=op)
def TableSoftmax(x, exponentials, frac_bits: int):
    """Softmax over the last axis in integers, the exponential by table: int8 scores to int16 of scale 2**-frac_bits."""
    y = ScoreTableSoftmax(op.Cast(x, to=7), exponentials, frac_bits=frac_bits)
    return y


def reference(x: Array, exponentials: Array, *, frac_bits: int) -> Array:
    """Takes scores of any integer type; one of -2**40 or less must not count."""
    x64 = x.astype(np.int64)
    entries = np.append(exponentials.astype(np.int64), 0)
    e = entries[np.minimum(x64.max(-1, keepdims=True) - x64, 256)]
    total = np.minimum(e.sum(-1, keepdims=True), INT32_MAX)
    half = 2 ** (30 - frac_bits)
    return ((e * ((INT32_MAX - half) // total) + half) >> (31 - frac_bits)).astype(np.int16)


def exponentials_input(scale: str) -> Tensor:
    """The table as an input of an operator whose scores have that scale."""
    doc = (
        f"entry d is the exponential of a score d below the maximum, 2^14 * exp(-d * {scale}) rounded; "
        "the first is positive, none is larger than the one before"
    )
    return Tensor("exponentials", "int32", "[256]", doc, values=(0, INT32_MAX))


TABLE_SOFTMAX = Operator(
    function=TableSoftmax,
    compute=reference,
    summary="Softmax over the last axis: exponentials by table, an integer reciprocal of their sum, rounded.",
    formula="E = exponentials[max(x) - x]; S = min(sum(E), 2^31 - 1); H = 2^(30 - frac_bits); "
    "F = (2^31 - 1 - H) // S; y = (E * F + H) >> (31 - frac_bits)",
    signature=(activation("x", "int8", "[.., T]", "scores, scale s"), exponentials_input("s")),
    outputs=(Tensor("y", "int16", "[.., T]", "probabilities, scale 2^-frac_bits; at most 2^frac_bits - 1"),),
    attributes=(FRAC_BITS,),
)
PRIMITIVES = (ScoreTableSoftmax,)
OPERATORS = (TABLE_SOFTMAX,)
