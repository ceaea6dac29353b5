"""timm's own names, and those of the authors of DeiT, DeiT III, MAE, DINO, DINOv2, I-JEPA, MoCo v3, iBOT, EVA and Swin.

They are nearly the same; what differs, and what the families do not know of, is changed here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from ivit_onnx.checkpoints.facts import Facts
from ivit_onnx.checkpoints.layouts.layout import Converted, Layout, Rule, join_qkv, leave_out, refuse_features, rename
from ivit_onnx.checkpoints.tensors import Tensors, shape_of
from ivit_onnx.errors import CheckpointError

__all__ = ["LAYOUTS", "convert"]

_TITLE = "ViT or Swin in timm's naming, or that of their authors"

#: DINOv2 in chunks of blocks, whose numbers count all blocks; EVA, whose keys have no bias.
_RULES: tuple[Rule, ...] = (
    (r"blocks\.\d+\.(\d+)\.(.+)", r"blocks.\1.\2"),
    (r"(.+\.attn)\.([qkv])_bias", r"\1.\2.bias"),
)

_LEFT_OUT = {
    r"^(mask_token|masked_embed)$": "the mask token",
    r"^decoder_(pos_embed|embed|blocks|norm|pred)(\.|$)": "the decoder",
    r"^head\.(mlp|last_layer\w*)\.": "the projection head of self-supervised training",
}
_PROJECTOR = {r"^head\.\d+\.": "the projection head of self-supervised training"}

#: Width and depth of EVA-02 enormous, the one EVA that normalises after each branch.
_POST_NORM = (1792, 64)

_FEATURES = {
    r"\.attn\.relative_position_(index|bias_table)$|(^|\.)(shared_)?rel_pos(_bias)?\.": "relative position bias",
}


def convert(tensors: Tensors, config: Mapping[str, Any]) -> Converted:
    """Nearly as they are: the families know the old spellings."""
    del config
    if any(name.startswith("layers.") for name in tensors):
        kept, notes = leave_out(tensors, {r"^mask_token$": "the mask token"})
        return Converted(kept, Facts(), notes)
    # MoCo v3 has a projection in place of the classifier; that of a linear probe begins with its normalisation.
    projector = "head.1.running_mean" in tensors and "head.0.running_mean" not in tensors
    kept, notes = leave_out(tensors, {**_LEFT_OUT, **(_PROJECTOR if projector else {})})
    refuse_features(kept, _FEATURES)
    if "pos_embed" not in kept and "blocks.0.norm1.weight" in kept:
        raise CheckpointError(
            "not supported yet: a network without position table (pos_embed), as DINOv3 with its rotary position "
            "embedding (rope)"
        )
    named = _joined_biases(rename(kept, _RULES))
    return Converted(named, _resizing(tensors), notes)


def _joined_biases(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Biases of queries and values as those of qkv, which are zero for keys."""
    if not any(re.search(r"\.attn\.[qkv]\.bias$", name) for name in tensors):
        return tensors
    width = shape_of(tensors, "patch_embed.proj.weight", 4)[0]
    depth = sum(name.endswith(".norm1.weight") for name in tensors)
    if (width, depth) == _POST_NORM:
        raise CheckpointError("not supported yet: normalisation after each branch (res-post-norm), as EVA-02 enormous")
    return join_qkv(tensors)


def _resizing(tensors: Tensors) -> Facts:
    """How DINOv2 resizes its position table: with antialiasing only where it has registers."""
    if not {"mask_token", "pos_embed"} <= tensors.keys() or not any(
        re.search(r"\.ls1\.gamma$", name) for name in tensors
    ):
        return Facts()
    return Facts.told("DINOv2", position_resize="timm" if "register_tokens" in tensors else "dinov2")


LAYOUTS = (Layout(_TITLE, r"(?<!visual\.trunk\.)patch_embed\.proj\.weight", convert, ("timm_wrapper",)),)
