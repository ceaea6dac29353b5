"""IntAttention, IntTableAttention: multi-head self-attention between the qkv and the output projection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onnxscript import script

from ivit_onnx.opset._compose import OpenStep, filled
from ivit_onnx.opset._primitives import MatMulProbability
from ivit_onnx.opset._softmax import SHIFT_SOFTMAX, TABLE_SOFTMAX, Softmax
from ivit_onnx.opset._spec import IVIT, Attribute, Group, Operator, Tensor, activation, op
from ivit_onnx.opset.arithmetic import MATMUL
from ivit_onnx.opset.requantize import REQUANTIZE, Requantize, scale_inputs

__all__ = ["HEADS", "OPERATORS", "join_heads", "split_heads"]


@script(IVIT, default_opset=op)
def Attention(qkv, score_multiplier, score_shift, context_multiplier, context_shift, heads: int):
    """IntAttention, the softmax left open."""
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
    probability = OpenStep(score)
    context = op.Transpose(MatMulProbability(probability, value), perm=[0, 2, 1, 3])
    merged = op.Reshape(context, op.Concat(batch, tokens, channels, axis=0))
    y = Requantize(merged, context_multiplier, context_shift)
    return y


def attend(
    matmul: Callable[..., Any],
    requantize: Callable[..., Any],
    softmax: Callable[..., Any],
    qkv: Any,
    score_multiplier: Any,
    score_shift: Any,
    context_multiplier: Any,
    context_shift: Any,
    *table: Any,
    heads: int,
    **exponential: int,
) -> Any:
    """IntAttention by implementations of the product, Requantize, and a softmax from int8 scores."""
    q, k, v = split_heads(qkv, heads)
    score = requantize(matmul(q, k.swapaxes(-1, -2)), score_multiplier, score_shift)
    context = join_heads(matmul(softmax(score, *table, **exponential), v))
    return requantize(context, context_multiplier, context_shift)


def split_heads(qkv: Any, heads: int) -> tuple[Any, Any, Any]:
    """Queries, keys and values [N, heads, T, D] of packed ones [N, T, 3 * heads * D], in any library."""
    batch, tokens, width = qkv.shape
    per_head = qkv.reshape(batch, tokens, 3, heads, width // 3 // heads).swapaxes(1, 3)
    return per_head[:, :, 0], per_head[:, :, 1], per_head[:, :, 2]


def join_heads(context: Any) -> Any:
    """[N, heads, T, D] as [N, T, heads * D], in any library."""
    batch, heads, tokens, head_dim = context.shape
    return context.swapaxes(1, 2).reshape(batch, tokens, heads * head_dim)


HEADS = Attribute("heads", 1, 1024, "number of heads", divides=("C",))

_INPUTS = (
    activation("qkv", "int8", "[N, T, 3*C]", "queries, keys, values in this order, each [heads, D]; scale s"),
    scale_inputs("score_", "[]", "s^2 * D^-0.5 / s_score, the scale of the softmax"),
    scale_inputs("context_", "[] or [C]", "2^-frac_bits * s / s_y"),
)


def _attention(name: str, softmax: Softmax, summary: str) -> Operator:
    signature: tuple[Tensor | Group, ...] = (*_INPUTS, *softmax.inputs("s_score"))
    attributes = (HEADS, *softmax.attributes)
    of = softmax.operator.name
    doc = f"Multi-head self-attention on packed qkv [N, T, 3 * C]: Q K^T, Requantize, {of}, P V, Requantize."
    return Operator(
        function=filled(Attention, softmax.of_int8, name, doc, signature, attributes),
        compute=attend,
        uses=(MATMUL, REQUANTIZE, softmax.operator),
        summary=summary,
        formula=f"per head: score = Requantize(q @ k^T), p = {of}(score), context = Requantize(p @ v)",
        signature=signature,
        outputs=(Tensor("y", "int8", "[N, T, C]", "heads merged, scale s_y"),),
        attributes=attributes,
        composite=True,
        base="IntAttention",
        parts=softmax.parts,
    )


OPERATORS = (
    _attention(
        "IntAttention",
        SHIFT_SOFTMAX,
        "Multi-head self-attention, from packed qkv to the input of the output projection.",
    ),
    _attention(
        "IntTableAttention",
        TABLE_SOFTMAX,
        "Multi-head self-attention as IntAttention computes it, but for exponentials by table.",
    ),
)
