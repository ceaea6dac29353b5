"""The windows of a token grid as index tensors, for integers and real numbers alike; attention inside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ivit_onnx.opset import MASKED, merged_tokens, token_places, window_offsets, window_regions, window_tokens
from ivit_onnx.opset.int_patch_merge import MERGE_SQUARES
from ivit_onnx.quant.arithmetic import matmul, saturate, scale_round
from ivit_onnx.quant.operators import Implementations
from ivit_onnx.quant.requantize import requantize

__all__ = ["IMPLEMENTATIONS", "Windows", "cut_windows", "join_windows", "merge_squares", "pair_bias", "windows"]


@dataclass(frozen=True)
class Windows:
    """Windows of T tokens on a grid of L: `tokens` [W, T] with L for padding, `places` [L] the reverse, `visible`
    [W, 1, T, T] where query and key see each other."""

    tokens: Tensor
    places: Tensor
    visible: Tensor


@lru_cache(maxsize=64)
def windows(height: int, width: int, window: int, shift: int) -> Windows:
    """The windows of `window` x `window` tokens on a grid that is shifted cyclically by `shift`."""
    # They are kept, and tensors made in inference mode could not be used for training.
    with torch.inference_mode(False):
        regions = torch.from_numpy(window_regions(height, width, window, shift))
        return Windows(
            torch.from_numpy(window_tokens(height, width, window, shift)),
            torch.from_numpy(token_places(height, width, window, shift)),
            regions[:, None, :, None] == regions[:, None, None, :],
        )


def cut_windows(qkv: Tensor, padding: Tensor, grid: Windows, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys, values [N, W, heads, T, D] of packed qkv [N, L, 3 * heads * D]."""
    batch, _, packed = qkv.shape
    padded = torch.cat([qkv, padding.to(qkv.dtype).expand(batch, 1, packed)], dim=1)
    placed = padded[:, grid.tokens.to(qkv.device)]
    q, k, v = placed.reshape(*placed.shape[:3], 3, heads, packed // 3 // heads).permute(3, 0, 1, 4, 2, 5)
    return q, k, v


def join_windows(context: Tensor, grid: Windows) -> Tensor:
    """The reverse for one of them: [N, W, heads, T, D] to [N, L, heads * D]."""
    batch, count, heads, area, head_dim = context.shape
    merged = context.permute(0, 1, 3, 2, 4).reshape(batch, count * area, heads * head_dim)
    return merged[:, grid.places.to(context.device)]


def pair_bias(table: Tensor, window: int) -> Tensor:
    """The bias of each pair of tokens of a window [heads, T, T], from that of each offset [offsets, heads]."""
    return table[torch.from_numpy(window_offsets(window)).to(table.device)].permute(2, 0, 1)


def merge_squares(x: Tensor, height: int, width: int) -> Tensor:
    """The channels of 2 x 2 tokens side by side, zeros outside the grid: [N, L, C] to [N, L / 4, 4 * C]."""
    batch, _, channels = x.shape
    tokens = torch.from_numpy(merged_tokens(height, width)).to(x.device)
    padded = torch.cat([x, x.new_zeros(batch, 1, channels)], dim=1)
    return padded[:, tokens].reshape(batch, len(tokens), 4 * channels)


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


IMPLEMENTATIONS: Implementations = {
    MERGE_SQUARES: merge_squares,
    "IntWindowAttention": attend_in_windows,
    "IntTableWindowAttention": attend_in_windows,
}
