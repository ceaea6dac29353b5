"""Feed-forward networks with a scale for each token: the choice of the scales, and IntTokenMlpAdd's steps in PyTorch.

The ladder of scales starts at that of the tensor, s_0, and each is 64^(-1/31) times the one before: 32 scales reach
s_0 / 64. Zero points stay exact, and hold the least value of the activation function. All is computed by rules of
IEEE arithmetic, so that every machine makes the same of a file's numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import mpmath
import numpy as np
from torch import Tensor

from ivit_onnx.opset.arithmetic import Array
from ivit_onnx.opset.int_token_mlp import MOST_SCALES, TOKEN_GELU, TOKEN_SCALE
from ivit_onnx.quant.operators import Implementations
from ivit_onnx.quant.tables import function_values

__all__ = ["IMPLEMENTATIONS", "SCALES", "TokenScales", "token_scales"]

#: How many scales a ladder has, unless a network needs fewer, and how far the last one is below the first.
SCALES = 32
SPAN = 64


def _ratios() -> tuple[float, ...]:
    with mpmath.workprec(80):
        return tuple(float(mpmath.mpf(SPAN) ** (-mpmath.mpf(i) / (SCALES - 1))) for i in range(MOST_SCALES))


#: Of the scales of a ladder to the first one.
_RATIOS = _ratios()


@dataclass(frozen=True, eq=False)
class TokenScales:
    """The scales that tokens of one feed-forward network have, the largest first.

    `scales` float32 [S], `zeros` int64 [S]: of the results of the activation function; `ratios` float64 [S]: to the
    scale of the tensor. `of_largest` int8 [256]: entry v + 128 is the scale of a token whose largest argument is v.
    """

    scales: Array
    zeros: Array
    ratios: Array
    of_largest: Array

    def of(self, largest: Array) -> Array:
        """int64: the scales of tokens with these largest arguments, int8."""
        return np.asarray(self.of_largest[np.asarray(largest, np.int64) + 128].astype(np.int64))


@lru_cache(maxsize=1024)
def token_scales(act: str, s_x: float, zero_x: int, s_0: float, zero_0: int, count: int) -> TokenScales:
    """The scales that tokens choose from a ladder of at most `count`, for arguments and results of these scales.

    A token has the smallest scale that represents its results, but for half a step. Scales that none chooses are left
    out; the ladder ends where the least value of the function would need all steps.
    """
    values = function_values(act, np.float32(s_x), zero_x)
    below = min(max(-float(values.min()), 0.0), (zero_0 + 128) * s_0)
    scales, zeros = [np.float32(s_0)], [zero_0]
    for ratio in _RATIOS[1:count]:
        scale = np.float32(s_0 * ratio)
        if scale < np.finfo(np.float32).tiny:
            break
        steps = int(np.ceil(below / np.float64(scale)))
        if steps > 254:
            break
        scales.append(scale)
        zeros.append(steps - 128)
    reach = (127.5 - np.array(zeros)) * np.array(scales, np.float64)
    # Results below 0 are represented anyway.
    enough = reach >= np.maximum.accumulate(np.maximum(values, 0))[:, None]
    last = len(scales) - 1 - np.argmax(enough[:, ::-1], axis=1)
    chosen = np.where(enough.any(1), last, int(np.argmax(reach)))
    used = np.unique(chosen)
    kept = np.array(scales, np.float32)[used]
    return TokenScales(
        kept, np.array(zeros, np.int64)[used], kept / np.float64(s_0), np.searchsorted(used, chosen).astype(np.int8)
    )


def _token_scale(hidden: Tensor, token_scale: Tensor, scales: int) -> Tensor:
    return token_scale.long()[hidden.amax(-1).long() + 128].clamp(max=scales - 1)


def _token_gelu(hidden: Tensor, scale: Tensor, gelu_tables: Tensor) -> Tensor:
    return gelu_tables.long()[scale[..., None], hidden.long() + 128]


IMPLEMENTATIONS: Implementations = {TOKEN_SCALE: _token_scale, TOKEN_GELU: _token_gelu}
