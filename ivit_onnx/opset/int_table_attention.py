"""IntTableAttention: IntAttention with the exponential of its softmax from a table."""

from __future__ import annotations

from functools import partial

from onnxscript import script

from ivit_onnx.opset import table_softmax
from ivit_onnx.opset._primitives import MatMulProbability
from ivit_onnx.opset._spec import IVIT, Operator, op
from ivit_onnx.opset.arithmetic import Array
from ivit_onnx.opset.int_attention import HEADS, INPUTS, OUTPUT, attend
from ivit_onnx.opset.requantize import Requantize
from ivit_onnx.opset.shiftmax import FRAC_BITS
from ivit_onnx.opset.table_softmax import TableSoftmax, exponentials_input

__all__ = ["OPERATORS", "IntTableAttention"]


@script(IVIT, default_opset=op)
def IntTableAttention(
    qkv,
    score_multiplier,
    score_shift,
    context_multiplier,
    context_shift,
    exponentials,
    heads: int,
    frac_bits: int,
):
    """Multi-head self-attention on packed qkv [N, T, 3 * C]: Q K^T, Requantize, TableSoftmax, P V, Requantize."""
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
    score = Requantize(op.MatMulInteger(query, key), score_multiplier, score_shift)
    probability = TableSoftmax(score, exponentials, frac_bits=frac_bits)
    context = op.Transpose(MatMulProbability(probability, value), perm=[0, 2, 1, 3])
    merged = op.Reshape(context, op.Concat(batch, tokens, channels, axis=0))
    y = Requantize(merged, context_multiplier, context_shift)
    return y


def reference(qkv: Array, *scales_and_table: Array, heads: int, frac_bits: int) -> Array:
    *scales, exponentials = scales_and_table
    softmax = partial(table_softmax.reference, exponentials=exponentials, frac_bits=frac_bits)
    return attend(qkv, *scales, heads=heads, softmax=softmax)


OPERATORS = (
    Operator(
        function=IntTableAttention,
        reference=reference,
        summary="Multi-head self-attention as IntAttention computes it, but for exponentials by table.",
        formula="per head: score = Requantize(q @ k^T), p = TableSoftmax(score), context = Requantize(p @ v)",
        signature=(*INPUTS, exponentials_input("s_score")),
        outputs=(OUTPUT,),
        attributes=(HEADS, FRAC_BITS),
        composite=True,
    ),
)
