"""Softmax and GELU in PyTorch, by shifts and by table, on int64."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ivit_onnx.opset import MASKED
from ivit_onnx.opset.arithmetic import INT32_MAX
from ivit_onnx.quant.arithmetic import shift_exp
from ivit_onnx.quant.operators import Implementations

__all__ = [
    "IMPLEMENTATIONS",
    "shift_gelu",
    "shift_gelu_table",
    "shiftmax",
    "shiftmax_table",
    "table_gelu",
    "table_softmax",
]

#: Values from which on a ShiftGELU looks up a table of 2^16.
_MANY = 2**17


@lru_cache(maxsize=64)
def shiftmax_table(x0: int, n: int) -> Tensor:
    """shift_exp of 0, -1, .. -255, which are all differences of int8 values, and of what is masked; int64 [257]."""
    with torch.inference_mode(False):
        return shift_exp(-torch.cat([torch.arange(256), torch.tensor([-MASKED])]), x0, n)


@lru_cache(maxsize=64)
def shift_gelu_table(x0: int, n: int) -> Tensor:
    """shift_gelu of every int8 value in rows with every maximum; int64 [256 * 256].

    Its place is 256 * (maximum + 128) + value + 128. Where the value is above the maximum, it has no meaning.
    """
    with torch.inference_mode(False):
        x = torch.arange(-128, 128)
        return _shift_gelu(x, x[:, None], x0, n).flatten()


def shiftmax(x: Tensor, *, x0: int, n: int, frac_bits: int) -> Tensor:
    """int8 scores; those that must not count are MASKED."""
    x = x.long()
    e = shiftmax_table(x0, n).to(x.device)[(x.amax(-1, keepdim=True) - x).clamp_(max=256)]
    factor = torch.div(2**31, e.sum(-1, keepdim=True).clamp(max=INT32_MAX), rounding_mode="floor")
    return ((e * factor) >> (31 - frac_bits)).clamp(max=2**frac_bits - 1)


def table_softmax(x: Tensor, exponentials: Tensor, *, frac_bits: int) -> Tensor:
    """Scores that must not count are MASKED."""
    x = x.long()
    entries = F.pad(exponentials.long(), (0, 1))
    e = entries[(x.amax(-1, keepdim=True) - x).clamp(max=len(exponentials))]
    half = 2 ** (30 - frac_bits)
    factor = torch.div(INT32_MAX - half, e.sum(-1, keepdim=True).clamp(max=INT32_MAX), rounding_mode="floor")
    y: Tensor = (e * factor + half) >> (31 - frac_bits)
    return y


def table_gelu(x: Tensor, table: Tensor) -> Tensor:
    y: Tensor = table.long()[x.long() + 128]
    return y


def shift_gelu(x: Tensor, *, x0: int, n: int) -> Tensor:
    """int8 values. A table of rows' maxima and values is worth its making for many of them."""
    x = x.long()
    row_max = x.amax(-1, keepdim=True)
    if x.numel() < _MANY:
        return _shift_gelu(x, row_max, x0, n)
    return shift_gelu_table(x0, n).to(x.device)[(256 * row_max + (256 * 128 + 128)) + x]


def _shift_gelu(x: Tensor, row_max: Tensor, x0: int, n: int) -> Tensor:
    e1, e2 = shift_exp(x - row_max, x0, n), shift_exp(-row_max, x0, n)
    factor = torch.div(2**31, (e1 + e2).clamp(max=INT32_MAX), rounding_mode="floor")
    return x * ((e1 * factor) >> 24)


IMPLEMENTATIONS: Implementations = {
    "Shiftmax": shiftmax,
    "ShiftGELU": shift_gelu,
    "TableSoftmax": table_softmax,
    "TableGELU": table_gelu,
}
