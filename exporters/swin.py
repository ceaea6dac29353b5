"""The graph of a Swin: four nodes a transformer block, one between two stages."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from ivit_onnx.exporters.graph import BATCH, GraphBuilder, with_norm
from ivit_onnx.exporters.head import end_graph
from ivit_onnx.exporters.image import InputType, embed_image

from ivit_onnx.architectures.swin import Stage
from ivit_onnx.models import SwinTransformer
from ivit_onnx.models.swin import SwinBlock
from ivit_onnx.opset import OPERATORS
from ivit_onnx.quant.tensors import Lowered

__all__ = ["build_swin"]

Stream = tuple[ir.Value, np.float32]


def build_swin(model: SwinTransformer, input_type: InputType) -> tuple[ir.Graph, float]:
    """The main graph of a calibrated twin, without functions, and the scale of its integer logits.

    Input `image` [batch, 3, H, W] of `input_type`, output `logits` int32 [batch, classes]; without
    classes, `features` int32 [batch, width of the last stage].

    Raises:
        ExportError: a layer is not calibrated or cannot be expressed in integers.
    """
    arch, g = model.arch, GraphBuilder()
    x, s_x = embed_image(g, model, model.patch_embed, input_type, (BATCH, arch.tokens, arch.width))
    for module, stage in zip(model.stage_list(), arch.stages, strict=True):
        if module.downsample is not None:
            merge = module.downsample.lower(s_x)
            path = f"layers.{stage.index}.downsample"
            outputs = {path: (BATCH, stage.tokens, stage.width)}
            (x,) = g.operator(path, merge, [x], outputs, "Half the grid, twice the channels.")
            s_x = merge.scale
        x, s_x = _blocks(g, stage, module.block_list(), (x, s_x))

    last = arch.stages[-1]
    norm = model.norm.lower(s_x)
    (y,) = g.operator("norm", norm, [x], {"norm": (BATCH, last.tokens, last.width)}, "Final normalisation.")
    pool = model.pool.lower(norm.scale)
    name = "features" if arch.classes else "pool"
    (features,) = g.operator(name, pool, [y], {name: (BATCH, last.width)}, "Average pooling.")
    graph: tuple[ir.Graph, float] = end_graph(g, model, features, last.width, pool.scale, "Classification head.")
    return graph


def _blocks(g: GraphBuilder, stage: Stage, blocks: list[SwinBlock], stream: Stream) -> Stream:
    """The blocks of a stage: the residual stream in and out.

    Each normalisation but the first belongs to the operator that makes the residual stream which it normalises.
    """
    path = f"layers.{stage.index}.blocks"
    tokens = (BATCH, stage.tokens, stage.width)
    x, s_x = stream
    norm1 = blocks[0].norm1.lower(s_x)
    (y,) = g.operator(f"{path}.0.norm1", norm1, [x], {f"{path}.0.norm1": tokens}, "Normalisation before attention.")
    for index, block in enumerate(blocks):
        own = f"{path}.{index}"
        qkv = block.attn.qkv.lower(norm1.scale)
        core = _with_padding(block.attn.core.lower(qkv.scale), qkv, stage)
        proj = block.attn.proj.lower(core.scale, s_x)
        norm2 = block.norm2.lower(proj.scale)
        mlp = block.mlp.lower(norm2.scale, proj.scale)

        packed = {f"{own}.attn.qkv": (BATCH, stage.tokens, 3 * stage.width)}
        (y,) = g.operator(f"{own}.attn.qkv", qkv, [y], packed, "Queries, keys and values.")
        (y,) = g.operator(f"{own}.attn.core", core, [y], {f"{own}.attn.core": tokens}, "Attention inside windows.")
        outputs = {f"{own}.attn.proj": tokens, f"{own}.norm2": tokens}
        doc = "Output projection of attention."
        x, y = g.operator(f"{own}.attn.proj", with_norm(proj, norm2), [y, x], outputs, doc)
        outputs = {f"{own}.mlp": tokens}
        doc = "Feed-forward half of the block."
        if index + 1 == len(blocks):
            (x,) = g.operator(f"{own}.mlp", mlp, [y, x], outputs, doc)
        else:
            norm1 = blocks[index + 1].norm1.lower(mlp.scale)
            outputs[f"{path}.{index + 1}.norm1"] = tokens
            x, y = g.operator(f"{own}.mlp", with_norm(mlp, norm1), [y, x], outputs, doc)
        s_x = mlp.scale
    return x, s_x


def _with_padding(core: Lowered, qkv: Lowered, stage: Stage) -> Lowered:
    """The attention with what qkv makes of the zeros around the grid."""
    padding = np.zeros(3 * stage.width, np.int8)
    if stage.padded:
        (padding,) = OPERATORS[qkv.operator].reference(np.zeros((1, stage.width), np.int8), **qkv.constants)
    return Lowered(core.operator, {**core.constants, "padding": padding}, core.scale, core.attributes)
