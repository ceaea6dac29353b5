"""What is counted while images pass."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

__all__ = ["Counts", "ranks"]

Array = np.ndarray[Any, Any]


@dataclass
class Counts:
    """Numbers of images: seen, right in the first and in the first five classes, for both models.

    `agree`: both models choose the same class. `lost`: only the float model is right; `gained`: only the integer model
    is. `integer_seconds` and `float_seconds`: time in the models, without reading images. `labels`: the classes of the
    images; `chosen`: those that the integer model chose. What is of the float model stays 0 without one.
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
    labels: set[int] = field(default_factory=set)
    chosen: set[int] = field(default_factory=set)

    def add(self, labels: Array, integer: Array, floating: Array | None) -> None:
        """Count a batch: labels int64 [N], logits [N, classes] of the integer and of the float model."""
        rank = ranks(integer, labels)
        self.images += len(labels)
        self.integer_top1 += int((rank == 0).sum())
        self.integer_top5 += int((rank < 5).sum())
        self.labels.update(labels.tolist())
        self.chosen.update(integer.argmax(1).tolist())
        if floating is None:
            return
        other = ranks(floating, labels)
        self.float_top1 += int((other == 0).sum())
        self.float_top5 += int((other < 5).sum())
        self.agree += int((integer.argmax(1) == floating.argmax(1)).sum())
        self.lost += int(((other == 0) & (rank > 0)).sum())
        self.gained += int(((rank == 0) & (other > 0)).sum())

    def to_json(self) -> dict[str, Any]:
        return {name: sorted(value) if isinstance(value, set) else value for name, value in asdict(self).items()}

    def notes(self) -> list[str]:
        """Why the accuracy says little, where it does."""
        found = []
        if self.images > 1 and len(self.labels) == 1:
            found.append(f"all {self.images} images are of one class: the accuracy says nothing of others")
        if self.images > 1 and len(self.chosen) == 1:
            found.append(f"the model chose one class for all {self.images} images")
        return found

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Counts:
        """The reverse of `to_json`; KeyError, TypeError or ValueError when `data` is something else."""
        for entry in fields(cls):
            value = data[entry.name]
            if isinstance(value, list) != (entry.name in _SETS) or not all(map(_is_count, _listed(value))):
                raise ValueError(f"{entry.name} is {value!r}")
        return cls(**{**data, **{name: set(data[name]) for name in _SETS}})


#: Numbers of classes, which a file has as a list.
_SETS = ("labels", "chosen")


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _is_count(number: object) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and 0 <= number < float("inf")


def ranks(logits: Array, labels: Array) -> Array:
    """How many classes come before the label, int64 [N]: those with a larger logit, of equal ones the lower number."""
    rows = np.arange(len(labels))
    own = logits[rows, labels][:, None]
    before = (logits > own) | ((logits == own) & (np.arange(logits.shape[1]) < labels[:, None]))
    return np.asarray(before.sum(1), np.int64)
