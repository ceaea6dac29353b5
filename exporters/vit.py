"""The graph of a ViT or DeiT: six nodes a transformer block."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import onnx_ir as ir
from ivit_onnx.exporters.graph import BATCH, GraphBuilder

from ivit_onnx.errors import ExportError
from ivit_onnx.models import VisionTransformer
from ivit_onnx.models.vit import Block

__all__ = ["INPUT_TYPES", "InputType", "build_vit"]

InputType = Literal["uint8", "int8", "float32"]
INPUT_TYPES: tuple[InputType, ...] = get_args(InputType)

_INPUT_DOCS = {
    "uint8": "Image: RGB pixels 0..255, resized and cropped; normalisation is part of the graph.",
    "int8": "Image: round(normalised pixel / ivit.input_scale), clamped to int8.",
    "float32": "Image: normalised pixels, (pixel / 255 - mean) / std.",
}


def build_vit(model: VisionTransformer, input_type: InputType) -> tuple[ir.Graph, float]:
    """The main graph of a calibrated twin, without functions, and the scale of its integer logits.

    Input `image` [batch, 3, H, W] of `input_type`, output `logits` int32 [batch, classes].

    Raises:
        ExportError: a layer is not calibrated or cannot be expressed in integers.
    """
    if input_type not in INPUT_TYPES:
        raise ExportError(f"expected an input type of {', '.join(INPUT_TYPES)}, found {input_type!r}")
    arch, g = model.arch, GraphBuilder()
    pixels, s_pixels = _image(g, model, input_type)

    embed = model.patch_embed.lower(s_pixels)
    tokens = (BATCH, arch.tokens, arch.width)
    x = g.operator("patch_embed", embed, [pixels], tokens, "Image to tokens: the start of the int16 residual stream.")
    s_x = embed.scale
    for index, block in enumerate(model.block_list()):
        x, s_x = _block(g, model, f"blocks.{index}", block, x, s_x)

    prefix = arch.prefix_tokens
    bounds = (
        g.constant(f"pool.{name}", np.array([v], np.int64)) for name, v in (("from", 0), ("to", prefix), ("axis", 1))
    )
    what = "class and distillation tokens" if arch.distilled else "class token"
    pooled = g.standard(
        "Slice", "pool", [x, *bounds], "int16", (BATCH, prefix, arch.width), f"Keeps the {what}, which the head reads."
    )
    norm = model.norm.lower(s_x)
    features = g.operator("norm", norm, [pooled], (BATCH, prefix, arch.width), "Final normalisation.")
    flat = g.standard("Flatten", "features", [features], "int8", (BATCH, prefix * arch.width), "Features.", axis=1)
    head = model.head.lower(norm.scale)
    heads = "Mean of both classification heads." if arch.distilled else "Classification head."
    logits = g.operator("head", head, [flat], (BATCH, arch.classes), heads)
    logits.name = "logits"
    logits.doc_string = "Integer logits; float logits = logits * ivit.output_scale."
    doc = f"Integer-only {arch.name}: no floating-point tensor but a float32 input, if that was asked for."
    return g.graph(arch.name, [logits], doc), float(head.scale)


def _image(g: GraphBuilder, model: VisionTransformer, input_type: InputType) -> tuple[ir.Value, np.float32]:
    """The graph input and the nodes that quantise it."""
    arch = model.arch
    shape = (BATCH, arch.in_channels, arch.image_size, arch.image_size)
    image = g.input("image", input_type, shape, _INPUT_DOCS[input_type])
    quantize = model.image.lower()
    if input_type == "uint8":
        doc = "Pixels to the normalised, quantised input."
        return g.operator("image.quantized", quantize, [image], shape, doc), quantize.scale
    if input_type == "float32":
        constants = [
            g.constant("image.scale", np.asarray(quantize.scale)),
            g.constant("image.zero_point", np.zeros((), np.int8)),
        ]
        doc = "Boundary of the integer network: round(image / scale), clamped. The only node that sees a float."
        return g.standard("QuantizeLinear", "image.quantized", [image, *constants], "int8", shape, doc), quantize.scale
    return image, quantize.scale


def _block(
    g: GraphBuilder, model: VisionTransformer, path: str, block: Block, x: ir.Value, s_x: np.float32
) -> tuple[ir.Value, np.float32]:
    """One transformer block; takes and gives the residual stream and its scale."""
    arch = model.arch
    tokens = (BATCH, arch.tokens, arch.width)
    norm1 = block.norm1.lower(s_x)
    qkv = block.attn.qkv.lower(norm1.scale)
    core = block.attn.core.lower(qkv.scale)
    proj = block.attn.proj.lower(core.scale, s_x)
    norm2 = block.norm2.lower(proj.scale)
    mlp = block.mlp.lower(norm2.scale, proj.scale)

    y = g.operator(f"{path}.norm1", norm1, [x], tokens, "Normalisation before attention.")
    y = g.operator(f"{path}.attn.qkv", qkv, [y], (BATCH, arch.tokens, 3 * arch.width), "Queries, keys and values.")
    y = g.operator(f"{path}.attn.core", core, [y], tokens, "Attention.")
    x = g.operator(f"{path}.attn.proj", proj, [y, x], tokens, "Output projection of attention.")
    y = g.operator(f"{path}.norm2", norm2, [x], tokens, "Normalisation before the feed-forward half.")
    x = g.operator(f"{path}.mlp", mlp, [y, x], tokens, "Feed-forward half of the block.")
    return x, mlp.scale
