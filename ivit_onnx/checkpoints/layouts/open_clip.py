"""open_clip, and OpenAI's own code of CLIP: the image encoder of a CLIP, which they call `visual`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ivit_onnx.checkpoints.facts import ASSUMED, PLAIN, Facts
from ivit_onnx.checkpoints.layouts import timm
from ivit_onnx.checkpoints.layouts.huggingface_clip import add_projection
from ivit_onnx.checkpoints.layouts.huggingface_config import config_facts, vision_config
from ivit_onnx.checkpoints.layouts.layout import (
    Converted,
    Layout,
    Rule,
    lead_with_ones,
    leave_out,
    refuse_features,
    rename,
)
from ivit_onnx.checkpoints.tensors import Tensors, shape_of
from ivit_onnx.errors import CheckpointError

__all__ = ["LAYOUTS"]

_TITLE = "CLIP's image encoder of open_clip or OpenAI"
_TIMM = "timm network in open_clip"
_ORIGIN = "open_clip_config.json"
_TOWER, _TRUNK = "visual.", "visual.trunk."

_BLOCK = r"transformer\.resblocks\.(\d+)\."
_END = r"\.(weight|bias)"
_RULES: tuple[Rule, ...] = (
    (r"class_embedding", "cls_token"),
    (r"positional_embedding", "pos_embed"),
    (rf"conv1{_END}", r"patch_embed.proj.\1"),
    (rf"ln_pre{_END}", r"norm_pre.\1"),
    (rf"{_BLOCK}ln_([12]){_END}", r"blocks.\1.norm\2.\3"),
    (rf"{_BLOCK}attn\.in_proj_(weight|bias)", r"blocks.\1.attn.qkv.\2"),
    (rf"{_BLOCK}attn\.out_proj{_END}", r"blocks.\1.attn.proj.\2"),
    (rf"{_BLOCK}mlp\.c_fc{_END}", r"blocks.\1.mlp.fc1.\2"),
    (rf"{_BLOCK}mlp\.c_proj{_END}", r"blocks.\1.mlp.fc2.\2"),
    (rf"{_BLOCK}ls_([12])\.gamma", r"blocks.\1.ls\2.gamma"),
    (rf"ln_post{_END}", r"norm.\1"),
)

#: The rest of a CLIP, by names that do not begin with `visual.`.
_LEFT_OUT = {
    r"^(transformer|token_embedding|ln_final|text|text_decoder)\.": "the text tower",
    r"^(positional_embedding|text_projection|attn_mask|cls_emb)$": "parameters of the text tower",
    r"^logit_(scale|bias)$": "scale and bias of similarities",
    r"^(input_resolution|context_length|vocab_size)$": "sizes of CLIP",
}

_FEATURES = {
    r"^attn_pool": "attention pooling",
    r"\.attn\.(ln_q|ln_k|logit_scale|head_scale)|\.ln_attn\.|\.attn\.q_proj_weight$": "scaled or normalised attention",
    r"\.mlp\.ln\.": "normalisation inside attention or MLP",
}
_TIMM_FEATURES = {r"^visual\.head\.mlp\.": "a projection of two layers (timm_proj mlp)"}


def _convert(tensors: Tensors, config: Mapping[str, Any]) -> Converted:
    """With quick_gelu, as OpenAI's networks have it, tensors are the same: only OpenAI's own files have its sizes."""
    own, notes = _tower(tensors, _TOWER)
    refuse_features(own, _FEATURES)
    projection = own.pop("proj", None)
    named = rename(own, _RULES)
    lead_with_ones(named, "cls_token", 1)
    lead_with_ones(named, "pos_embed", 2)
    width, _, patch, _ = shape_of(named, "patch_embed.proj.weight", 4)
    if projection is not None:
        columns = shape_of({"proj": projection}, "proj", 2)[1]
        notes = (*notes, add_projection(named, projection.T.reshape(columns, -1)))
    vision = config.get("vision_cfg")
    if isinstance(vision, Mapping):
        told = _told(config, vision, width)
        if vision.get("final_ln_after_pool") and told.value("pool") == "avg":
            named = rename(named, ((r"norm\.(weight|bias)", r"fc_norm.\1"),))
    elif "context_length" in tensors:
        told = Facts.told("OpenAI's file", act="quick_gelu", eps=1e-5)
    else:
        # Some repositories have the same network in transformers' layout too, with its configuration.
        own_config = vision_config(config, ("clip_vision_model",))
        told = config_facts(own_config, "clip_vision_model", patch) if own_config else Facts()
    pool = Facts.told(_TITLE if config or "context_length" in tensors else ASSUMED, pool="token")
    return Converted(named, told | pool | Facts.told(_TITLE, blocks=PLAIN), notes)


def _trunk(tensors: Tensors, config: Mapping[str, Any]) -> Converted:
    """A network of timm, to which open_clip may add a projection."""
    refuse_features(tensors, _TIMM_FEATURES)
    own, notes = _tower(tensors, _TRUNK)
    projection, bias = own.pop("visual.head.proj.weight", None), own.pop("visual.head.proj.bias", None)
    converted = timm.convert(own, {})
    named = dict(converted.tensors)
    if projection is not None:
        head = "head.fc" if any(name.startswith("layers.") for name in named) else "head"
        named |= {} if bias is None else {f"{head}.bias": bias}
        notes = (*notes, add_projection(named, projection, head))
    vision = config.get("vision_cfg")
    name, pool = (
        (vision.get("timm_model_name"), vision.get("timm_pool")) if isinstance(vision, Mapping) else (None, None)
    )
    told = Facts.told(_ORIGIN, name=name if isinstance(name, str) else None, pool=pool or None)
    return Converted(named, told | converted.facts, (*notes, *converted.notes))


def _tower(tensors: Tensors, prefix: str) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """The image encoder without the prefix of its names, where it has one, and a note about the text encoder."""
    if not any(name.startswith(prefix) for name in tensors):
        return dict(tensors), ()
    beside, notes = leave_out({name: t for name, t in tensors.items() if not name.startswith(prefix)}, _LEFT_OUT)
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)} | beside, notes


def _told(config: Mapping[str, Any], vision: Mapping[str, Any], width: int) -> Facts:
    """What the `model_cfg` of open_clip says; it has a default for all that may be absent."""
    head_width = vision.get("head_width", 64)
    if isinstance(head_width, bool) or not isinstance(head_width, int) or head_width < 1 or width % head_width:
        raise CheckpointError(f"{_ORIGIN}: expected a head_width that divides {width}, found {head_width!r}")
    act = "quick_gelu" if config.get("quick_gelu") else "gelu"
    if vision.get("act_kwargs"):
        act = (
            "gelu_tanh"
            if vision["act_kwargs"] == {"approximate": "tanh"} and act == "gelu"
            else str(vision["act_kwargs"])
        )
    norm = vision.get("norm_kwargs")
    eps = norm.get("eps", 1e-5) if isinstance(norm, Mapping) else 1e-5
    if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 < eps < 1:
        raise CheckpointError(f"{_ORIGIN}: expected a number between 0 and 1 as eps, found {eps!r}")
    pool = {"tok": "token"}.get(vision.get("pool_type", "tok"), vision.get("pool_type"))
    size = vision.get("image_size", 224)
    pair = tuple(size) if isinstance(size, list) else (size, size)
    return Facts.told(
        _ORIGIN,
        heads=width // head_width,
        act=act,
        eps=float(eps),
        pool=pool,
        image_size=pair[0] if len(set(pair)) == 1 else pair,
    )


LAYOUTS = (
    Layout(_TITLE, r"(?:visual\.)?(?<!embeddings\.)class_embedding", _convert, ("clip", "clip_vision_model")),
    Layout(_TIMM, r"visual\.trunk\.patch_embed\.proj\.weight", _trunk, ("clip",)),
)
