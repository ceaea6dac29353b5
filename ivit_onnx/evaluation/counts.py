"""What is counted while images pass."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

__all__ = ["Counts", "ranks"]

Array = np.ndarray[Any, Any]


@dataclass
class Counts:
    """Numbers of images: seen, right in the first and in the first five classes, for both models.

    `agree`: both models choose the same class. `lost`: only the float model is right; `gained`: only the integer model
    is. `integer_seconds` and `float_seconds`: time in the models, without reading images. What is of the float model
    stays 0 without one.
    """

    images: int = 0
    integer_top1: int = 0
    integer_top5: int = 0
    float_top1: int = 0
    float_top5: int = 0
    agree: int = 0
    lost: int = 0
    gained: int = 0
    integer_seconds: float = 0.0
    float_seconds: float = 0.0

    def add(self, labels: Array, integer: Array, floating: Array | None) -> None:
        """Count a batch: labels int64 [N], logits [N, classes] of the integer and of the float model."""
        rank = ranks(integer, labels)
        self.images += len(labels)
        self.integer_top1 += int((rank == 0).sum())
        self.integer_top5 += int((rank < 5).sum())
        if floating is None:
            return
        other = ranks(floating, labels)
        self.float_top1 += int((other == 0).sum())
        self.float_top5 += int((other < 5).sum())
        self.agree += int((integer.argmax(1) == floating.argmax(1)).sum())
        self.lost += int(((other == 0) & (rank > 0)).sum())
        self.gained += int(((rank == 0) & (other > 0)).sum())

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Counts:
        """The reverse of `to_json`; KeyError, TypeError or ValueError when `data` is something else."""
        for field in fields(cls):
            number = data[field.name]
            if not isinstance(number, int | float) or isinstance(number, bool) or not 0 <= number < float("inf"):
                raise ValueError(f"{field.name} is {number!r}")
        return cls(**data)


def ranks(logits: Array, labels: Array) -> Array:
    """How many classes come before the label, int64 [N]: those with a larger logit, of equal ones the lower number."""
    rows = np.arange(len(labels))
    own = logits[rows, labels][:, None]
    before = (logits > own) | ((logits == own) & (np.arange(logits.shape[1]) < labels[:, None]))
    return np.asarray(before.sum(1), np.int64)
