"""Sums over tensors that come in batches: error and distribution."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Distribution", "Error", "Span", "decibels"]

#: Bins of a histogram, at most.
BINS = 100


def decibels(signal: float, noise: float) -> float | None:
    """10 log10(signal / noise); None where there is no noise, or nothing but noise."""
    return 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None


class Error:
    """Float values against quantised ones.

    `sqnr`: signal to quantisation noise, sum f^2 over sum (f - q)^2, in decibels; None for equal values.
    `cosine`: sum f q / sqrt(sum f^2 sum q^2) over all values. `relative`: noise over signal.
    """

    def __init__(self) -> None:
        self.signal = self.noise = self._product = self._other = 0.0

    def add(self, exact: Tensor, found: Tensor) -> None:
        f, q = exact.double(), found.double()
        self.signal += float(f.square().sum())
        self.noise += float((f - q).square().sum())
        self._product += float((f * q).sum())
        self._other += float(q.square().sum())

    @property
    def sqnr(self) -> float | None:
        return decibels(self.signal, self.noise)

    @property
    def cosine(self) -> float | None:
        power = self.signal * self._other
        return min(1.0, self._product / math.sqrt(power)) if power > 0 else None

    @property
    def relative(self) -> float:
        return self.noise / self.signal if self.signal > 0 else 0.0


class Span:
    """Least and largest float value, and the share of them that a quantiser from `low` to `high` cuts off."""

    def __init__(self, scale: float, low: float, high: float) -> None:
        self.scale, self.low, self.high = scale, low, high
        self.minimum, self.maximum = math.inf, -math.inf
        self._count = self._outside = 0

    def add(self, x: Tensor) -> None:
        self.minimum, self.maximum = min(self.minimum, float(x.min())), max(self.maximum, float(x.max()))
        self._count += x.numel()
        self._outside += int(((x > self.high + self.scale / 2) | (x < self.low - self.scale / 2)).sum())

    @property
    def clipped(self) -> float:
        return self._outside / self._count


class Distribution:
    """Histograms of one point before and after quantisation, and the share of quantised values at the ends.

    Bins are whole numbers of steps wide, with edges between steps, and cover the float values; what lies beyond is
    counted in the first and the last bin. Attributes: `edges` [n + 1] in real units, `before`, `after` int64 [n].
    """

    def __init__(self, span: Span) -> None:
        self.scale, self.low, self.high = span.scale, span.low, span.high
        first, last = round(span.minimum / self.scale), round(span.maximum / self.scale)
        self._width = -(-(last - first + 1) // BINS)
        self._first = first
        bins = -(-(last - first + 1) // self._width)
        self.edges = (first - 0.5 + self._width * np.arange(bins + 1)) * self.scale
        self.before, self.after = np.zeros(bins, np.int64), np.zeros(bins, np.int64)
        self._count = self._at_end = 0

    def add_before(self, x: Tensor) -> None:
        self.before += self._binned(x)

    def add_after(self, x: Tensor) -> None:
        self._count += x.numel()
        self._at_end += int(((x > self.high - self.scale / 2) | (x < self.low + self.scale / 2)).sum())
        self.after += self._binned(x)

    @property
    def saturated(self) -> float:
        return self._at_end / self._count

    def _binned(self, x: Tensor) -> np.ndarray[Any, Any]:
        places = torch.div(torch.round(x / self.scale) - self._first, self._width, rounding_mode="floor")
        bins = places.clamp(0, len(self.before) - 1).long().flatten()
        return np.asarray(torch.bincount(bins, minlength=len(self.before)).numpy(), np.int64)
