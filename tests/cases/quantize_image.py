"""QuantizeImage."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cases.case import Arguments, Case
from drawing import Draw, dyadic, integers


def quantize_image(draw: Draw, operator: str) -> Arguments:
    colours = draw.dim(1, 4)
    image = draw.integers((draw.n, colours, draw.t, draw.dim(1, 9)), np.uint8)
    return {"image": image, **draw.affine("", colours, 256, 40)}, {}


CALLS = {"QuantizeImage": quantize_image}


def image_case(rng: np.random.Generator, images: int, colours: int, height: int, width: int) -> Case:
    m, e = dyadic(rng, (colours,), 256, False)
    image = integers(rng, (images, colours, height, width), np.uint8, False)
    offset = rng.integers(-(2**40), 2**40, colours)
    return Case("QuantizeImage", {"image": image, "multiplier": m, "offset": offset, "shift": e}, {})


def shaped(rng: np.random.Generator) -> Iterator[Case]:
    for width in (1, 63, 64, 65, 224):
        yield image_case(rng, 2, 3, 5, width)
    yield image_case(rng, 1, 3, 96, 112)
    yield image_case(rng, 1, 2, 99, 101)
