"""IntTokenMlpAdd: the feed-forward half of a transformer block whose hidden activations have a scale for each token.

A token that is far larger than the others costs them their resolution where all share one scale. Here the largest
hidden value of a token chooses one of S scales: each has its own table of the activation function, its own biases of
the second layer (they hold the zero point, too), and its own scale of the branch. All else is IntTableMlpAdd.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnxscript import OnnxFunction, script

from ivit_onnx.opset._primitives import ScaleRound
from ivit_onnx.opset._spec import IVIT, Computation, Group, Limit, Operator, Part, Role, Tensor, activation, op
from ivit_onnx.opset._variants import then_norm
from ivit_onnx.opset.add_requantize import ADD_REQUANTIZE
from ivit_onnx.opset.arithmetic import MATMUL, Array
from ivit_onnx.opset.int_linear import INT_LINEAR, IntLinear, linear_inputs
from ivit_onnx.opset.requantize import REQUANTIZE_16, Requantize16, scale_inputs

__all__ = ["MOST_SCALES", "OPERATORS", "PRIMITIVES", "TOKEN_GELU", "TOKEN_SCALE"]

#: Of one operator.
MOST_SCALES = 64
#: fc1 has so many constants.
_FC1 = 4


@script(IVIT, default_opset=op)
def TokenScale(hidden, token_scale, branch_multiplier):
    """int64 [..]: the scale of each token, by its largest value in int8 [.., H]; never more than there are."""
    largest = op.ReduceMax(op.Cast(hidden, to=7), op.Constant(value_ints=[-1]), keepdims=0)
    chosen = op.Gather(op.Cast(token_scale, to=7), op.Add(largest, op.Constant(value_int=128)))
    last = op.Sub(op.Size(branch_multiplier), op.Constant(value_int=1))
    scale = op.Min(chosen, last)
    return scale


@script(IVIT, default_opset=op)
def TokenGELU(hidden, scale, gelu_tables):
    """gelu_tables[scale of the token, hidden + 128]."""
    entries = op.Add(op.Cast(hidden, to=7), op.Constant(value_int=128))
    first = op.Mul(op.Unsqueeze(scale, op.Constant(value_ints=[-1])), op.Constant(value_int=256))
    y = op.Gather(op.Reshape(gelu_tables, op.Constant(value_ints=[-1])), op.Add(first, entries))
    return y


@script(IVIT, default_opset=op)
def TokenAddRequantize(branch, scale, branch_multiplier, branch_shift, residual, residual_multiplier, residual_shift):
    """AddRequantize, the branch by the scale of its token."""
    last_axis = op.Constant(value_ints=[-1])
    multiplier = op.Unsqueeze(op.Gather(branch_multiplier, scale), last_axis)
    shift = op.Unsqueeze(op.Gather(branch_shift, scale), last_axis)
    total = op.Add(ScaleRound(branch, multiplier, shift), ScaleRound(residual, residual_multiplier, residual_shift))
    clamped = op.Min(op.Max(total, op.Constant(value_int=-32768)), op.Constant(value_int=32767))
    y = op.Cast(clamped, to=5)
    return y


@script(IVIT, default_opset=op)
def IntTokenMlpAdd(
    x,
    residual,
    fc1_weight,
    fc1_bias,
    fc1_multiplier,
    fc1_shift,
    token_scale,
    gelu_tables,
    fc2_weight,
    fc2_bias,
    fc2_multiplier,
    fc2_shift,
    branch_multiplier,
    branch_shift,
    residual_multiplier,
    residual_shift,
):
    """Feed-forward block: linear, TableGELU with a scale for each token, linear to int16, residual connection."""
    hidden = IntLinear(x, fc1_weight, fc1_bias, fc1_multiplier, fc1_shift)
    scale = TokenScale(hidden, token_scale, branch_multiplier)
    activated = TokenGELU(hidden, scale, gelu_tables)
    accumulator = op.Add(op.MatMulInteger(activated, fc2_weight), op.Gather(fc2_bias, scale))
    branch = Requantize16(accumulator, fc2_multiplier, fc2_shift)
    y = TokenAddRequantize(
        branch, scale, branch_multiplier, branch_shift, residual, residual_multiplier, residual_shift
    )
    return y


def _token_scale(hidden: Array, token_scale: Array, scales: int) -> Array:
    """int64 [..]: the scale of each token."""
    chosen = token_scale[hidden.max(-1).astype(np.int64) + 128].astype(np.int64)
    return np.minimum(chosen, scales - 1)


def _token_gelu(hidden: Array, scale: Array, gelu_tables: Array) -> Array:
    activated: Array = gelu_tables[scale[..., None], hidden.astype(np.int64) + 128]
    return activated


#: Hidden values, the table from the largest to a scale, the number of scales; and hidden values, scales, tables.
TOKEN_SCALE = Computation(compute=_token_scale)
TOKEN_GELU = Computation(compute=_token_gelu)


def token_mlp_add(
    linear: Callable[..., Any],
    token_scale: Callable[..., Any],
    token_gelu: Callable[..., Any],
    matmul: Callable[..., Any],
    requantize: Callable[..., Any],
    add: Callable[..., Any],
    x: Any,
    residual: Any,
    *constants: Any,
) -> Any:
    """IntTokenMlpAdd by implementations of its steps."""
    hidden = linear(x, *constants[:_FC1])
    chosen_by, tables, weight, bias, *fc2_scale, multiplier, shift, residual_multiplier, residual_shift = constants[
        _FC1:
    ]
    scale = token_scale(hidden, chosen_by, len(multiplier))
    activated = token_gelu(hidden, scale, tables)
    branch = requantize(matmul(activated, weight) + bias[scale], *fc2_scale)
    of_rows = multiplier[scale][..., None], shift[scale][..., None]
    return add(branch, *of_rows, residual, residual_multiplier, residual_shift)


_SIGNATURE = (
    activation("x", "int8", "[.., C]", "normalised tokens, scale s_x"),
    activation("residual", "int16", "[.., C]", "residual stream, scale s_r"),
    linear_inputs("fc1_", "s_x", "s_h", "C", "H"),
    Tensor(
        "token_scale",
        "int8",
        "[256]",
        "entry v + 128 is the scale i of a token whose largest hidden value is v",
        values=(0, MOST_SCALES - 1),
    ),
    Tensor(
        "gelu_tables", "int8", "[S, 256]", "entry v + 128 of row i is gelu(v * s_h) / s_i + z_i, rounded and clamped"
    ),
    Group(
        "Linear",
        "fc2_linear",
        (
            Tensor("fc2_weight", "int8", "[H, C]", "weight, one scale s_w per output channel", Role.PACKED),
            Tensor("fc2_bias", "int32", "[S, C]", "row i: bias at scale s_i * s_w, less z_i times the sum of weights"),
            scale_inputs("fc2_", "[] or [C]", "s_0 * s_w / s_b"),
        ),
    ),
    scale_inputs("branch_", "[S]", "s_b * s_i / (s_0 * s_y)"),
    scale_inputs("residual_", "[]", "s_r / s_y"),
)

INT_TOKEN_MLP_ADD = Operator(
    function=IntTokenMlpAdd,
    compute=token_mlp_add,
    uses=(INT_LINEAR, TOKEN_SCALE, TOKEN_GELU, MATMUL, REQUANTIZE_16, ADD_REQUANTIZE),
    summary="Feed-forward block: linear, GELU by table with a scale for each token, linear, residual connection.",
    formula="h = IntLinear(x, fc1); per token: i = min(token_scale[max(h) + 128], S - 1); g = gelu_tables[i, h + 128]; "
    "b = clamp_int16(((g @ fc2_weight + fc2_bias[i]) * m + 2^(e-1)) >> e); "
    "y = AddRequantize(b by branch[i], residual)",
    signature=_SIGNATURE,
    outputs=(Tensor("y", "int16", "[.., C]", "residual stream, scale s_y"),),
    limits=(Limit("S", 1, MOST_SCALES, "scales of tokens"),),
    composite=True,
    since=2,
    base="IntMlpAdd",
    parts=frozenset({Part.TABLE, Part.TOKEN}),
)
PRIMITIVES: tuple[OnnxFunction[..., Any], ...] = (TokenScale, TokenGELU, TokenAddRequantize)
OPERATORS = (
    INT_TOKEN_MLP_ADD,
    then_norm(
        INT_TOKEN_MLP_ADD,
        "IntTokenMlpAddNorm",
        summary="Feed-forward block with a scale for each token, residual connection and the normalisation after it.",
        doc="Feed-forward block, residual connection, and the normalisation of the residual stream that follows it.",
    ),
)
