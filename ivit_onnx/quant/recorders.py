"""What calibration keeps of one activation: histogram, channels, and some of its rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ivit_onnx.quant.observers import Histogram

__all__ = ["MAX_ROWS", "Channels", "EvenSample", "Statistics"]

Array = np.ndarray[Any, Any]

#: Rows that are kept of an activation.
MAX_ROWS = 128
#: Rows taken from one batch at most: later batches shall be seen too.
_ROWS_A_BATCH = 32
#: Rows of a batch that means are taken from, about.
_MEAN_ROWS = 256


class Channels:
    """Minimum, maximum, mean and mean square of each channel (last axis); arrays [C], float64.

    The extremes are those of all rows, the means those of some hundred rows of each batch.
    """

    def __init__(self) -> None:
        self.count = 0
        self.minimum = self.maximum = self.total = self.squares = np.zeros(0)

    def update(self, rows: torch.Tensor) -> None:
        """Add rows [R, C]."""
        low, high = (v.double().numpy() for v in torch.aminmax(rows, dim=0))
        # An odd step does not stay at one place of a grid with an even number of tokens.
        some = rows[:: max(1, len(rows) // _MEAN_ROWS) | 1]
        total, squares = some.sum(0).double().numpy(), some.square().sum(0).double().numpy()
        if self.count == 0:
            self.minimum, self.maximum, self.total, self.squares = low, high, total, squares
        else:
            self.minimum, self.maximum = np.minimum(self.minimum, low), np.maximum(self.maximum, high)
            self.total, self.squares = self.total + total, self.squares + squares
        self.count += len(some)

    @property
    def mean(self) -> Array:
        return np.asarray(self.total / max(self.count, 1))

    @property
    def mean_square(self) -> Array:
        return np.asarray(self.squares / max(self.count, 1))

    @property
    def largest(self) -> Array:
        """The largest absolute value of each channel."""
        return np.maximum(-self.minimum, self.maximum)

    def transformed(self, factor: Array | float, shift: Array | float = 0.0) -> Channels:
        """The channels of (x + shift) / factor."""
        result = Channels()
        result.count = self.count
        mean = self.mean
        result.minimum, result.maximum = (self.minimum + shift) / factor, (self.maximum + shift) / factor
        result.total = (mean + shift) / factor * self.count
        result.squares = (self.mean_square + 2 * shift * mean + np.square(shift)) / factor**2 * self.count
        return result

    def to_array(self) -> Array:
        """float64 [4, C]: minimum, maximum, mean, mean square."""
        return np.stack([self.minimum, self.maximum, self.mean, self.mean_square])

    @classmethod
    def from_array(cls, array: Array) -> Channels:
        """The reverse of `to_array`."""
        result = cls()
        result.count = 1
        result.minimum, result.maximum, result.total, result.squares = array
        return result


class EvenSample:
    """At most `limit` arrays of one shape as float16, evenly spaced over all that came, whose number nobody knew."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: list[Array] = []
        #: How many came.
        self.seen = 0
        self._stride = 1

    def update(self, items: torch.Tensor) -> None:
        """Add items [N, ..]."""
        largest = float(np.finfo(np.float16).max)
        for item in items:
            if self.seen % self._stride == 0:
                self._kept.append(item.clamp(-largest, largest).to(torch.float16).cpu().numpy())
                if len(self._kept) > self._limit:
                    self._kept = self._kept[::2]
                    self._stride *= 2
            self.seen += 1

    def to_array(self) -> Array:
        """float16 [<= limit, ..]."""
        return np.stack(self._kept) if self._kept else np.zeros((0, 0), np.float16)


@dataclass
class Statistics:
    """Statistics of one activation. `rows` and `channels` are kept of 8-bit activations only."""

    histogram: Histogram = field(default_factory=Histogram)
    channels: Channels | None = None
    rows: EvenSample | None = None

    def update(self, x: torch.Tensor) -> None:
        """Add the values of a floating-point tensor, channels last."""
        self.histogram.update(x)
        flat = x.detach().flatten(0, -2) if x.ndim > 1 else x.detach()[None]
        if self.channels is not None:
            self.channels.update(flat)
        if self.rows is not None:
            # An odd step does not stay at one place of a grid with an even number of tokens.
            self.rows.update(flat[:: max(1, len(flat) // _ROWS_A_BATCH) | 1])
