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
from ivit_onnx.opset._deferred import (
    CONTEXT_BITS,
    DEFERRED_CONTEXT,
    DITHER,
    HIDDEN,
    LEVELS_OF_A_ROW,
    NARROW_SCORES,
)
from ivit_onnx.opset.arithmetic import Array
from ivit_onnx.quant.arithmetic import saturate
from ivit_onnx.quant.operators import Implementations
from ivit_onnx.quant.tables import LARGEST_EXPONENTIAL, deferred_exponentials
from ivit_onnx.quant.windows import cut_windows, join_windows, pair_bias, windows

__all__ = ["CONTEXT_RATIO", "DEFERRED", "IMPLEMENTATIONS", "DeferredSoftmax", "exponentials_of"]

DEFERRED = frozenset({Part.DEFERRED})
#: The scale of a context before it is requantised, in that of the values.
CONTEXT_RATIO = 2.0**-CONTEXT_BITS
#: From this distance on, an exponential is 0 in the table.
_SPAN = math.log(2 * LARGEST_EXPONENTIAL) + 1e-3
_ENTRIES = 256


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
        """From scores to steps of the table, in 2^-15. Rounded down, so that 255 steps reach where exponentials are 0
        if any score is that far away."""
        ratio = float(self.scale) * (_ENTRIES - 1) / _SPAN
        return max(int(min(ratio * 2**15, 2**15 - 1)), 1)

    @cached_property
    def levels(self) -> int:
        """A power of two."""
        return 1 << min(self.bits, (LEVELS_OF_A_ROW // self.keys).bit_length() - 1)

    def constants(self) -> dict[str, Array]:
        """The inputs of the operator that belong to the softmax."""
        return {"exponentials": deferred_exponentials(self._step)}

    @property
    def _step(self) -> float:
        """Of distances in the table, in real units."""
        return float(self.scale) * 2.0**15 / self.multiplier

    def attributes(self) -> dict[str, int]:
        """The attributes of the operator that belong to the softmax."""
        return {"score_shift": self.score_shift, "distance_multiplier": self.multiplier, "levels": self.levels}

    def biases(self, table: Array) -> Array:
        """Real biases as integers of the scores' scale; int16."""
        return np.clip(np.rint(table.astype(np.float64) / self.scale), -(2**15), 2**15 - 1).astype(np.int16)

    def simulate(self, products: Tensor) -> Tensor:
        """Real probabilities of integer products, with biases times 2^score_shift added; MASKED where they must not
        count.

        In training the exponentials of the table come from float64, which rounds as the exact ones but for a rare tie.
        """
        scores = (products * 2.0**-self.score_shift).floor_().clamp_(-(2**15), 2**15 - 1)
        scores.masked_fill_(products <= MASKED, MASKED)
        distances = torch.arange(_ENTRIES, dtype=torch.float64, device=products.device)
        table = torch.round(torch.exp(-distances * self._step) * LARGEST_EXPONENTIAL)
        e = exponentials_of(scores, table, distance_multiplier=self.multiplier, levels=self.levels).to(products.dtype)
        return e.div_(e.sum(-1, keepdim=True).clamp_(min=self.levels // 32))


def exponentials_of(score: Tensor, exponentials: Tensor, *, distance_multiplier: int, levels: int) -> Tensor:
    """Exponentials 0 .. levels - 1 of 16-bit scores; those that must not count are MASKED or less."""
    score = score.long()
    difference = score.amax(-1, keepdim=True) - score
    counts = difference < HIDDEN
    # What follows fits int32, which is faster.
    entry = difference.clamp_(max=32767).int().mul_(distance_multiplier).add_(2**14).bitwise_right_shift_(15)
    e = exponentials.int().index_select(0, entry.clamp_(max=255).flatten()).view(entry.shape)
    if levels < 2**15:
        dither = torch.arange(score.shape[-1], device=score.device) * DITHER % 2**15 // levels
        e.add_(dither.int()).floor_divide_(2**15 // levels).clamp_(max=levels - 1)
    return e.mul_(counts).long()


def narrow_scores(product: Tensor, score_shift: int) -> Tensor:
    return saturate(product >> score_shift, 16)


def deferred_context(
    matmul: Callable[..., Tensor],
    score: Tensor,
    value: Tensor,
    exponentials: Tensor,
    *,
    distance_multiplier: int,
    levels: int,
) -> Tensor:
    """Contexts with 15 fractional bits."""
    e = exponentials_of(score, exponentials, distance_multiplier=distance_multiplier, levels=levels)
    total = e.sum(-1, keepdim=True).clamp(min=levels // 32)
    factor = torch.div(levels * 2**26 - 1, total, rounding_mode="floor")
    product = matmul(e, value) * factor + levels * 2**10
    return torch.div(product, levels * 2**11, rounding_mode="floor").clamp(-(2**22), 2**22)


def attend_deferred_in_windows(
    matmul: Callable[..., Tensor],
    narrow: Callable[..., Tensor],
    defer: Callable[..., Tensor],
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
    **softmax: int,
) -> Tensor:
    grid = windows(height, width, window, shift)
    q, k, v = cut_windows(qkv, padding, grid, heads)
    score = narrow(matmul(q, k.transpose(-1, -2)), score_shift)
    biased = saturate(score + pair_bias(relative_position.long(), window), 16)
    masked = torch.where(grid.visible.to(biased.device), biased, MASKED)
    context = join_windows(defer(masked, v, exponentials, **softmax), grid)
    return requantize(context, context_multiplier, context_shift)


IMPLEMENTATIONS: Implementations = {
    NARROW_SCORES: narrow_scores,
    DEFERRED_CONTEXT: deferred_context,
    "IntDeferredWindowAttention": attend_deferred_in_windows,
}
