"""The beginning of every graph: the image input and the nodes that make tokens of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import onnx_ir as ir
from ivit_onnx.exporters.graph import BATCH, Dim, GraphBuilder, with_pixels

from ivit_onnx.errors import ExportError
from ivit_onnx.models import Twin
from ivit_onnx.quant.modules import QuantModule

__all__ = ["INPUT_TYPES", "InputType", "embed_image"]

InputType = Literal["uint8", "int8", "float32"]
INPUT_TYPES: tuple[InputType, ...] = get_args(InputType)

_INPUT_DOCS = {
    "uint8": "Image: RGB pixels 0..255, resized and cropped; normalisation is part of the graph.",
    "int8": "Image: round(normalised pixel / ivit.input_scale), clamped to int8.",
    "float32": "Image: normalised pixels, (pixel / 255 - mean) / std.",
}


def embed_image(
    g: GraphBuilder, model: Twin, patch_embed: QuantModule, input_type: InputType, tokens: Sequence[Dim]
) -> tuple[ir.Value, np.float32]:
    """The graph input `image` and its patch embedding: tokens of that shape, int16, and their scale.

    Raises:
        ExportError: the input type is unknown, or the embedding is not calibrated.
    """
    if input_type not in INPUT_TYPES:
        raise ExportError(f"expected an input type of {', '.join(INPUT_TYPES)}, found {input_type!r}")
    arch = model.arch
    shape = (BATCH, arch.in_channels, *arch.image_size)
    image = g.input("image", input_type, shape, _INPUT_DOCS[input_type])
    quantize = model.image.lower()
    embed = patch_embed.lower(quantize.scale)
    if input_type == "uint8":
        embed = with_pixels(quantize, embed)
    elif input_type == "float32":
        constants = [
            g.constant("image.scale", np.asarray(quantize.scale)),
            g.constant("image.zero_point", np.zeros((), np.int8)),
        ]
        doc = "Boundary of the integer network: round(image / scale), clamped. The only node that sees a float."
        image = g.standard("QuantizeLinear", "image.quantized", [image, *constants], "int8", shape, doc)
    doc = "Image to tokens: the start of the int16 residual stream."
    (value,) = g.operator(patch_embed.path, embed, [image], {patch_embed.path: tokens}, doc)
    return value, embed.scale
