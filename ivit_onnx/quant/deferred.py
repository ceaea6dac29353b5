"""Attention that divides by the sum of exponentials at its end: IntDeferredAttention and IntDeferredWindowAttention in
PyTorch, and their softmax as constants and attributes, and on real values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ivit_onnx.opset import MASKED, Part
from ivit_onnx.opset._deferred import DITHER, HIDDEN
from ivit_onnx.opset.arithmetic import Array
from ivit_onnx.quant.arithmetic import saturate
from ivit_onnx.quant.operators import Implementations
from ivit_onnx.quant.tables import LARGEST_EXPONENTIAL, deferred_exponentials
from ivit_onnx.quant.windows import cut_windows, join_windows, pair_bias, windows

__all__ = ["CONTEXT_RATIO", "DEFERRED", "IMPLEMENTATIONS", "DeferredSoftmax", "exponentials_of"]

DEFERRED = frozenset({Part.DEFERRED})
#: The scale of a context before it is requantised, in that of the values.
CONTEXT_RATIO = 2.0**-15
#: From this distance on, an exponential is 0 in the table.
_SPAN = math.log(2 * LARGEST_EXPONENTIAL) + 1e-3
_ENTRIES = 256
_LEVELS_OF_A_ROW = 2**24


@dataclass(frozen=True)
class DeferredSoftmax:
    """Scores of which the products q @ k^T have the real scale `product_scale`, D^-0.5 included, over rows of `keys`.

    `bits`: of an exponential; fewer where the sums of a row would not fit. `largest_bias`: of what is added to scores,
    in real units.
    """

    product_scale: np.float64
    head_dim: int
    keys: int
    bits: int
    largest_bias: float = 0.0

    @cached_property
    def score_shift(self) -> int:
        """The fewest last bits without which products of bytes fit 16 bits, and biases half of them."""
        products = math.ceil(math.log2(self.head_dim * 2**14)) - 15
        steps = self.largest_bias / float(self.product_scale)
        biases = math.ceil(math.log2(steps)) - 14 if steps > 1 else 0
        return min(max(products, biases, 0), 15)

    @property
    def scale(self) -> np.float64:
        """That of scores."""
        return np.float64(self.product_scale * 2.0**self.score_shift)

    @cached_property
    def multiplier(self) -> int:
        """From scores to steps of the table, in 2^-15: 255 steps reach where exponentials are 0."""
        ratio = float(self.scale) * (_ENTRIES - 1) / _SPAN
        return min(max(round(ratio * 2**15), 1), 2**15 - 1)

    @cached_property
    def levels(self) -> int:
        """A power of two."""
        return 2 ** min(self.bits, int(math.log2(_LEVELS_OF_A_ROW // self.keys)))

    def constants(self) -> dict[str, Array]:
        """The inputs of the operator that belong to the softmax."""
        return {"exponentials": deferred_exponentials(float(self.scale) * 2.0**15 / self.multiplier)}

    def attributes(self) -> dict[str, int]:
        """The attributes of the operator that belong to the softmax."""
        return {"score_shift": self.score_shift, "distance_multiplier": self.multiplier, "levels": self.levels}

    def biases(self, table: Array) -> Array:
        """Real biases as integers of the scores' scale; int16."""
        return np.clip(np.rint(table.astype(np.float64) / self.scale), -(2**15), 2**15 - 1).astype(np.int16)

    def simulate(self, products: Tensor) -> Tensor:
        """Real probabilities of integer products, with biases times 2^score_shift added; MASKED where they must not
        count."""
        x = products.double()
        scores = torch.floor(x * 2.0**-self.score_shift).clamp(-(2**15), 2**15 - 1)
        scores = torch.where(x <= MASKED, float(MASKED), scores)
        table = torch.from_numpy(self.constants()["exponentials"]).to(x.device)
        e = exponentials_of(scores, table, distance_multiplier=self.multiplier, levels=self.levels).double()
        return e / e.sum(-1, keepdim=True).clamp(min=self.levels // 32)


def exponentials_of(score: Tensor, exponentials: Tensor, *, distance_multiplier: int, levels: int) -> Tensor:
    """Exponentials 0 .. levels - 1 of 16-bit scores; those that must not count are MASKED or less."""
    score = score.long()
    difference = score.amax(-1, keepdim=True) - score
    entry = ((difference.clamp(max=32767) * distance_multiplier + 2**14) >> 15).clamp(max=255)
    dither = torch.arange(score.shape[-1], device=score.device) * DITHER % 2**15 // levels
    narrow = torch.div(exponentials.long()[entry] + dither, 2**15 // levels, rounding_mode="floor").clamp(
        max=levels - 1
    )
    return narrow * (difference < HIDDEN)


def deferred_context(matmul: Callable[..., Tensor], exponential: Tensor, value: Tensor, levels: int) -> Tensor:
    """Contexts with 15 fractional bits."""
    total = exponential.sum(-1, keepdim=True).clamp(min=levels // 32)
    factor = torch.div(levels * 2**26 - 1, total, rounding_mode="floor")
    product = matmul(exponential, value) * factor + levels * 2**10
    return torch.div(product, levels * 2**11, rounding_mode="floor").clamp(-(2**22), 2**22)


def attend_deferred(
    matmul: Callable[..., Tensor],
    requantize: Callable[..., Tensor],
    qkv: Tensor,
    context_multiplier: Tensor,
    context_shift: Tensor,
    exponentials: Tensor,
    *,
    heads: int,
    score_shift: int,
    distance_multiplier: int,
    levels: int,
) -> Tensor:
    batch, tokens, width = qkv.shape
    q, k, v = qkv.reshape(batch, tokens, 3, heads, width // 3 // heads).permute(2, 0, 3, 1, 4)
    score = saturate(matmul(q, k.transpose(-1, -2)) >> score_shift, 16)
    e = exponentials_of(score, exponentials, distance_multiplier=distance_multiplier, levels=levels)
    context = deferred_context(matmul, e, v, levels).transpose(1, 2).reshape(batch, tokens, width // 3)
    return requantize(context, context_multiplier, context_shift)


def attend_deferred_in_windows(
    matmul: Callable[..., Tensor],
    requantize: Callable[..., Tensor],
    qkv: Tensor,
    padding: Tensor,
    relative_position: Tensor,
    context_multiplier: Tensor,
    context_shift: Tensor,
    exponentials: Tensor,
    *,
    heads: int,
    height: int,
    width: int,
    window: int,
    shift: int,
    score_shift: int,
    distance_multiplier: int,
    levels: int,
) -> Tensor:
    grid = windows(height, width, window, shift)
    q, k, v = cut_windows(qkv, padding, grid, heads)
    score = saturate(matmul(q, k.transpose(-1, -2)) >> score_shift, 16)
    biased = saturate(score + pair_bias(relative_position.long(), window), 16)
    masked = torch.where(grid.visible.to(biased.device), biased, MASKED)
    e = exponentials_of(masked, exponentials, distance_multiplier=distance_multiplier, levels=levels)
    context = join_windows(deferred_context(matmul, e, v, levels), grid)
    return requantize(context, context_multiplier, context_shift)


IMPLEMENTATIONS: Implementations = {
    "IntDeferredAttention": attend_deferred,
    "IntDeferredWindowAttention": attend_deferred_in_windows,
}
