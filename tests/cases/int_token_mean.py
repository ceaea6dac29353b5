"""IntTokenMean and IntTokenMean16."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cases.case import Arguments, Case
from drawing import Array, Draw, dyadic, integers


def int_token_mean(draw: Draw, operator: str) -> Arguments:
    scale = draw.scale("", draw.one_or_each(draw.c, 0.3), 64)
    return {"x": draw.rows(draw.c, np.int8 if operator == "IntTokenMean" else np.int16), **scale}, {}


CALLS = {"IntTokenMean": int_token_mean, "IntTokenMean16": int_token_mean}


def mean_case(rng: np.random.Generator, operator: str, x: Array) -> Case:
    m, e = dyadic(rng, (x.shape[-1],), 128, False)
    return Case(operator, {"x": x, "multiplier": m, "shift": e}, {})


def shaped(rng: np.random.Generator) -> Iterator[Case]:
    for operator, dtype in (("IntTokenMean", np.int8), ("IntTokenMean16", np.int16)):
        for images, tokens, channels in ((1, 1, 1), (2, 49, 768), (3, 196, 129), (1, 1369, 127), (2, 7, 128)):
            yield mean_case(rng, operator, integers(rng, (images, tokens, channels), dtype, False))
        yield mean_case(rng, operator, np.full((1, 65535, 3), np.iinfo(dtype).min, dtype))
