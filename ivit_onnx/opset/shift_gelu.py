"""ShiftGELU: x * sigmoid(1.702 x) by shifts."""

from __future__ import annotations

import numpy as np
from onnxscript import script

from ivit_onnx.opset._primitives import ShiftExp
from ivit_onnx.opset._spec import IVIT, Operator, Tensor, activation, op
from ivit_onnx.opset.arithmetic import INT32_MAX, Array, shift_exp
from ivit_onnx.opset.shiftmax import EXP_ATTRIBUTES

__all__ = ["SHIFT_GELU", "OPERATORS", "ShiftGELU"]


@script(IVIT, default_opset=op)
def ShiftGELU(x, x0: int, n: int):
    """GELU as x * sigmoid(1.702 x) in integers (I-ViT, algorithm 2), row-wise: int8 scale s to int16 scale s / 128."""
    x64 = op.Cast(x, to=7)
    row_max = op.ReduceMax(x64, op.Constant(value_ints=[-1]), keepdims=1)
    numerator = ShiftExp(op.Sub(x64, row_max), x0=x0, n=n)
    at_zero = ShiftExp(op.Neg(row_max), x0=x0, n=n)
    total = op.Min(op.Add(numerator, at_zero), op.Constant(value_int=2147483647))
    factor = op.Div(op.Constant(value_int=2147483648), total)
    sigmoid = op.Div(op.Mul(numerator, factor), op.Constant(value_int=16777216))
    y = op.Cast(op.Mul(x64, sigmoid), to=5)
    return y


def reference(x: Array, *, x0: int, n: int) -> Array:
    x64 = x.astype(np.int64)
    row_max = x64.max(-1, keepdims=True)
    e1 = shift_exp(x64 - row_max, x0, n)
    e2 = shift_exp(-row_max, x0, n)
    factor = 2**31 // np.minimum(e1 + e2, INT32_MAX)
    return (x64 * ((e1 * factor) >> 24)).astype(np.int16)


SHIFT_GELU = Operator(
    function=ShiftGELU,
    compute=reference,
    summary="GELU as x * sigmoid(1.702 x), with a sigmoid from shift exponentials relative to the row maximum M.",
    formula="M = max(x); E1 = shift_exp(x - M); E2 = shift_exp(-M); F = 2^31 // min(E1 + E2, 2^31 - 1); "
    "y = x * ((E1 * F) >> 24)",
    signature=(activation("x", "int8", "[.., C]", "scale s, with x0 = floor(-1 / (1.702 * s))"),),
    outputs=(Tensor("y", "int16", "[.., C]", "scale s * 2^-7"),),
    attributes=EXP_ATTRIBUTES,
)
OPERATORS = (SHIFT_GELU,)
