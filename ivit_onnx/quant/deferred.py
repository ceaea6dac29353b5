"""The softmax of attentions that divide by the sum of exponentials at their end: for operators, and on tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ivit_onnx.opset import MASKED, Part
from ivit_onnx.opset.arithmetic import Array
from ivit_onnx.quant import operators
from ivit_onnx.quant.tables import LARGEST_EXPONENTIAL, deferred_exponentials

__all__ = ["CONTEXT_RATIO", "DEFERRED", "DeferredSoftmax"]

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
        e = operators.deferred_exponentials(
            scores, table, distance_multiplier=self.multiplier, levels=self.levels
        ).double()
        return e / e.sum(-1, keepdim=True).clamp(min=self.levels // 32)
