"""Hugging Face transformers: the image encoders of CLIP and SigLIP.

Names begin with `vision_model.` but in what transformers 5 writes for the encoder alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ivit_onnx.checkpoints.facts import PLAIN, Facts
from ivit_onnx.checkpoints.layouts.huggingface_config import class_names, config_facts, vision_config
from ivit_onnx.checkpoints.layouts.layout import Converted, Layout, Rule, join_qkv, lead_with_ones, leave_out, rename
from ivit_onnx.checkpoints.tensors import Tensors, check_dense, shape_of
from ivit_onnx.errors import CheckpointError

__all__ = ["LAYOUTS", "add_projection"]

_CLIP = "CLIP's image encoder of Hugging Face transformers"
_SIGLIP = "SigLIP with a classifier of Hugging Face transformers"
_CLIP_TYPE, _SIGLIP_TYPE = "clip_vision_model", "siglip_vision_model"

_NETWORK = r"(?:vision_model\.)?"
_BLOCK = rf"{_NETWORK}encoder\.layers\.(\d+)\."
_END = r"\.(weight|bias)"

_RULES: tuple[Rule, ...] = (
    (rf"{_NETWORK}embeddings\.class_embedding", "cls_token"),
    (rf"{_NETWORK}embeddings\.position_embedding\.weight", "pos_embed"),
    (rf"{_NETWORK}embeddings\.patch_embedding{_END}", r"patch_embed.proj.\1"),
    (rf"{_NETWORK}pre_layrnorm{_END}", r"norm_pre.\1"),
    (rf"{_BLOCK}layer_norm([12]){_END}", r"blocks.\1.norm\2.\3"),
    (rf"{_BLOCK}self_attn\.([qkv])_proj{_END}", r"blocks.\1.attn.\2.\3"),
    (rf"{_BLOCK}self_attn\.out_proj{_END}", r"blocks.\1.attn.proj.\2"),
    (rf"{_BLOCK}mlp\.fc([12]){_END}", r"blocks.\1.mlp.fc\2.\3"),
    (rf"{_NETWORK}post_layernorm{_END}", r"norm.\1"),
    (rf"classifier{_END}", r"head.\1"),
)

_LEFT_OUT = {
    r"^(text_model|text_projection)\.": "the text tower",
    r"^logit_(scale|bias)$": "scale and bias of similarities",
    rf"^{_NETWORK}embeddings\.position_ids$": "the numbers of positions",
}


def add_projection(named: dict[str, torch.Tensor], projection: torch.Tensor, head: str = "head") -> str:
    """Make a projection [features, width] without bias the head of a network; returns a note about it."""
    check_dense(f"{head}.weight", projection)
    shape_of({"projection": projection}, "projection", 2)
    named[f"{head}.weight"] = projection
    named.setdefault(f"{head}.bias", projection.new_zeros(len(projection)))
    return f"the output has the {len(projection)} features of the projection"


def _clip(tensors: Tensors, config: Mapping[str, Any]) -> Converted:
    if "classifier.weight" in tensors:
        raise CheckpointError(
            "not supported yet: CLIPForImageClassification, whose head reads the mean of patches without the final "
            "normalisation; pass --prefix vision_model to take the features of the class token"
        )
    kept, notes = leave_out(tensors, _LEFT_OUT)
    projection = kept.pop("visual_projection.weight", None)
    named = join_qkv(rename(kept, _RULES))
    lead_with_ones(named, "cls_token", 1)
    if projection is not None:
        notes = (*notes, add_projection(named, projection))
    return Converted(named, _facts(named, config, _CLIP, _CLIP_TYPE, "token"), notes)


def _siglip(tensors: Tensors, config: Mapping[str, Any]) -> Converted:
    """The classifier reads the mean of the normalised tokens; the MAP head in the file is not used."""
    if "classifier.weight" not in tensors:
        raise CheckpointError(
            "not supported yet: attention pooling, the MAP head of SigLIP; SiglipForImageClassification is read, whose "
            "classifier reads the mean of the tokens"
        )
    head = "the MAP head, which the classifier does not use"
    kept, notes = leave_out(tensors, {**_LEFT_OUT, rf"^{_NETWORK}head\.": head})
    named = join_qkv(rename(kept, _RULES))
    if len(named.get("patch_embed.proj.weight", torch.zeros(0)).shape) == 2:
        raise CheckpointError("not supported yet: SigLIP 2 NaFlex, whose images have any number of patches")
    labels = class_names(config, shape_of(named, "head.weight", 2)[0])
    return Converted(named, _facts(named, config, _SIGLIP, _SIGLIP_TYPE, "avg") | labels, notes)


def _facts(named: dict[str, torch.Tensor], config: Mapping[str, Any], title: str, model_type: str, pool: str) -> Facts:
    """What is known of the network; the position table gets its first axis."""
    lead_with_ones(named, "pos_embed", 2)
    patch = shape_of(named, "patch_embed.proj.weight", 4)[2]
    told = Facts.told(title, pool=pool, blocks=PLAIN, position_resize="huggingface")
    return config_facts(vision_config(config, (model_type,)), model_type, patch) | told


LAYOUTS = (
    Layout(_CLIP, rf"{_NETWORK}embeddings\.class_embedding", _clip, (_CLIP_TYPE, "clip")),
    Layout(_SIGLIP, rf"{_NETWORK}embeddings\.patch_embedding\.bias", _siglip, (_SIGLIP_TYPE, "siglip")),
)
