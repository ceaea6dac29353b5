"""Values that travel between quantised modules, and the straight-through estimators of training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Lowered", "QuantTensor", "fake_quantize", "straight_through"]


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


def straight_through(exact: Tensor, surrogate: Tensor) -> Tensor:
    """`exact` in the forward pass, the gradient of `surrogate` in the backward pass."""
    return surrogate + (exact - surrogate).detach()


def fake_quantize(x: Tensor, scale: Tensor, levels: int) -> Tensor:
    """Round x to multiples of `scale` in [-(levels + 1), levels]; gradient 1 inside the range, 0 outside."""
    clipped = torch.clamp(x, -(levels + 1) * scale, levels * scale)
    return straight_through(torch.round(clipped / scale) * scale, clipped)
