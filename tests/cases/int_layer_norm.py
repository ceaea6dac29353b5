"""IntLayerNorm and IntLayerNorm16."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from cases.case import Arguments, Case
from drawing import Draw, dyadic, integers


def int_layer_norm(draw: Draw, operator: str) -> Arguments:
    values = draw.rows(draw.c, np.int16)
    if not draw.extreme:
        values = (values >> draw.rng.integers(0, 14)).astype(np.int16)
    return {"x": values, **draw.norm("", draw.c)}, {}


CALLS = {"IntLayerNorm": int_layer_norm, "IntLayerNorm16": int_layer_norm}


def norm_case(rng: np.random.Generator, batch: int, tokens: int, channels: int) -> Case:
    m, e = dyadic(rng, (channels,), 2**30 / channels**0.5, False)
    offset = rng.integers(-(2**36), 2**36, channels)
    x = integers(rng, (batch, tokens, channels), np.int16, False)
    return Case("IntLayerNorm", {"x": x, "multiplier": m, "offset": offset, "shift": e}, {})


def spike_case(channels: int, spike: int) -> Case:
    """Rows with one value that is not zero: |x| * (2^31 // root) is largest for them."""
    x = np.zeros((1, 2, channels), np.int16)
    x[0, 0, channels // 2], x[0, 1, channels // 2] = spike, -spike
    m, e = np.full(channels, 2**30, np.int32), np.full(channels, 54, np.int8)
    return Case("IntLayerNorm", {"x": x, "multiplier": m, "offset": np.full(channels, 2**53), "shift": e}, {})


def shaped(rng: np.random.Generator) -> Iterator[Case]:
    """The last sizes have more and longer rows than a tile, a warp or a block has."""
    sizes = ((1, 1), (7, 7), (8, 8), (9, 31), (12, 33), (197, 192), (5, 385), (3, 1024))
    large = ((300, 192), (261, 768), (70, 320), (130, 2048), (9, 1280), (3, 2052), (300, 6))
    for tokens, channels in (*sizes, *large):
        case = norm_case(rng, 1, tokens, channels)
        yield from (case, replace(case, operator="IntLayerNorm16"))
    for channels, spike in ((384, 128), (768, 256), (2048, 1024), (70000, 32767)):
        yield spike_case(channels, spike)
