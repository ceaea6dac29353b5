"""The arithmetic that operators in PyTorch share: the same integers as in numpy, on any device, in int64.

Matrix products go through float64, which holds every sum of 8-bit products exactly and is far faster than int64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ivit_onnx.opset.arithmetic import INT32_MAX, MATMUL
from ivit_onnx.quant.operators import Implementations

__all__ = ["IMPLEMENTATIONS", "integer_root", "matmul", "rounded_divide", "saturate", "scale_round", "shift_exp"]


def scale_round(x: Tensor, multiplier: Tensor, shift: Tensor) -> Tensor:
    """(x * multiplier + 2**(shift - 1)) >> shift; int64."""
    e = shift.long()
    return (x.long() * multiplier.long() + (torch.ones_like(e) << (e - 1))) >> e


def shift_exp(d: Tensor, x0: int, n: int) -> Tensor:
    """2**n * |x0| * exp(d * scale) by shifts, x0 = floor(-1 / scale); int64 up to 2**31 - 1."""
    p = (d + (d >> 1) - (d >> 4)).clamp(min=n * x0)
    q = torch.div(p, x0, rounding_mode="floor")
    r = p - q * x0
    return (((r - 2 * x0) << (n - q).clamp(max=32)) >> 1).clamp(max=INT32_MAX)


def saturate(x: Tensor, bits: int) -> Tensor:
    """Clamp to signed integers of `bits` bits."""
    return x.clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Exact product of small integer matrices; int64."""
    return torch.matmul(a.double(), b.double()).long()


def rounded_divide(x: Tensor, divisor: int) -> Tensor:
    """x / divisor rounded to the nearest integer, halves to the even one; divisor > 0."""
    floor = torch.div(x, divisor, rounding_mode="floor")
    return floor + (2 * (x - floor * divisor) + (floor & 1) > divisor).long()


def integer_root(v: Tensor) -> Tensor:
    """The square root of int64 v by ten steps of Newton's method from 2^16."""
    k = torch.full_like(v, 2**16)
    for _ in range(10):
        k = torch.div(k + torch.div(v, k, rounding_mode="floor"), 2, rounding_mode="floor")
    return k


IMPLEMENTATIONS: Implementations = {MATMUL: matmul}
