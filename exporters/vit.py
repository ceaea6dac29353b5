"""The graph of a ViT or DeiT: four nodes a transformer block."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from ivit_onnx.exporters.graph import BATCH, GraphBuilder, with_norm
from ivit_onnx.exporters.image import InputType, embed_image

from ivit_onnx.models import VisionTransformer
from ivit_onnx.models.vit import Block
from ivit_onnx.quant.tensors import Lowered

__all__ = ["build_vit"]


def build_vit(model: VisionTransformer, input_type: InputType) -> tuple[ir.Graph, float]:
    """The main graph of a calibrated twin, without functions, and the scale of its integer logits.

    Input `image` [batch, 3, H, W] of `input_type`, output `logits` int32 [batch, classes].

    Raises:
        ExportError: a layer is not calibrated or cannot be expressed in integers.
    """
    arch, g = model.arch, GraphBuilder()
    tokens = (BATCH, arch.tokens, arch.width)
    x, s_x = embed_image(g, model, model.patch_embed, input_type, tokens)
    blocks = model.block_list()
    norm = blocks[0].norm1.lower(s_x)
    (y,) = g.operator("blocks.0.norm1", norm, [x], {"blocks.0.norm1": tokens}, "Normalisation before attention.")
    for index, block in enumerate(blocks):
        following = blocks[index + 1] if index + 1 < len(blocks) else None
        x, s_x, y, norm = _block(g, model, index, block, following, (x, s_x), (y, norm))

    prefix = arch.prefix_tokens
    slices = {"from": 0, "to": prefix, "axis": 1}
    bounds = [g.constant(f"pool.{name}", np.array([value], np.int64)) for name, value in slices.items()]
    what = "class and distillation tokens" if arch.distilled else "class token"
    pooled = g.standard(
        "Slice", "pool", [x, *bounds], "int16", (BATCH, prefix, arch.width), f"Keeps the {what}, which the head reads."
    )
    norm = model.norm.lower(s_x)
    (features,) = g.operator("norm", norm, [pooled], {"norm": (BATCH, prefix, arch.width)}, "Final normalisation.")
    flat = g.standard("Flatten", "features", [features], "int8", (BATCH, prefix * arch.width), "Features.", axis=1)
    head = model.head.lower(norm.scale)
    heads = "Mean of both classification heads." if arch.distilled else "Classification head."
    (logits,) = g.operator("head", head, [flat], {"logits": (BATCH, arch.classes)}, heads)
    logits.doc_string = "Integer logits; float logits = logits * ivit.output_scale."
    doc = f"Integer-only {arch.name}: no floating-point tensor but a float32 input, if that was asked for."
    return g.graph(arch.name, [logits], doc), float(head.scale)


def _block(
    g: GraphBuilder,
    model: VisionTransformer,
    index: int,
    block: Block,
    following: Block | None,
    stream: tuple[ir.Value, np.float32],
    normalized: tuple[ir.Value, Lowered],
) -> tuple[ir.Value, np.float32, ir.Value, Lowered]:
    """One transformer block: the residual stream and its normalisation in, both for the next block out.

    Each normalisation belongs to the operator that makes the residual stream which it normalises; after the last block
    there is none, because only the prefix tokens are normalised there.
    """
    arch, path = model.arch, f"blocks.{index}"
    tokens = (BATCH, arch.tokens, arch.width)
    (x, s_x), (y, norm1) = stream, normalized
    qkv = block.attn.qkv.lower(norm1.scale)
    core = block.attn.core.lower(qkv.scale)
    proj = block.attn.proj.lower(core.scale, s_x)
    norm2 = block.norm2.lower(proj.scale)
    mlp = block.mlp.lower(norm2.scale, proj.scale)

    packed = {f"{path}.attn.qkv": (BATCH, arch.tokens, 3 * arch.width)}
    (y,) = g.operator(f"{path}.attn.qkv", qkv, [y], packed, "Queries, keys and values.")
    (y,) = g.operator(f"{path}.attn.core", core, [y], {f"{path}.attn.core": tokens}, "Attention.")
    outputs = {f"{path}.attn.proj": tokens, f"{path}.norm2": tokens}
    doc = "Output projection of attention."
    x, y = g.operator(f"{path}.attn.proj", with_norm(proj, norm2), [y, x], outputs, doc)
    outputs = {f"{path}.mlp": tokens}
    doc = "Feed-forward half of the block."
    if following is None:
        (x,) = g.operator(f"{path}.mlp", mlp, [y, x], outputs, doc)
        return x, mlp.scale, y, norm2
    norm1 = following.norm1.lower(mlp.scale)
    outputs[f"blocks.{index + 1}.norm1"] = tokens
    x, y = g.operator(f"{path}.mlp", with_norm(mlp, norm1), [y, x], outputs, doc)
    return x, mlp.scale, y, norm1
