"""Attention with deferred normalisation: shapes of models, all levels, extreme tables and scores, rows of one key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle

import numpy as np

from cases import Case
from drawing import Array, dyadic, integers

__all__ = ["deferred_cases"]

LEVELS = tuple(2**bits for bits in range(7, 16))
#: Of 12 / 255, whose upper half is small; falling slowly; constants; any content.
TABLES: dict[str, Array] = {
    "steep": np.rint(32767 * np.exp(-np.arange(256) * 12 / 255)),
    "flat": np.rint(32767 * np.exp(-np.arange(256) * 0.003)),
    "zero": np.zeros(256),
    "one": np.ones(256),
    "full": np.full(256, 32767),
    "random": np.random.default_rng(1).integers(0, 32768, 256),
}


def _softmax(rng: np.random.Generator, table: str, levels: int) -> tuple[dict[str, Array], dict[str, int]]:
    attributes = {
        "score_shift": int(rng.choice([0, 1, 4, 7, 15])),
        "distance_multiplier": int(rng.choice([1, 200, 3000, 32767])),
        "levels": levels,
    }
    return {"exponentials": TABLES[table].astype(np.int16)}, attributes


def _context(rng: np.random.Generator, channels: int) -> dict[str, Array]:
    multiplier, shift = dyadic(rng, (channels,), 2**15 * 4, False)
    return {"context_multiplier": multiplier, "context_shift": shift}


def image_case(rng: np.random.Generator, tokens: int, head_dim: int, table: str, levels: int, **others: int) -> Case:
    """`others` are heads, images and attributes of the softmax."""
    heads, images = others.pop("heads", 2), others.pop("images", 1)
    exponentials, softmax = _softmax(rng, table, levels)
    qkv = integers(rng, (images, tokens, 3 * heads * head_dim), np.int8, False)
    inputs = {"qkv": qkv, **_context(rng, heads * head_dim), **exponentials}
    return Case("IntDeferredAttention", inputs, {"heads": heads, **softmax, **others})


def window_case(
    rng: np.random.Generator, grid: tuple[int, int], window: int, shift: int, head_dim: int, table: str, levels: int
) -> Case:
    heads = 2
    channels = heads * head_dim
    exponentials, softmax = _softmax(rng, table, levels)
    inputs = {
        "qkv": integers(rng, (2, grid[0] * grid[1], 3 * channels), np.int8, False),
        "padding": integers(rng, (3 * channels,), np.int8, False),
        "relative_position": integers(rng, ((2 * window - 1) ** 2, heads), np.int16, levels % 3 == 1),
        **_context(rng, channels),
        **exponentials,
    }
    shape = {"heads": heads, "height": grid[0], "width": grid[1], "window": window, "shift": shift}
    return Case("IntDeferredWindowAttention", inputs, {**shape, **softmax})


def _saturated(case: Case) -> Case:
    """Products at both ends of what they can be: scores that the clamp cuts."""
    qkv = np.where(case.inputs["qkv"] < 0, -128, 127).astype(np.int8)
    return replace(case, inputs={**case.inputs, "qkv": qkv}, attributes={**case.attributes, "score_shift": 0})


def _with_scale(case: Case, multiplier: int, shift: int) -> Case:
    """At a scale that needs a shift to the left in 32-bit lanes, with headroom for it and without."""
    scale = {
        "context_multiplier": np.full_like(case.inputs["context_multiplier"], multiplier),
        "context_shift": np.full_like(case.inputs["context_shift"], shift),
    }
    return replace(case, inputs={**case.inputs, **scale})


def deferred_cases(rng: np.random.Generator) -> Iterator[Case]:
    """Both operators."""
    tables, levels = cycle(TABLES), cycle(LEVELS)
    for tokens in (1, 2, 15, 16, 17, 48, 49, 63, 64, 65, 127, 128, 130, 197, 257):
        for head_dim in (32, 64):
            case = image_case(rng, tokens, head_dim, next(tables), next(levels))
            yield from (case, _saturated(case))
    for number in LEVELS:
        for table in ("steep", "random", "full"):
            yield image_case(rng, 70, 20, table, number)
        yield _with_scale(image_case(rng, 33, 33, "steep", number), 2**14, 24 + next(levels) % 5)
    for shift in (1, 8, 17, 24, 25, 26, 32, 33, 45, 62):
        yield _with_scale(image_case(rng, 20, 40, "flat", next(levels)), 2 ** min(30, max(0, shift - 15)), shift)
    # Rows as long as the levels allow, wide heads, many images, and a distance of everything.
    yield image_case(rng, 512, 4, "flat", 32768, heads=1)
    yield image_case(rng, 577, 64, "steep", 256, heads=1)
    yield image_case(rng, 600, 8, "flat", 16384, heads=1)
    for head_dim in (1, 66, 80, 130, 200, 256):
        yield image_case(rng, 37, head_dim, next(tables), next(levels), images=3)
    yield _saturated(image_case(rng, 90, 64, "random", 256, distance_multiplier=32767))
    yield image_case(rng, 198, 64, "steep", 256, heads=6, images=2, score_shift=2, distance_multiplier=3000)
    for grid, window in (
        ((14, 14), 7),
        ((7, 7), 7),
        ((21, 10), 7),
        ((24, 12), 12),
        ((3, 3), 7),
        ((9, 11), 16),
        ((5, 9), 4),
    ):
        for shift in (0, window // 2):
            for _ in range(2):
                case = window_case(rng, grid, window, shift, 32, next(tables), next(levels))
                yield from (case, _saturated(case))
    # One key in a window, and one that each corner sees of a window of two.
    yield window_case(rng, (3, 2), 1, 0, 20, "steep", 256)
    for number in (128, 256, 1024, 32768):
        yield window_case(rng, (4, 4), 2, 1, 64, "random", number)
        yield _with_scale(window_case(rng, (6, 9), 4, 1, 70, "steep", number), 2**9, 24)
