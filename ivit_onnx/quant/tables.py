"""The tables of softmax and GELU: their exact values, rounded once.

They are computed with far more digits than a float has, so that every machine gets the same integers.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    "function_values",
    "gelu_table",
    "gelu_tables",
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
#: Far more than quotients of float64 below 1024 are wrong by.
_SURE = 1e-9


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


def gelu_tables(act: str, s_x: np.float32, scales: Sequence[np.float32], zero_x: int, zeros: Sequence[int]) -> Array:
    """`gelu_table` for each scale and zero point of results; int8 [S, 256]."""
    values = function_values(act, s_x, zero_x)
    tables = np.empty((len(scales), 256), np.int8)
    for table, scale, zero in zip(tables, scales, zeros, strict=True):
        # A quotient that is no half is rounded as the exact one is, and the others are computed exactly.
        quotients = np.clip(values / np.float64(scale), -1024, 1024)
        if (np.abs(quotients - np.floor(quotients) - 0.5) < _SURE).any():
            table[:] = gelu_table(act, s_x, scale, zero_x, zero)
        else:
            table[:] = np.clip(np.rint(quotients) + zero, -128, 127)
    return tables


def function_values(act: str, s_x: np.float32, zero_x: int) -> Array:
    """act((x - zero_x) * s_x) for x = -128..127, each the nearest float64 [256]."""
    return np.array(_function_values(act, float(s_x), zero_x))


@lru_cache(maxsize=256)
def _function_values(act: str, s_x: float, zero_x: int) -> tuple[float, ...]:
    function = EXACT[act]
    with mpmath.workprec(_PRECISION):
        return tuple(float(function((x - zero_x) * mpmath.mpf(s_x))) for x in range(-128, 128))


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
