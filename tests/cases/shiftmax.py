"""Shiftmax and TableSoftmax."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cases.case import Arguments, Case, with_table
from cases.rows import row_values
from drawing import Draw, exp_attributes, exponentials


def shiftmax(draw: Draw, operator: str) -> Arguments:
    x = draw.rows(draw.c, np.int8)
    return {"x": x}, {**draw.exponent(), **draw.frac_bits()}


def table_softmax(draw: Draw, operator: str) -> Arguments:
    x = {"x": draw.rows(draw.c, np.int8), "exponentials": exponentials(draw.rng, draw.extreme)}
    return x, draw.frac_bits()


CALLS = {"Shiftmax": shiftmax, "TableSoftmax": table_softmax}


def shaped(rng: np.random.Generator) -> Iterator[Case]:
    for index, x in enumerate(row_values(rng)):
        case = Case("Shiftmax", {"x": x}, {**exp_attributes(rng, False), "frac_bits": int(rng.choice([7, 8, 15]))})
        yield case
        if index % 3 == 0:
            yield with_table(rng, case, "TableSoftmax", extreme=index % 2 == 1)
