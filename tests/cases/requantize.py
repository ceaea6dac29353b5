"""Requantize and its variants."""

from __future__ import annotations

import numpy as np

from cases.case import Arguments
from drawing import Draw


def requantize(draw: Draw, operator: str) -> Arguments:
    scale = draw.scale("", draw.one_or_each(draw.c, 0.3), 2**30)
    return {"x": draw.rows(draw.c, np.int32), **scale}, {}


CALLS = {"Requantize": requantize, "Requantize16": requantize, "Requantize32": requantize}
