"""AddRequantize."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cases.case import Arguments, Case
from drawing import Draw, dyadic, integers


def add_requantize(draw: Draw, operator: str) -> Arguments:
    a_scale = draw.scale("a_", draw.one_or_each(draw.c, 0.5), 128)
    b_scale = draw.scale("b_", draw.one_or_each(draw.c, 0.5), 128)
    return {"a": draw.rows(draw.c, np.int16), **a_scale, "b": draw.rows(draw.c, np.int16), **b_scale}, {}


CALLS = {"AddRequantize": add_requantize}


def add_case(rng: np.random.Generator, rows: int, channels: int, *, per_channel: bool) -> Case:
    shape = (channels,) if per_channel else ()
    am, ae = dyadic(rng, shape, 128, False)
    bm, be = dyadic(rng, (), 128, False)
    a, b = (integers(rng, (rows, channels), np.int16, False) for _ in range(2))
    scales = {"a_multiplier": am, "a_shift": ae, "b_multiplier": bm, "b_shift": be}
    return Case("AddRequantize", {"a": a, "b": b, **scales}, {})


def shaped(rng: np.random.Generator) -> Iterator[Case]:
    for rows, channels in ((300, 192), (7, 1000), (33, 129)):
        yield add_case(rng, rows, channels, per_channel=True)
        yield add_case(rng, rows, channels, per_channel=False)
