"""The tables of softmax and GELU: their exact values, rounded once.

They are computed with far more digits than a float has, so that every machine gets the same integers.
"""

from __future__ import annotations

from functools import lru_cache

import mpmath
import numpy as np

from ivit_onnx.opset import Part
from ivit_onnx.opset.arithmetic import Array
from ivit_onnx.options.choices import NONLINEAR, Nonlinear
from ivit_onnx.quant.act import EXACT

__all__ = [
    "EXP_BITS",
    "FUNCTION_PARTS",
    "LARGEST_EXPONENTIAL",
    "deferred_exponentials",
    "exponentials",
    "gelu_table",
    "nonlinear_named",
]

#: What operators with these functions have more than their bases.
FUNCTION_PARTS: dict[Nonlinear, frozenset[Part]] = {"ivit": frozenset(), "table": frozenset({Part.TABLE})}

#: The exponential of a row's maximum is 2^14. More bits would tell small exponentials apart that 15-bit probabilities
#: do not, and make the integer reciprocal of the sum of many tokens coarser.
EXP_BITS = 14

#: That of a row's maximum where the sum is divided by at the end.
LARGEST_EXPONENTIAL = 2**15 - 1

_PRECISION = 80


def nonlinear_named(name: str) -> Nonlinear:
    """The member of NONLINEAR of this name. Raises ValueError when there is none."""
    for known in NONLINEAR:
        if name == known:
            return known
    raise ValueError(f"expected non-linear functions of {', '.join(NONLINEAR)}, found {name!r}")


def exponentials(scale: np.float32) -> Array:
    """2^14 * exp(-d * scale) for d = 0..255, rounded; int32 [256]."""
    return np.array(_exponentials(float(scale), 2**EXP_BITS), np.int32)


def deferred_exponentials(step: float) -> Array:
    """(2^15 - 1) * exp(-d * step) for d = 0..255, rounded; int16 [256]."""
    return np.array(_exponentials(step, LARGEST_EXPONENTIAL), np.int16)


def gelu_table(act: str, s_x: np.float32, s_y: np.float32, zero_x: int = 0, zero_y: int = 0) -> Array:
    """act((x - zero_x) * s_x) / s_y + zero_y for x = -128..127, rounded, halves to even, and clamped; int8 [256].

    `act` is one of `ivit_onnx.quant.act.EXACT`; halves are those of the quotient, before the zero point is added.
    """
    return np.array(_gelu_table(act, float(s_x), float(s_y), zero_x, zero_y), np.int8)


@lru_cache(maxsize=256)
def _exponentials(scale: float, largest: int) -> tuple[int, ...]:
    with mpmath.workprec(_PRECISION):
        return tuple(int(mpmath.nint(largest * mpmath.exp(-d * mpmath.mpf(scale)))) for d in range(256))


@lru_cache(maxsize=256)
def _gelu_table(act: str, s_x: float, s_y: float, zero_x: int, zero_y: int) -> tuple[int, ...]:
    function = EXACT[act]
    with mpmath.workprec(_PRECISION):
        exact = (function((x - zero_x) * mpmath.mpf(s_x)) / mpmath.mpf(s_y) for x in range(-128, 128))
        return tuple(min(max(int(mpmath.nint(y)) + zero_y, -128), 127) for y in exact)
