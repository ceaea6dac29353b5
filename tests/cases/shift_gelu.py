"""ShiftGELU."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cases.case import Arguments, Case
from cases.rows import row_values
from drawing import Draw, exp_attributes


def shift_gelu(draw: Draw, operator: str) -> Arguments:
    x = draw.rows(draw.c, np.int8)
    return {"x": x}, draw.exponent()


CALLS = {"ShiftGELU": shift_gelu}


def shaped(rng: np.random.Generator) -> Iterator[Case]:
    for x in row_values(rng):
        yield Case("ShiftGELU", {"x": x}, exp_attributes(rng, False))
