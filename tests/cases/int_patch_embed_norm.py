"""IntPatchEmbedNorm16 and IntPixelEmbedNorm16."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cases.case import Arguments, Case, linear_inputs
from drawing import Draw, dyadic, integers
from ivit_onnx.opset import OPERATORS, Part


def int_patch_embed_norm(draw: Draw, operator: str) -> Arguments:
    patch, colours = draw.dim(1, 5), draw.dim(1, 3)
    token = draw.scale("token_", (), 128, negative=False)
    bits = int(draw.rng.choice([8, 16]))
    pixels = Part.PIXELS in OPERATORS[operator].parts
    shape = (draw.n, colours, draw.dim(1, 3) * patch, draw.dim(1, 3) * patch)
    x = {
        "image": draw.integers(shape, np.uint8 if pixels else np.int8),
        **(draw.affine("pixel_", colours, 256, 40) if pixels else {}),
        **draw.linear("", colours * patch * patch, draw.c, target=2 ** (bits - 1)),
        **draw.affine("norm_", draw.c, 2**22 / max(1.0, draw.c**0.5), 32),
        **token,
    }
    return x, {"patch_size": patch, "bits": bits}


CALLS = {"IntPatchEmbedNorm16": int_patch_embed_norm, "IntPixelEmbedNorm16": int_patch_embed_norm}


def embed_norm_case(rng: np.random.Generator, images: int, size: int, patch: int, width: int, bits: int) -> Case:
    m, e = dyadic(rng, (width,), 2**22 / width**0.5, False)
    tm, te = dyadic(rng, (), 128, False, negative=False)
    inputs = {
        "image": integers(rng, (images, 3, size, size), np.int8, False),
        **linear_inputs(rng, "", 3 * patch * patch, width, target=2 ** (bits - 1)),
        "norm_multiplier": m,
        "norm_offset": rng.integers(-(2**32), 2**32, width),
        "norm_shift": e,
        "token_multiplier": tm,
        "token_shift": te,
    }
    return Case("IntPatchEmbedNorm16", inputs, {"patch_size": patch, "bits": bits})


def shaped(rng: np.random.Generator) -> Iterator[Case]:
    for count, size, patch, channels, bits in ((1, 224, 4, 96, 16), (2, 32, 4, 128, 8), (3, 14, 7, 33, 8)):
        yield embed_norm_case(rng, count, size, patch, channels, bits)
