"""Changes of scale in PyTorch; modules have them inside of others."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from ivit_onnx.quant.arithmetic import saturate, scale_round
from ivit_onnx.quant.operators import Implementations

__all__ = ["IMPLEMENTATIONS", "add_requantize", "requantize"]


def requantize(x: Tensor, multiplier: Tensor, shift: Tensor, *, bits: int) -> Tensor:
    return saturate(scale_round(x, multiplier, shift), bits)


def add_requantize(
    a: Tensor, a_multiplier: Tensor, a_shift: Tensor, b: Tensor, b_multiplier: Tensor, b_shift: Tensor
) -> Tensor:
    return saturate(scale_round(a, a_multiplier, a_shift) + scale_round(b, b_multiplier, b_shift), 16)


IMPLEMENTATIONS: Implementations = {
    "Requantize": partial(requantize, bits=8),
    "Requantize16": partial(requantize, bits=16),
    "Requantize32": partial(requantize, bits=32),
    "AddRequantize": add_requantize,
}
