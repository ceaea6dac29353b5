"""IntWindowAttention and IntTableWindowAttention."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

import numpy as np

from cases.attention import ALONE, EXPONENTIALS, also_by_table
from cases.case import Arguments, Case
from drawing import Draw, dyadic, integers


def int_window_attention(draw: Draw, operator: str) -> Arguments:
    heads, head_dim = draw.dim(1, 4), draw.dim(1, 20)
    height, width, window = draw.dim(1, 5), draw.dim(1, 5), draw.dim(1, 3)
    channels = heads * head_dim
    softmax, table = draw.softmax(operator)
    shift = int(draw.rng.integers(0, window))
    score = draw.scale("score_", (), 5000 * head_dim**0.5)
    biased = draw.scale("placed_", (), 128, negative=False)
    context = draw.scale("context_", draw.one_or_each(channels, 0.5), 2 ** softmax["frac_bits"] * 40)
    limit = 2**15 if draw.extreme else 100
    x = {
        "qkv": draw.integers((draw.n, height * width, 3 * channels), np.int8),
        "padding": draw.integers((3 * channels,), np.int8),
        "relative_position": draw.rng.integers(-limit, limit, ((2 * window - 1) ** 2, heads)).astype(np.int16),
        **score,
        **biased,
        **context,
        **table,
    }
    return x, {"heads": heads, "height": height, "width": width, "window": window, "shift": shift, **softmax}


CALLS = {"IntWindowAttention": int_window_attention, "IntTableWindowAttention": int_window_attention}


def window_case(
    rng: np.random.Generator, grid: tuple[int, int], window: int, shift: int, heads: int, head_dim: int, **others: int
) -> Case:
    """Windows of a Swin; `others` are frac_bits, x0 and n."""
    channels = heads * head_dim
    sm, se = dyadic(rng, (), 5000 * head_dim**0.5, False)
    pm, pe = dyadic(rng, (), 128, False, negative=False)
    cm, ce = dyadic(rng, (channels,), 2 ** others["frac_bits"] * 8, False)
    inputs = {
        "qkv": integers(rng, (1, grid[0] * grid[1], 3 * channels), np.int8, False),
        "padding": integers(rng, (3 * channels,), np.int8, False),
        "relative_position": rng.integers(-100, 100, ((2 * window - 1) ** 2, heads)).astype(np.int16),
        "score_multiplier": sm,
        "score_shift": se,
        "placed_multiplier": pm,
        "placed_shift": pe,
        "context_multiplier": cm,
        "context_shift": ce,
    }
    shape = {"heads": heads, "height": grid[0], "width": grid[1], "window": window, "shift": shift}
    return Case("IntWindowAttention", inputs, {**shape, **others})


def _by_shifts(rng: np.random.Generator) -> Iterator[Case]:
    exponentials, heads, head_dims = cycle(EXPONENTIALS), cycle(range(1, 6)), cycle([32, 5, 64, 33])
    for x0, n, frac_bits in ALONE:
        yield window_case(rng, (3, 2), 1, 0, 2, 20, frac_bits=frac_bits, x0=x0, n=n)
    # Windows larger than the grid, and such that have more than one block of queries.
    for grid, window in (((3, 3), 7), ((9, 11), 16), ((24, 20), 12)):
        yield window_case(rng, grid, window, window // 2, 2, 40, frac_bits=15, x0=-20, n=15)
    # Windows of 7 and 12 as models have them, on grids that they divide and do not, whole and cut by a shift.
    for grid, window in (((14, 14), 7), ((7, 7), 7), ((21, 10), 7), ((24, 12), 12), ((13, 30), 12), ((5, 9), 4)):
        for shift in (0, window // 2) if min(grid) > window else (0,):
            for frac_bits in (7, 8, 15):
                x0, n = next(exponentials)
                head_dim = 32 if frac_bits == 8 else next(head_dims)
                yield window_case(rng, grid, window, shift, next(heads), head_dim, frac_bits=frac_bits, x0=x0, n=n)


def shaped(rng: np.random.Generator) -> Iterator[Case]:
    yield from also_by_table(rng, _by_shifts(rng), "IntTableWindowAttention")
