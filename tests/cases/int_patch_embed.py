"""IntPatchEmbed and IntPixelEmbed."""

from __future__ import annotations

import numpy as np

from cases.case import Arguments
from drawing import Draw
from ivit_onnx.opset import OPERATORS, Part


def int_patch_embed(draw: Draw, operator: str) -> Arguments:
    patch, colours = draw.dim(1, 5), draw.dim(1, 3)
    rows, columns, prefix = draw.dim(1, 3), draw.dim(1, 3), draw.dim(0, 2)
    token = draw.scale("token_", (), 128, negative=False)
    pixels = Part.PIXELS in OPERATORS[operator].parts
    shape = (draw.n, colours, rows * patch, columns * patch)
    x = {
        "image": draw.integers(shape, np.uint8 if pixels else np.int8),
        **(draw.affine("pixel_", colours, 256, 40) if pixels else {}),
        **draw.linear("", colours * patch * patch, draw.c, target=32768),
        **token,
        "position": draw.rng.integers(-(2**17), 2**17, (rows * columns, draw.c)).astype(np.int32),
        "prefix_tokens": draw.integers((prefix, draw.c), np.int16),
    }
    return x, {"patch_size": patch}


CALLS = {"IntPatchEmbed": int_patch_embed, "IntPixelEmbed": int_patch_embed}
