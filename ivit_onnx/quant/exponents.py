"""The choice of n, the fractional bits of the shift exponential, for activations that no training has adapted to it.

n trades two errors. Both functions multiply by F = 2^31 // sum: a large n makes the sum large and F coarse. A small n
cuts the exponential off early: exp(d * scale) below about 2^-n is not told apart. The best n is found by
evaluating the exact integer function on a grid (GELU) or on fixed pseudo-random scores (softmax).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ivit_onnx.errors import ExportError
from ivit_onnx.opset import OPERATORS
from ivit_onnx.opset.arithmetic import INT32_MAX, shift_exp

__all__ = [
    "LEAST_GELU_SCALE",
    "MOST_N",
    "choose_gelu_n",
    "choose_shiftmax_n",
    "exp_x0",
    "fitting_n",
    "gelu_limit",
    "gelu_x0",
    "least_softmax_scale",
]

_SIGMOID_SLOPE = np.float32(1.702)
_N_RANGE = range(4, 31)
_SHIFTMAX = {attribute.name: attribute for attribute in OPERATORS["Shiftmax"].attributes}
#: The largest n.
MOST_N = _SHIFTMAX["n"].maximum
_LEAST_X0 = _SHIFTMAX["x0"].minimum
#: The least scale of ShiftGELU whose two exponentials can be added up.
LEAST_GELU_SCALE = 2.0 ** (min(_N_RANGE) - 30)


def exp_x0(scale: np.float32) -> int:
    """x0 = floor(-1 / scale) of Shiftmax, in float32. Raises ExportError where the operator has no such x0."""
    return _whole(np.float32(-1.0) / np.float32(scale), scale)


def gelu_x0(scale: np.float32) -> int:
    """x0 = floor(-1 / (1.702 * scale)) of ShiftGELU, in float32. Raises ExportError as `exp_x0`."""
    return _whole(np.float32(-1.0) / (np.float32(scale) * _SIGMOID_SLOPE), scale)


def _whole(inverse: np.float32, scale: np.float32) -> int:
    if inverse < _LEAST_X0:
        raise ExportError(f"a scale of {scale} is too small for the shift exponential: x0 would be below {_LEAST_X0}")
    return int(np.floor(inverse))


def least_softmax_scale(tokens: int) -> float:
    """The least scale at which rows of so many exponentials can be added up; its x0 is whole.

    Smaller scales are those of scores that are all nearly equal: this one tells them apart as well as it takes.
    """
    return 2.0 ** ((tokens - 1).bit_length() - 30 + min(_N_RANGE))


def fitting_n(n: int, x0: int, tokens: int, frac_bits: int) -> int:
    """The largest n of Shiftmax, up to `n`, with which its probabilities times int8 values can be added up in int32.

    Probabilities add up to 1 as long as the sum of the exponentials, at most tokens * |x0| * 2^n, is not saturated.
    If it is, each can be nearly 1: with few tokens that fits too, and `n` stays as it is.
    """
    if tokens << (frac_bits + 7) <= INT32_MAX:
        return n
    while n > 1 and tokens * -x0 << n > INT32_MAX:
        n -= 1
    return n


def gelu_limit(n: int) -> float:
    """The largest row maximum, in real units, at which exp(-maximum) of ShiftGELU is not yet cut off.

    The exponent is cut at p = n * x0, and p = 1.4375 * d with d = -maximum / scale and x0 = -1 / (1.702 * scale).
    """
    return n / (1.4375 * 1.702)


@lru_cache(maxsize=256)
def choose_gelu_n(scale: float) -> int:
    """The n with which ShiftGELU at `scale` is nearest to GELU, over inputs that fill the int8 range."""
    x0 = gelu_x0(np.float32(scale))
    row_max = np.arange(32, 128, 5, dtype=np.int64)[:, None]
    x = np.arange(-128, 128, dtype=np.int64)[None, :]
    valid = x <= row_max
    real = x * scale
    density = np.exp(-0.5 * (x / 42.0) ** 2) * valid
    exact = real / (1 + np.exp(-1.702 * real))
    best, best_error = 0, np.inf
    for n in _N_RANGE:
        if 2 * -x0 << n > INT32_MAX:
            break
        e1, e2 = shift_exp(np.minimum(x - row_max, 0), x0, n), shift_exp(-row_max, x0, n)
        y = x * ((e1 * (2**31 // np.minimum(e1 + e2, INT32_MAX))) >> 24)
        error = float((density * (y * (scale / 128) - exact) ** 2).sum())
        if error < best_error:
            best, best_error = n, error
    return best or 1


@lru_cache(maxsize=256)
def choose_shiftmax_n(scale: float, tokens: int, frac_bits: int) -> int:
    """The n with which Shiftmax at `scale` is nearest to softmax, over rows of `tokens` scores of several spreads."""
    x0 = exp_x0(np.float32(scale))
    spread = np.repeat([16.0, 32.0, 64.0], 8)[:, None]
    scores = np.random.default_rng(0).standard_normal((len(spread), tokens)) * spread
    x = np.clip(np.rint(scores), -128, 127).astype(np.int8)
    real = x.astype(np.float64) * scale
    exact = np.exp(real - real.max(-1, keepdims=True))
    exact /= exact.sum(-1, keepdims=True)
    norm = (exact**2).sum(-1, keepdims=True)
    best, best_error = 0, np.inf
    for n in _N_RANGE:
        if tokens * -x0 << n > INT32_MAX:
            break
        y = OPERATORS["Shiftmax"].reference(x, x0=x0, n=n, frac_bits=frac_bits)
        error = float((((y * 2.0**-frac_bits - exact) ** 2) / norm).sum())
        if error < best_error:
            best, best_error = n, error
    return best or 1
