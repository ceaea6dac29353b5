"""IntPatchMerge."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cases.case import Arguments, Case, linear_inputs
from cases.int_layer_norm import norm_case
from drawing import Draw, integers


def int_patch_merge(draw: Draw, operator: str) -> Arguments:
    height, width = draw.dim(1, 5), draw.dim(1, 5)
    bits = int(draw.rng.choice([8, 16]))
    x = {
        "x": draw.integers((draw.n, height * width, draw.c), np.int16),
        **draw.norm("norm_", 4 * draw.c),
        **draw.linear("", 4 * draw.c, draw.dim(1, 30), target=2 ** (bits - 1)),
    }
    return x, {"height": height, "width": width, "bits": bits}


CALLS = {"IntPatchMerge": int_patch_merge}


def merge_case(rng: np.random.Generator, height: int, width: int, channels: int, bits: int) -> Case:
    norm = {f"norm_{name}": array for name, array in norm_case(rng, 1, 1, 4 * channels).inputs.items() if name != "x"}
    linear = linear_inputs(rng, "", 4 * channels, 2 * channels, target=2 ** (bits - 1))
    x = integers(rng, (2, height * width, channels), np.int16, False)
    return Case("IntPatchMerge", {"x": x, **norm, **linear}, {"height": height, "width": width, "bits": bits})


def shaped(rng: np.random.Generator) -> Iterator[Case]:
    for height, width, channels, bits in ((1, 1, 5, 16), (8, 6, 96, 16), (7, 9, 33, 8), (14, 14, 48, 8)):
        yield merge_case(rng, height, width, channels, bits)
