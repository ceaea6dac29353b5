"""The activation functions of feed-forward networks by timm's name: on tensors, and exactly.

ShiftGELU computes quick_gelu, which is near to the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import mpmath
import torch
import torch.nn.functional as F
from torch import Tensor

from ivit_onnx.options.choices import Act

__all__ = ["ACTIVATIONS", "EXACT"]


@dataclass(frozen=True)
class _Function:
    """`real` on floating-point tensors, `exact` on mpmath's numbers."""

    real: Callable[[Tensor], Tensor]
    exact: Callable[[Any], Any]


_FUNCTIONS: dict[Act, _Function] = {
    "gelu": _Function(F.gelu, lambda x: x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2),
    "gelu_tanh": _Function(
        lambda x: F.gelu(x, approximate="tanh"),
        lambda x: x * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + 0.044715 * x**3))) / 2,
    ),
    "quick_gelu": _Function(lambda x: x * torch.sigmoid(1.702 * x), lambda x: x / (1 + mpmath.exp(-1.702 * x))),
}

#: The functions on tensors, and on mpmath's numbers.
ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {name: entry.real for name, entry in _FUNCTIONS.items()}
EXACT: Mapping[str, Callable[[Any], Any]] = {name: entry.exact for name, entry in _FUNCTIONS.items()}
