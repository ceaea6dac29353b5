"""Running statistics of one activation tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ivit_onnx.range_methods import METHODS, Method

__all__ = ["Histogram"]

BINS = 2048
#: More values than this in one update are subsampled evenly; the largest is always taken from all of them.
MAX_SAMPLES = 2**16
#: What is below this counts as zero: bins of such a width could not be told apart in float32.
_SMALLEST = 1e-30


class Histogram:
    """Histogram of absolute values over [0, limit), in one pass: the limit doubles when a larger value comes.

    Doubling merges neighbouring bins, so counts stay exact whatever the order of the data.
    Attributes: `counts` int64 [2048], `limit` (real units), `low` and `high` the least and the largest value seen and
    0, infinite once an infinite value or a NaN was among them.
    """

    def __init__(
        self, counts: np.ndarray[Any, Any] | None = None, limit: float = 0.0, low: float = 0.0, high: float = 0.0
    ) -> None:
        self.counts = np.zeros(BINS, np.int64) if counts is None else counts
        self.limit = limit
        self.low, self.high = low, high

    @property
    def maximum(self) -> float:
        """The largest absolute value."""
        return max(-self.low, self.high)

    def update(self, x: torch.Tensor) -> None:
        """Add the values of a floating-point tensor of any shape."""
        values = x.detach().flatten()
        if values.numel() == 0:
            return
        low, high = (float(v) for v in torch.aminmax(values))
        maximum = max(-low, high)
        if not np.isfinite(maximum):
            self.low, self.high = -np.inf, np.inf
            return
        self.low, self.high = min(self.low, low), max(self.high, high)
        if maximum > _SMALLEST:
            self._extend(maximum)
        if self.limit == 0:
            self.counts[0] += values.numel()
            return
        stride = -(-values.numel() // MAX_SAMPLES)
        # An odd stride does not walk along one column of a tensor with a power of two of channels.
        values = values[:: stride | 1].abs()
        bins = (values * (BINS / self.limit)).to(torch.int64).clamp_(max=BINS - 1)
        self.counts += torch.bincount(bins, minlength=BINS).cpu().numpy()

    def _extend(self, maximum: float) -> None:
        if self.limit == 0:
            self.limit = maximum * (1 + 2**-20)
        while maximum >= self.limit:
            merged = self.counts.reshape(-1, 2).sum(1)
            self.counts = np.concatenate([merged, np.zeros(BINS // 2, np.int64)])
            self.limit *= 2

    def range(self, method: Method, levels: int) -> float:
        """The largest absolute value to represent with `levels` positive steps; 0.0 if nothing but zeros was seen."""
        if self.limit == 0:
            return self.maximum
        return METHODS[method](self.counts, self.limit, self.maximum, levels)
