"""Factors of massive neurons, whose values alone would decide the range of a GELU.

Far from zero a GELU is 0 or the identity, and neither minds a factor f: act(x) = f act(x / f) but for what lies in
between. So a neuron that reaches far beyond the others may be divided by a factor before its GELU and multiplied by it
after: all the others then have finer steps. What that costs in between is weighed against what it gains, on rows that
the layer has seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ivit_onnx.calibration.adjustments import decode_factors, encode_factors
from ivit_onnx.quant.recorders import Channels

__all__ = ["neuron_codes"]

Array = np.ndarray[Any, Any]

#: Ranges that are tried, in parts of the largest value.
_RANGES = np.geomspace(1.0, 0.2, 10)
#: Steps of an 8-bit range, and what a GELU reaches below zero.
_STEPS, _BELOW = 255, 3.0
#: What the change of a function counts more than rounding of the same energy: it is not independent between tokens.
_CAUTION = 12.0


def neuron_codes(hidden: Channels, rows: Array, outgoing: Array, act: Callable[[Tensor], Tensor]) -> Array:
    """int8 codes [H] of the factors of a feed-forward network, 1 for most neurons.

    `hidden`: channels of the arguments of `act`, `rows` [R, H] some of them; `outgoing` [H]: squared norms of the
    weights that read each neuron.
    """
    largest = np.maximum(hidden.maximum, 1e-30)
    x = torch.from_numpy(rows.astype(np.float32))
    exact = act(x)
    slope = ((act(x + 0.01) - act(x - 0.01)) / 0.02).square().mean(0).double().numpy()
    best, best_error = np.zeros(len(largest), np.int8), np.inf
    for part in _RANGES:
        top = part * largest.max()
        codes = encode_factors(np.maximum(largest / top, 1.0))
        factors = decode_factors(codes).astype(np.float64)
        reach = float((largest / factors).max())
        chosen = np.flatnonzero(codes)
        scaled = torch.from_numpy(factors[chosen].astype(np.float32))
        change = _variance(act(x[:, chosen] / scaled) * scaled - exact[:, chosen])
        rounding = (reach / _STEPS) ** 2 + ((reach + _BELOW) / _STEPS) ** 2 * slope
        changed = _CAUTION * float((outgoing[chosen] * change).sum())
        # It only grows with the factors.
        if changed >= best_error:
            break
        error = float((outgoing * factors**2 * rounding / 12).sum()) + changed
        if error < best_error:
            best, best_error = codes, error
    return best


def _variance(x: Tensor) -> Array:
    """The variance of each column, float64."""
    return np.asarray((x - x.mean(0)).square().mean(0).double().numpy())
