"""TableGELU."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cases.case import Arguments, Case
from drawing import Draw, integers


def table_gelu(draw: Draw, operator: str) -> Arguments:
    return {"x": draw.rows(draw.c, np.int8), "table": draw.integers((256,), np.int8)}, {}


CALLS = {"TableGELU": table_gelu}


def shaped(rng: np.random.Generator) -> Iterator[Case]:
    for rows, channels in ((1, 1), (3, 130), (70, 1000), (2, 9000)):
        x = integers(rng, (rows, channels), np.int8, False)
        yield Case("TableGELU", {"x": x, "table": integers(rng, (256,), np.int8, False)}, {})
