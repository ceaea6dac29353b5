"""Factors that move the differences between channels from 8-bit activations to weights with one scale per row.

SmoothQuant (Xiao et al., 2023) divides channel c of an activation by s_c = max|x_c|^a / max|W_c|^(1-a) and multiplies
the weights that read it. Here a is chosen for each layer by the error that it predicts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ivit_onnx.calibration.adjustments import decode_factors, encode_factors
from ivit_onnx.quant.recorders import Channels

__all__ = ["balance_codes", "expected_error", "shifts", "smoothing_codes"]

Array = np.ndarray[Any, Any]

#: The exponents a that are tried; 0 in all channels would be the network as it is, which is tried too.
STRENGTHS = (0.4, 0.55, 0.7, 0.85, 1.0)
#: Part of the predicted error that has to be left for a shift of channels; on real networks a small gain was none.
WORTH_SHIFTING = 0.7


def expected_error(channels: Channels, weight: Array, factors: Array) -> float:
    """Expected squared error of a linear layer with inputs x / factors and weights weight * factors in 8 bits.

    Both errors are uniform within a step: s_x^2 / 12 times the squared weights, s_w^2 / 12 times the squared inputs.
    `weight` [out, in] may be absolute values.
    """
    scaled = np.abs(weight) * factors.astype(weight.dtype)
    step_x = (channels.largest / factors).max() / 127
    step_w = scaled.max(1).astype(np.float64) / 127
    inputs = (channels.mean_square / factors**2).sum()
    return float((step_x**2 * np.vdot(scaled, scaled) + np.square(step_w).sum() * inputs) / 12)


def smoothing_codes(channels: Channels, weight: Array) -> tuple[Array, float]:
    """int8 codes [in] of the factors of a linear layer with weights [out, in], for inputs of these channels, and the
    error that they predict."""
    magnitude = np.abs(weight)
    largest = np.maximum(channels.largest, 1e-5 * max(channels.largest.max(), 1e-30))
    columns = magnitude.max(0).astype(np.float64)
    columns = np.maximum(columns, 1e-5 * max(columns.max(), 1e-30))
    candidates = [np.ones_like(largest)]
    for strength in STRENGTHS:
        factors = largest**strength / columns ** (1 - strength)
        candidates.append(decode_factors(encode_factors(factors / np.exp(np.log(factors).mean()))).astype(np.float64))
    errors = [expected_error(channels, magnitude, factors) for factors in candidates]
    return encode_factors(candidates[int(np.argmin(errors))]), min(errors)


def shifts(channels: Channels, weight: Array) -> Array | None:
    """float16 [in]: the mean inputs of a linear layer, if it is worth subtracting them.

    The middle of a channel would leave the smallest range. But where most tokens are near 0 and a few are massive it
    moves most of them away from 0, and with them the error of the weights; and unseen images go beyond either end.
    """
    limit = float(np.finfo(np.float16).max)
    mean = channels.mean.clip(-limit, limit).astype(np.float16)
    _, error = smoothing_codes(channels, weight)
    _, shifted = smoothing_codes(channels.transformed(1.0, -mean.astype(np.float64)), weight)
    return mean if shifted < WORTH_SHIFTING * error else None


def balance_codes(channels: Channels) -> Array:
    """int8 codes [2, C] for outputs q, k, v [3 * C]: the factors of queries and keys, and those of values.

    Queries and keys of a channel get the same largest value; values are spread to the largest of both.
    """
    queries, keys, values = np.maximum(channels.largest, 1e-5 * max(channels.largest.max(), 1e-30)).reshape(3, -1)
    first = decode_factors(encode_factors(np.sqrt(queries / keys))).astype(np.float64)
    common = max((queries / first).max(), (keys * first).max())
    # A factor that is rounded down would put values beyond the common range.
    second = encode_factors(values / common)
    second = np.where(values / decode_factors(second) > common, second + 1, second).astype(np.int8)
    return np.stack([encode_factors(first), second])
