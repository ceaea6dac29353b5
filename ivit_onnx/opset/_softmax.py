"""The softmax of an attention as a part: by shifts or with exponentials by table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from onnxscript import OnnxFunction, script

from ivit_onnx.opset import shiftmax, table_softmax
from ivit_onnx.opset._spec import IVIT, Attribute, Operator, Part, Tensor, op

__all__ = ["SHIFT_SOFTMAX", "TABLE_SOFTMAX", "Softmax"]


@dataclass(frozen=True)
class Softmax:
    """From scores to probabilities: for int8 scores the step `of_int8`, for int64 ones, masked, `of_scores`.

    `inputs` are what it adds to those of an attention, by the name of the scores' scale. `masked` says what happens to
    a score that must not count.
    """

    operator: Operator
    of_int8: OnnxFunction[..., Any]
    of_scores: OnnxFunction[..., Any]
    inputs: Callable[[str], tuple[Tensor, ...]]
    masked: str
    parts: frozenset[Part] = frozenset()

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        return self.operator.attributes


def _by_shifts(softmax: OnnxFunction[..., Any]) -> OnnxFunction[..., Any]:
    @script(IVIT, default_opset=op)
    def ByShifts(score, x0: int, n: int, frac_bits: int):
        probability = softmax(score, x0=x0, n=n, frac_bits=frac_bits)
        return probability

    return ByShifts


def _by_table(softmax: OnnxFunction[..., Any]) -> OnnxFunction[..., Any]:
    @script(IVIT, default_opset=op)
    def ByTable(score, exponentials, frac_bits: int):
        probability = softmax(score, exponentials, frac_bits=frac_bits)
        return probability

    return ByTable


SHIFT_SOFTMAX = Softmax(
    shiftmax.SHIFTMAX,
    _by_shifts(shiftmax.Shiftmax),
    _by_shifts(shiftmax.ScoreShiftmax),
    lambda scale: (),
    "is left out of the maximum and has E = -x0, the least",
)
TABLE_SOFTMAX = Softmax(
    table_softmax.TABLE_SOFTMAX,
    _by_table(table_softmax.TableSoftmax),
    _by_table(table_softmax.ScoreTableSoftmax),
    lambda scale: (table_softmax.exponentials_input(scale),),
    "is left out of the maximum and has E = 0",
    frozenset({Part.TABLE}),
)
