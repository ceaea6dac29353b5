"""The graph of a ViT or DeiT: four nodes a transformer block."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from ivit_onnx.exporters.graph import BATCH, Dim, GraphBuilder, with_norm
from ivit_onnx.exporters.head import end_graph
from ivit_onnx.exporters.image import InputType, embed_image

from ivit_onnx.models import VisionTransformer
from ivit_onnx.models.vit import Block
from ivit_onnx.quant.tensors import Lowered

__all__ = ["build_vit"]


def build_vit(model: VisionTransformer, input_type: InputType) -> tuple[ir.Graph, float]:
    """The main graph of a calibrated twin, without functions, and the scale of its integer logits.

    Input `image` [batch, 3, H, W] of `input_type`, output `logits` int32 [batch, classes]; without
    classes, `features` int32 [batch, width].

    Raises:
        ExportError: a layer is not calibrated or cannot be expressed in integers.
    """
    arch, g = model.arch, GraphBuilder()
    tokens = (BATCH, arch.tokens, arch.width)
    x, s_x = embed_image(g, model, model.patch_embed, input_type, tokens)
    if model.norm_pre is not None:
        pre = model.norm_pre.lower(s_x)
        (x,) = g.operator("norm_pre", pre, [x], {"norm_pre": tokens}, "Normalisation before the first block.")
        s_x = pre.scale
    blocks = model.block_list()
    norm = blocks[0].norm1.lower(s_x)
    (y,) = g.operator("blocks.0.norm1", norm, [x], {"blocks.0.norm1": tokens}, "Normalisation before attention.")
    for index, block in enumerate(blocks):
        following = blocks[index + 1] if index + 1 < len(blocks) else None
        x, s_x, y, norm = _block(g, model, index, block, following, (x, s_x), (y, norm))

    features, scale = _mean_features(g, model, x, s_x) if model.pool else _token_features(g, model, x, s_x)
    doc = "Mean of both classification heads." if arch.distilled else "Classification head."
    graph: tuple[ir.Graph, float] = end_graph(g, model, features, arch.head_tokens * arch.width, scale, doc)
    return graph


def _token_features(
    g: GraphBuilder, model: VisionTransformer, x: ir.Value, s_x: np.float32
) -> tuple[ir.Value, np.float32]:
    """The normalised class and distillation tokens."""
    arch, count = model.arch, model.arch.head_tokens
    what = "class and distillation tokens" if arch.distilled else "class token"
    doc = f"Keeps the {what}, which the head reads."
    x = _slice(g, "pool", x, 0, count, (BATCH, count, arch.width), doc)
    norm = model.norm.lower(s_x)
    (y,) = g.operator("norm", norm, [x], {"norm": (BATCH, count, arch.width)}, "Final normalisation.")
    name, dtype = ("features", "int8") if arch.classes else ("features.int16", "int16")
    y = g.standard("Flatten", name, [y], dtype, (BATCH, count * arch.width), "Features.", axis=1)
    return y, norm.scale


def _mean_features(
    g: GraphBuilder, model: VisionTransformer, x: ir.Value, s_x: np.float32
) -> tuple[ir.Value, np.float32]:
    """The mean of the patches, normalised before or after."""
    arch, pool = model.arch, model.pool
    assert pool is not None
    patches, pooled = (BATCH, arch.patches, arch.width), (BATCH, arch.width)
    if arch.prefix_tokens:
        doc = "Keeps the patches, leaves out the tokens in front of them."
        x = _slice(g, "patches", x, arch.prefix_tokens, arch.tokens, patches, doc)
    if arch.fc_norm:
        mean = pool.lower(s_x)
        (x,) = g.operator("pool", mean, [x], {"pool": pooled}, "Average pooling.")
        norm = model.norm.lower(mean.scale)
        (x,) = g.operator("norm", norm, [x], {"norm": pooled}, "Final normalisation.")
        return x, norm.scale
    norm = model.norm.lower(s_x)
    (x,) = g.operator("norm", norm, [x], {"norm": patches}, "Final normalisation.")
    mean = pool.lower(norm.scale)
    (x,) = g.operator("pool", mean, [x], {"pool": pooled}, "Average pooling.")
    return x, mean.scale


def _slice(g: GraphBuilder, path: str, x: ir.Value, first: int, end: int, shape: tuple[Dim, ...], doc: str) -> ir.Value:
    """Tokens first .. end - 1 of the residual stream."""
    bounds = {"from": first, "to": end, "axis": 1}
    constants = [g.constant(f"{path}.{name}", np.array([value], np.int64)) for name, value in bounds.items()]
    tokens: ir.Value = g.standard("Slice", path, [x, *constants], "int16", shape, doc)
    return tokens


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
