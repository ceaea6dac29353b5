"""The arithmetic that the numpy references share, in int64. Matches the primitives of the function bodies."""

from __future__ import annotations

from typing import Any

import numpy as np

from ivit_onnx.opset._spec import Computation

__all__ = [
    "INT32_MAX",
    "MATMUL",
    "Array",
    "matmul",
    "rounded_divide",
    "saturate",
    "scale_round",
    "shift_exp",
]

Array = np.ndarray[Any, Any]

INT32_MAX = 2**31 - 1


def scale_round(x: Array, multiplier: Array, shift: Array) -> Array:
    """(x * multiplier + 2**(shift - 1)) >> shift in int64; multiplier and shift broadcast over the last axis."""
    shift64 = np.asarray(shift, np.int64)
    product = x.astype(np.int64) * np.asarray(multiplier, np.int64)
    return (product + (np.int64(1) << (shift64 - 1))) >> shift64


def rounded_divide(x: Array, divisor: int) -> Array:
    """x / divisor of int64 rounded to the nearest integer, halves to the even one; divisor > 0."""
    floor, remainder = x // divisor, x % divisor
    return floor + (2 * remainder + floor % 2 > divisor)


def shift_exp(d: Array, x0: int, n: int) -> Array:
    """Shift exponential of int64 d: 2**n * |x0| * exp(d * scale) with x0 = floor(-1 / scale); int64 up to 2**31 - 1."""
    p = np.maximum(d + (d >> 1) - (d >> 4), n * x0)
    q = p // x0
    r = p - q * x0
    return np.minimum(((r - 2 * x0) << np.minimum(n - q, 32)) >> 1, INT32_MAX)


def saturate(x: Array, dtype: type[np.signedinteger[Any]]) -> Array:
    """Clamp to the range of `dtype` and convert."""
    limits = np.iinfo(dtype)
    return np.clip(x, limits.min, limits.max).astype(dtype)


def matmul(a: Array, b: Array) -> Array:
    """Exact integer matrix product of small integers, int64.

    Goes through float64, which holds every integer below 2**53: far above any sum of 8-bit products.
    """
    return np.matmul(a.astype(np.float64), b.astype(np.float64)).astype(np.int64)


#: The exact product of small integers, int64.
MATMUL = Computation(compute=matmul)
