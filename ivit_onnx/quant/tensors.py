"""Values that travel between quantised modules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

__all__ = ["Lowered", "QuantTensor"]


class QuantTensor(NamedTuple):
    """A tensor with its scale (0-dim float32).

    In integer mode `value` holds int64 integers, real value = value * scale; in training and floating-point mode it
    holds real values.
    """

    value: Tensor
    scale: Tensor


@dataclass(frozen=True)
class Lowered:
    """One call of an operator: its name, its constant inputs by input name, its attributes, its output scale."""

    operator: str
    constants: dict[str, np.ndarray[Any, Any]]
    scale: np.float32
    attributes: dict[str, int] = field(default_factory=dict)
