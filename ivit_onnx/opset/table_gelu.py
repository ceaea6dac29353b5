"""TableGELU: an activation function of int8 values as a table of its 256 results."""

from __future__ import annotations

import numpy as np
from onnxscript import script

from ivit_onnx.opset._spec import IVIT, Operator, Tensor, activation, op
from ivit_onnx.opset.arithmetic import Array

__all__ = ["TABLE_GELU", "OPERATORS", "TableGELU"]


@script(IVIT, default_opset=op)
def TableGELU(x, table):
    """table[x + 128]: GELU, or any other function of int8 values, and the requantisation of its result in one step."""
    y = op.Gather(table, op.Add(op.Cast(x, to=7), op.Constant(value_int=128)))
    return y


def reference(x: Array, table: Array) -> Array:
    result: Array = table[x.astype(np.int64) + 128]
    return result


TABLE_GELU = Operator(
    function=TableGELU,
    compute=reference,
    summary="GELU by table: each int8 value to the int8 result that the table has for it.",
    formula="y = table[x + 128]",
    signature=(
        activation("x", "int8", "[.., C]", "scale s_x"),
        Tensor("table", "int8", "[256]", "entry v + 128 is gelu(v * s_x) / s_y, rounded and clamped"),
    ),
    outputs=(Tensor("y", "int8", "[.., C]", "scale s_y"),),
)
OPERATORS = (TABLE_GELU,)
