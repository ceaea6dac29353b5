"""The activation function of a feed-forward network as a part: by shifts or by table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from onnxscript import OnnxFunction, script

from ivit_onnx.opset._spec import IVIT, Attribute, Computation, Group, Part, Tensor, op
from ivit_onnx.opset.requantize import REQUANTIZE, Requantize, scale_inputs
from ivit_onnx.opset.shift_gelu import SHIFT_GELU, ShiftGELU
from ivit_onnx.opset.table_gelu import TABLE_GELU, TableGELU

__all__ = ["SHIFT_ACTIVATION", "TABLE_ACTIVATION", "ActivationFunction"]


@dataclass(frozen=True, kw_only=True)
class ActivationFunction(Computation):
    """From int8 values of scale s_h to int8 values of scale s_g: the step `body`, which has the input `input` too.

    `formula` has a place for the values; `called` and `described` name it in documentation.
    """

    body: OnnxFunction[..., Any]
    input: Tensor | Group
    formula: str
    called: str
    described: str
    attributes: tuple[Attribute, ...] = ()
    parts: frozenset[Part] = frozenset()


@script(IVIT, default_opset=op)
def ByShifts(hidden, gelu_multiplier, gelu_shift, x0: int, n: int):
    """ShiftGELU, requantised."""
    activated = op.Cast(ShiftGELU(hidden, x0=x0, n=n), to=6)
    activated_int8 = Requantize(activated, gelu_multiplier, gelu_shift)
    return activated_int8


@script(IVIT, default_opset=op)
def ByTable(hidden, gelu_table):
    """TableGELU."""
    activated = TableGELU(hidden, gelu_table)
    return activated


def _requantized(gelu: Callable[..., Any], requantize: Callable[..., Any], x: Any, *scale: Any, **shifts: int) -> Any:
    return requantize(gelu(x, **shifts), *scale)


def _looked_up(gelu: Callable[..., Any], x: Any, table: Any) -> Any:
    return gelu(x, table)


SHIFT_ACTIVATION = ActivationFunction(
    body=ByShifts,
    compute=_requantized,
    uses=(SHIFT_GELU, REQUANTIZE),
    input=scale_inputs("gelu_", "[] or [H]", "s_h * 2^-7 / s_g"),
    attributes=SHIFT_GELU.attributes,
    formula="Requantize(ShiftGELU({}))",
    called="ShiftGELU, requantisation",
    described="ShiftGELU, requantisation",
)
TABLE_ACTIVATION = ActivationFunction(
    body=ByTable,
    compute=_looked_up,
    uses=(TABLE_GELU,),
    input=Tensor("gelu_table", "int8", "[256]", "entry v + 128 is gelu(v * s_h) / s_g, rounded to nearest and clamped"),
    formula="TableGELU({})",
    called="TableGELU",
    described="GELU by table",
    parts=frozenset({Part.TABLE}),
)
