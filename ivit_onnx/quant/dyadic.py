"""Dyadic numbers m * 2^-e: how a real ratio of scales becomes two integers (I-ViT, section 3.2)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ivit_onnx.errors import ExportError
from ivit_onnx.opset.requantize import SHIFTS

__all__ = ["MAX_SHIFT", "Dyadic", "dyadic", "dyadic_affine"]

MAX_SHIFT = SHIFTS[1]
_MANTISSA_BITS = 31
#: Below 2^62 in absolute value, so that an int64 product of up to 2^61 can be added to it without overflow.
_MAX_OFFSET_BITS = 61

Array = np.ndarray[Any, Any]


class Dyadic(NamedTuple):
    """m (int32) and e (int8) as arrays of one shape; the value is m * 2^-e, 1 <= e <= 62."""

    multiplier: Array
    shift: Array


def dyadic(ratio: npt.ArrayLike, layer: str) -> Dyadic:
    """The dyadic number nearest to each `ratio` with a 31-bit mantissa.

    A ratio below 2^-31 keeps e = 62 and a shorter mantissa: its absolute error stays below 2^-63.

    Raises:
        ExportError: a ratio is not finite or not below 2^30; `layer` names it in the message.
    """
    value = np.asarray(ratio, np.float64)
    _, exponent = np.frexp(value)
    return _with_shift(value, np.minimum(_MANTISSA_BITS - exponent, MAX_SHIFT), layer)


def dyadic_affine(ratio: npt.ArrayLike, offset: npt.ArrayLike, layer: str) -> tuple[Dyadic, Array]:
    """A dyadic ratio and, on the same shift, the int64 offset with the rounding half: z -> (z * m + b) >> e.

    The shift is lowered where the offset would not fit below 2^62.

    Raises:
        ExportError: as `dyadic`, or an offset of 2^60 or more.
    """
    value, real_offset = np.broadcast_arrays(np.asarray(ratio, np.float64), np.asarray(offset, np.float64))
    if not np.isfinite(real_offset).all():
        raise ExportError(f"{layer}: expected finite offsets, found {real_offset[~np.isfinite(real_offset)][0]}")
    _, exponent = np.frexp(value)
    _, offset_exponent = np.frexp(real_offset)
    shift = np.minimum(_MANTISSA_BITS - exponent, MAX_SHIFT - 1)
    number = _with_shift(value, np.minimum(shift, _MAX_OFFSET_BITS - np.maximum(offset_exponent, 0)), layer)
    shift64 = number.shift.astype(np.int64)
    b = np.rint(np.ldexp(real_offset, number.shift)).astype(np.int64) + (np.int64(1) << (shift64 - 1))
    return number, b


def _with_shift(value: Array, shift: Array, layer: str) -> Dyadic:
    if not np.isfinite(value).all():
        raise ExportError(f"{layer}: expected finite ratios of scales, found {value[~np.isfinite(value)].flat[0]}")
    scaled = np.ldexp(value, shift)
    m = np.sign(scaled) * np.floor(np.abs(scaled) + 0.5)
    overflow = np.abs(m) >= 2**_MANTISSA_BITS
    m = np.where(overflow, m / 2, m)
    e = np.where(overflow, shift - 1, shift)
    e = np.where(value == 0, np.minimum(e, _MANTISSA_BITS), e)
    if (e < 1).any():
        worst = float(np.abs(value).max())
        raise ExportError(
            f"{layer}: the ratio of scales {worst:.3g} cannot be expressed as m * 2^-e with 1 <= e <= {MAX_SHIFT}; "
            "the calibrated ranges of this layer do not fit together: check the calibration images"
        )
    return Dyadic(np.asarray(m, np.int64).astype(np.int32), np.asarray(e, np.int8))
