"""Scale and n of Shiftmax and ShiftGELU, from rows that the layer has seen.

The integer functions know their scale s only as x0 = floor(-1 / s), or floor(-1 / (1.702 s)): where that is no whole
number the exponential has a wrong temperature, by up to 1 / x0. So only scales with a whole x0 are taken. What is left
is a choice of range against resolution, and of n, by evaluating the exact integer function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ivit_onnx.opset.arithmetic import INT32_MAX
from ivit_onnx.quant.exponents import exp_x0, gelu_x0
from ivit_onnx.quant.nonlinear import shift_gelu

__all__ = ["fit_gelu", "fit_softmax", "flat_below", "whole_scale"]

Array = np.ndarray[Any, Any]

_N_RANGE = range(4, 31)
#: Ranges that are tried, in parts of the largest value seen.
_RANGES = (1.0, 0.5)
_CANDIDATES = 8
#: The largest -x0 with which two exponentials of the least n can be added up.
_MOST_INVERSE = INT32_MAX >> (min(_N_RANGE) + 1)
#: Below minus this every GELU is flat.
_FLAT = 10.0
#: Values of a row that are enough to choose the scale of a ShiftGELU, beside the largest, which the others depend on.
_GELU_COLUMNS = 256


def whole_scale(inverse: int, x0: Callable[[np.float32], int], slope: float) -> np.float32:
    """The scale nearest to 1 / (inverse * slope) for which x0 is -inverse."""
    scale = np.float32(1 / (inverse * slope))
    while x0(scale) < -inverse:
        scale = np.nextafter(scale, np.float32(np.inf))
    return scale


def fit_softmax(largest: float) -> np.float32 | None:
    """Scale of Shiftmax for scores up to `largest`. Only those above 127 are clipped: attention attends to them.

    A scale above 1 would have the wrong temperature: its x0 is -1, too. None where all scores are 0.
    """
    return whole_scale(_inverse(127 / largest), exp_x0, 1.0) if largest > 0 else None


def flat_below(act: Callable[[Tensor], Tensor], small: float) -> float:
    """The negative number below which an activation function's absolute value is less than `small`."""
    x = torch.linspace(-_FLAT, 0, 1001, dtype=torch.float64)
    (large,) = torch.nonzero(act(x).abs() >= small, as_tuple=True)
    return float(x[large[0]]) if len(large) else 0.0


def _inverse(wanted: float) -> int:
    return int(min(max(1.0, wanted), _MOST_INVERSE))


def fit_gelu(rows: Array, largest: float, act: Callable[[Tensor], Tensor]) -> tuple[np.float32, int] | None:
    """Scale and n of ShiftGELU for rows of real values [R, H], that stand for the activation function `act`."""
    if not rows.size or not largest > 0:
        return None
    some = rows[:, :: max(1, rows.shape[1] // _GELU_COLUMNS)]
    real = torch.from_numpy(np.concatenate([rows.max(1, keepdims=True), some], axis=1).astype(np.float32))
    exact = act(real)
    best, best_error = None, np.inf
    low, high = (_inverse(127 / (1.702 * largest * part)) for part in _RANGES)
    for inverse in sorted({round(v) for v in np.geomspace(low, high, _CANDIDATES)}):
        scale = whole_scale(inverse, gelu_x0, 1.702)
        integers = torch.round(real / float(scale)).clamp(-128, 127).long()
        for n in _N_RANGE:
            if 2 * inverse << n > INT32_MAX:
                break
            y = shift_gelu(integers, x0=-inverse, n=n) * (float(scale) / 128)
            error = float((y - exact).square().sum())
            if error < best_error:
                best, best_error = (scale, n), error
    return best
