"""IntDeferredAttention and IntDeferredWindowAttention."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

import numpy as np

from cases.case import Arguments, Case
from drawing import Array, Draw, dyadic, integers

_LEVELS = (128, 256, 1024, 16384, 32768)


def softmax(rng: np.random.Generator, keys: int, extreme: bool) -> tuple[dict[str, int], dict[str, Array]]:
    """Attributes and the table of a deferred softmax over rows of that many keys."""
    attributes = {
        "score_shift": int(rng.integers(0, 6)),
        "distance_multiplier": int(rng.choice([1, 255, 3000, 32767])),
        "levels": int(rng.choice([levels for levels in _LEVELS if keys * levels <= 2**24])),
    }
    if extreme:
        table = rng.choice([0, 1, 127, 128, 255, 256, 32639, 32640, 32767], 256)
    else:
        table = np.rint(32767 * np.exp(-np.arange(256) * rng.uniform(0.001, 0.2)))
    return attributes, {"exponentials": table.astype(np.int16)}


def int_deferred_attention(draw: Draw, operator: str) -> Arguments:
    heads, head_dim = draw.dim(1, 4), draw.dim(1, 20)
    qkv = draw.rows(3 * heads * head_dim, np.int8)
    attributes, table = softmax(draw.rng, qkv.shape[1], draw.extreme)
    context = draw.scale("context_", draw.one_or_each(heads * head_dim, 0.5), 2**15 * 40)
    return {"qkv": qkv, **context, **table}, {"heads": heads, **attributes}


def int_deferred_window_attention(draw: Draw, operator: str) -> Arguments:
    heads, head_dim = draw.dim(1, 4), draw.dim(1, 20)
    height, width, window = draw.dim(1, 5), draw.dim(1, 5), draw.dim(1, 3)
    channels = heads * head_dim
    attributes, table = softmax(draw.rng, window**2, draw.extreme)
    limit = 2**15 if draw.extreme else 3000
    x = {
        "qkv": draw.integers((draw.n, height * width, 3 * channels), np.int8),
        "padding": draw.integers((3 * channels,), np.int8),
        "relative_position": draw.rng.integers(-limit, limit, ((2 * window - 1) ** 2, heads)).astype(np.int16),
        **draw.scale("context_", draw.one_or_each(channels, 0.5), 2**15 * 40),
        **table,
    }
    shift = int(draw.rng.integers(0, window))
    return x, {"heads": heads, "height": height, "width": width, "window": window, "shift": shift, **attributes}


CALLS = {
    "IntDeferredAttention": int_deferred_attention,
    "IntDeferredWindowAttention": int_deferred_window_attention,
}


def deferred_case(
    rng: np.random.Generator, images: int, tokens: int, heads: int, head_dim: int, levels: int, *, flat: bool = False
) -> Case:
    """A call of IntDeferredAttention; with `flat` exponentials that count from the least distance to the largest."""
    channels = heads * head_dim
    m, e = dyadic(rng, (channels,), 2**15 * 8, False)
    table = np.rint(32767 * np.exp(-np.arange(256) * (0.01 if flat else rng.uniform(0.02, 0.1))))
    inputs = {
        "qkv": integers(rng, (images, tokens, 3 * channels), np.int8, False),
        "context_multiplier": m,
        "context_shift": e,
        "exponentials": table.astype(np.int16),
    }
    attributes = {"score_shift": 3, "distance_multiplier": 255 if flat else 3000, "levels": levels}
    return Case("IntDeferredAttention", inputs, {"heads": heads, **attributes})


def deferred_in_windows(rng: np.random.Generator, case: Case, height: int, width: int, window: int, shift: int) -> Case:
    """The same call in windows."""
    heads = case.attributes["heads"]
    inputs = {
        "padding": integers(rng, case.inputs["qkv"].shape[-1:], np.int8, False),
        "relative_position": rng.integers(-3000, 3000, ((2 * window - 1) ** 2, heads)).astype(np.int16),
    }
    grid = {"height": height, "width": width, "window": window, "shift": shift}
    return Case("IntDeferredWindowAttention", {**case.inputs, **inputs}, {**case.attributes, **grid})


def _edges(rng: np.random.Generator) -> Iterator[Case]:
    """Products, scores, exponentials, sums and contexts at the ends of their types."""
    for levels in (128, 256, 512, 32768):
        # As many levels as a row may have together, all of them times -128.
        case = deferred_case(rng, 1, 512 if levels == 32768 else 64, 1, 16, levels)
        case.inputs["qkv"][...] = np.array([0, 0, -128], np.int8).repeat(16)
        case.inputs["context_multiplier"] >>= 4
        yield Case(case.operator, {**case.inputs, "exponentials": np.full(256, 32767, np.int16)}, case.attributes)
        # No exponential at all, and less than the least sum.
        for entry in (0, 1):
            yield Case(case.operator, {**case.inputs, "exponentials": np.full(256, entry, np.int16)}, case.attributes)
        # Distances of all 16 bits: scores are clamped at both ends.
        for multiplier in (1, 100, 32767):
            case = deferred_case(rng, 1, 40, 1, 256, levels)
            case.inputs["qkv"][..., :512] = rng.choice(np.array([-128, 127], np.int8), (1, 40, 1))
            case.inputs["exponentials"] = rng.integers(0, 32768, 256).astype(np.int16)
            case.attributes |= {"score_shift": 0, "distance_multiplier": multiplier}
            yield case
            windows = deferred_in_windows(rng, case, 5, 8, 4, 1)
            ends = np.array([-32768, 32767], np.int16)
            windows.inputs["relative_position"] = rng.choice(ends, windows.inputs["relative_position"].shape)
            yield windows


def shaped(rng: np.random.Generator) -> Iterator[Case]:
    """At the token counts, head sizes and windows of models too."""
    levels, heads = cycle([128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768]), cycle(range(1, 6))
    for tokens, head_dim in ((1, 33), (5, 64), (49, 80), (197, 64), (257, 32), (63, 3), (64, 17), (65, 66), (129, 130)):
        for flat in (False, True):
            yield deferred_case(rng, 2 if tokens < 64 else 1, tokens, next(heads), head_dim, next(levels), flat=flat)
    # Many rows, wide heads.
    for tokens, head_dim, count in ((577, 64, 256), (70, 96, 256), (66, 128, 32768), (33, 192, 128), (65, 256, 16384)):
        yield deferred_case(rng, 1, tokens, 2, head_dim, count)
    yield from _edges(rng)
    # Windows of one place, windows larger than the grid, and such that have more than one block of queries.
    for grid, window in (
        ((3, 2), 1),
        ((3, 3), 7),
        ((9, 11), 16),
        ((14, 14), 7),
        ((21, 10), 7),
        ((24, 12), 12),
        ((5, 9), 4),
    ):
        for shift in sorted({0, window // 2}):
            case = deferred_case(rng, 1, grid[0] * grid[1], next(heads), 32, next(levels), flat=shift > 0)
            yield deferred_in_windows(rng, case, *grid, window, shift)
