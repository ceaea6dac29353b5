"""The operator set in PyTorch: the same integers as the numpy reference, on any device, in int64.

Matrix products go through float64, which holds every sum of 8-bit products exactly and is far faster than int64.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ivit_onnx.opset import MASKED, Computation, Operator
from ivit_onnx.opset import OPERATORS as SPECS
from ivit_onnx.opset._deferred import DITHER, HIDDEN
from ivit_onnx.opset.arithmetic import MATMUL
from ivit_onnx.opset.int_patch_embed import patches
from ivit_onnx.opset.int_patch_merge import MERGE_SQUARES
from ivit_onnx.quant.windows import cut_windows, join_windows, merge_squares, pair_bias, windows

__all__ = [
    "INT32_MAX",
    "OPERATORS",
    "integer_root",
    "layer_norm",
    "quantize_image",
    "scale_round",
    "shift_exp",
    "shift_gelu",
    "shift_gelu_table",
    "shiftmax",
    "shiftmax_table",
    "table_softmax",
]

INT32_MAX = 2**31 - 1
#: Values from which on a ShiftGELU looks up a table of 2^16.
_MANY = 2**17


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


def requantize(x: Tensor, multiplier: Tensor, shift: Tensor, *, bits: int) -> Tensor:
    return saturate(scale_round(x, multiplier, shift), bits)


def add_requantize(
    a: Tensor, a_multiplier: Tensor, a_shift: Tensor, b: Tensor, b_multiplier: Tensor, b_shift: Tensor
) -> Tensor:
    return saturate(scale_round(a, a_multiplier, a_shift) + scale_round(b, b_multiplier, b_shift), 16)


def quantize_image(image: Tensor, multiplier: Tensor, offset: Tensor, shift: Tensor) -> Tensor:
    m, b, e = (v.long()[:, None, None] for v in (multiplier, offset, shift))
    return saturate((image.long() * m + b) >> e, 8)


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


def layer_norm(x: Tensor, multiplier: Tensor, offset: Tensor, shift: Tensor, *, bits: int = 8) -> Tensor:
    x = x.long()
    y = x - rounded_divide(x.sum(-1, keepdim=True), x.shape[-1])
    k = integer_root((y * y).sum(-1, keepdim=True))
    z = (y * torch.div(2**31, k, rounding_mode="floor")) >> 1
    return saturate((z * multiplier.long() + offset.long()) >> shift.long(), bits)


def attend_in_windows(
    softmax: Callable[..., Tensor],
    qkv: Tensor,
    padding: Tensor,
    relative_position: Tensor,
    score_multiplier: Tensor,
    score_shift: Tensor,
    placed_multiplier: Tensor,
    placed_shift: Tensor,
    context_multiplier: Tensor,
    context_shift: Tensor,
    *table: Tensor,
    heads: int,
    height: int,
    width: int,
    window: int,
    shift: int,
    **exponential: int,
) -> Tensor:
    """The attention with any softmax from scores, MASKED where they must not count, to probabilities."""
    grid = windows(height, width, window, shift)
    q, k, v = cut_windows(qkv, padding, grid, heads)
    score = requantize(matmul(q, k.transpose(-1, -2)), score_multiplier, score_shift, bits=8)
    bias = pair_bias(relative_position.long(), window)
    biased = saturate(scale_round(score, placed_multiplier, placed_shift) + bias, 8)
    masked = torch.where(grid.visible.to(biased.device), biased, MASKED)
    context = join_windows(matmul(softmax(masked, *table, **exponential), v), grid)
    return requantize(context, context_multiplier, context_shift, bits=8)


def deferred_exponentials(score: Tensor, exponentials: Tensor, *, distance_multiplier: int, levels: int) -> Tensor:
    """Exponentials 0 .. levels - 1 of 16-bit scores; those that must not count are MASKED or less."""
    score = score.long()
    difference = score.amax(-1, keepdim=True) - score
    entry = ((difference.clamp(max=32767) * distance_multiplier + 2**14) >> 15).clamp(max=255)
    dither = torch.arange(score.shape[-1], device=score.device) * DITHER % 2**15 // levels
    narrow = torch.div(exponentials.long()[entry] + dither, 2**15 // levels, rounding_mode="floor").clamp(
        max=levels - 1
    )
    return narrow * (difference < HIDDEN)


def deferred_context(matmul: Callable[..., Tensor], exponential: Tensor, value: Tensor, levels: int) -> Tensor:
    """Contexts with 15 fractional bits."""
    total = exponential.sum(-1, keepdim=True).clamp(min=levels // 32)
    factor = torch.div(levels * 2**26 - 1, total, rounding_mode="floor")
    product = matmul(exponential, value) * factor + levels * 2**10
    return torch.div(product, levels * 2**11, rounding_mode="floor").clamp(-(2**22), 2**22)


def attend_deferred(
    matmul: Callable[..., Tensor],
    requantize: Callable[..., Tensor],
    qkv: Tensor,
    context_multiplier: Tensor,
    context_shift: Tensor,
    exponentials: Tensor,
    *,
    heads: int,
    score_shift: int,
    distance_multiplier: int,
    levels: int,
) -> Tensor:
    batch, tokens, width = qkv.shape
    q, k, v = qkv.reshape(batch, tokens, 3, heads, width // 3 // heads).permute(2, 0, 3, 1, 4)
    score = saturate(matmul(q, k.transpose(-1, -2)) >> score_shift, 16)
    e = deferred_exponentials(score, exponentials, distance_multiplier=distance_multiplier, levels=levels)
    context = deferred_context(matmul, e, v, levels).transpose(1, 2).reshape(batch, tokens, width // 3)
    return requantize(context, context_multiplier, context_shift)


def attend_deferred_in_windows(
    matmul: Callable[..., Tensor],
    requantize: Callable[..., Tensor],
    qkv: Tensor,
    padding: Tensor,
    relative_position: Tensor,
    context_multiplier: Tensor,
    context_shift: Tensor,
    exponentials: Tensor,
    *,
    heads: int,
    height: int,
    width: int,
    window: int,
    shift: int,
    score_shift: int,
    distance_multiplier: int,
    levels: int,
) -> Tensor:
    grid = windows(height, width, window, shift)
    q, k, v = cut_windows(qkv, padding, grid, heads)
    score = saturate(matmul(q, k.transpose(-1, -2)) >> score_shift, 16)
    biased = saturate(score + pair_bias(relative_position.long(), window), 16)
    masked = torch.where(grid.visible.to(biased.device), biased, MASKED)
    e = deferred_exponentials(masked, exponentials, distance_multiplier=distance_multiplier, levels=levels)
    context = join_windows(deferred_context(matmul, e, v, levels), grid)
    return requantize(context, context_multiplier, context_shift)


def patch_embed(
    linear: Callable[..., Tensor],
    image: Tensor,
    weight: Tensor,
    bias: Tensor,
    multiplier: Tensor,
    shift: Tensor,
    token_multiplier: Tensor,
    token_shift: Tensor,
    position: Tensor,
    prefix_tokens: Tensor,
    *,
    patch_size: int,
) -> Tensor:
    projected = linear(patches(image, patch_size), weight, bias, multiplier, shift)
    tokens = saturate(scale_round(projected, token_multiplier, token_shift) + position.long(), 16)
    return torch.cat([prefix_tokens.long().expand(len(image), *prefix_tokens.shape), tokens], dim=1)


def token_mean(x: Tensor, multiplier: Tensor, shift: Tensor, *, bits: int) -> Tensor:
    return requantize(rounded_divide(x.long().sum(1), x.shape[1]), multiplier, shift, bits=bits)


#: What PyTorch computes in its own way, operators by name; it takes the same implementations as in numpy. All others
#: only call these.
_COMPUTE: dict[str | Computation, Callable[..., Any]] = {
    MATMUL: matmul,
    MERGE_SQUARES: merge_squares,
    "Requantize": partial(requantize, bits=8),
    "Requantize16": partial(requantize, bits=16),
    "Requantize32": partial(requantize, bits=32),
    "AddRequantize": add_requantize,
    "QuantizeImage": quantize_image,
    "Shiftmax": shiftmax,
    "ShiftGELU": shift_gelu,
    "TableSoftmax": table_softmax,
    "TableGELU": table_gelu,
    "IntLayerNorm": partial(layer_norm, bits=8),
    "IntLayerNorm16": partial(layer_norm, bits=16),
    "IntWindowAttention": attend_in_windows,
    "IntTableWindowAttention": attend_in_windows,
    "IntDeferredAttention": attend_deferred,
    "IntDeferredWindowAttention": attend_deferred_in_windows,
    "IntPatchEmbed": patch_embed,
    "IntTokenMean": partial(token_mean, bits=8),
    "IntTokenMean16": partial(token_mean, bits=16),
}


def _implementation(of: Computation) -> Callable[..., Any]:
    own = _COMPUTE.get(of.name if isinstance(of, Operator) else of)
    if own is None and not of.uses:
        name = of.name if isinstance(of, Operator) else getattr(of.compute, "__name__", "a step")
        raise NotImplementedError(f"{name}: expected an implementation in PyTorch, found none; add it to _COMPUTE")
    return partial(own or of.compute, *map(_implementation, of.uses))


#: PyTorch implementation by operator name; inputs in the operator's order, attributes by keyword; returns int64, a
#: tuple where the operator has several outputs.
OPERATORS: dict[str, Callable[..., Any]] = {name: _implementation(operator) for name, operator in SPECS.items()}
