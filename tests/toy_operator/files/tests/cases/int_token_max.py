"""IntTokenMax."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cases.case import Arguments, Case
from drawing import Draw, dyadic, integers


def int_token_max(draw: Draw, operator: str) -> Arguments:
    return {"x": draw.rows(draw.c, np.int8), **draw.scale("", draw.one_or_each(draw.c, 0.3), 64)}, {}


CALLS = {"IntTokenMax": int_token_max}


def shaped(rng: np.random.Generator) -> Iterator[Case]:
    for images, tokens, channels in ((1, 1, 1), (2, 49, 768), (3, 196, 129), (2, 7, 257)):
        m, e = dyadic(rng, (channels,), 128, False)
        x = integers(rng, (images, tokens, channels), np.int8, False)
        yield Case("IntTokenMax", {"x": x, "multiplier": m, "shift": e}, {})
