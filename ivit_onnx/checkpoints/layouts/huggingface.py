"""Hugging Face transformers: ViT and the networks that are a ViT with other names - DeiT, DINOv2, I-JEPA, MAE, MSN.

transformers 5 has two spellings of the same tensors: `encoder.layer.0.attention.attention.query` in files, as
transformers 4, and `layers.0.attention.q_proj` in a module. Both are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ivit_onnx.checkpoints.facts import PLAIN, Facts
from ivit_onnx.checkpoints.layouts.huggingface_config import class_names, config_facts, vision_config
from ivit_onnx.checkpoints.layouts.layout import Converted, Layout, Rule, join_qkv, leave_out, refuse_features, rename
from ivit_onnx.checkpoints.tensors import Tensors, shape_of
from ivit_onnx.errors import CheckpointError

__all__ = ["LAYOUTS"]

_TITLE = "ViT, DeiT, DINOv2, I-JEPA, MAE or MSN of Hugging Face transformers"
_MODEL_TYPES = ("vit", "deit", "dinov2", "dinov2_with_registers", "ijepa", "vit_mae", "vit_msn")

#: What a class with a head calls the network below it.
_NETWORK = r"(?:(?:vit|deit|dinov2|dinov2_with_registers|ijepa)\.)?"
_BLOCK = rf"{_NETWORK}(?:encoder\.)?layers?\.(\d+)\."
_END = r"\.(weight|bias)"

_RULES: tuple[Rule, ...] = (
    (rf"{_NETWORK}embeddings\.cls_token", "cls_token"),
    (rf"{_NETWORK}embeddings\.distillation_token", "dist_token"),
    (rf"{_NETWORK}embeddings\.register_tokens", "register_tokens"),
    (rf"{_NETWORK}embeddings\.position_embeddings", "pos_embed"),
    (rf"{_NETWORK}embeddings\.patch_embeddings\.projection{_END}", r"patch_embed.proj.\1"),
    (rf"{_BLOCK}(?:layernorm_before|norm1){_END}", r"blocks.\1.norm1.\2"),
    (rf"{_BLOCK}attention\.(?:attention\.query|q_proj){_END}", r"blocks.\1.attn.q.\2"),
    (rf"{_BLOCK}attention\.(?:attention\.key|k_proj){_END}", r"blocks.\1.attn.k.\2"),
    (rf"{_BLOCK}attention\.(?:attention\.value|v_proj){_END}", r"blocks.\1.attn.v.\2"),
    (rf"{_BLOCK}attention\.(?:output\.dense|o_proj){_END}", r"blocks.\1.attn.proj.\2"),
    (rf"{_BLOCK}layer_scale([12])\.lambda1", r"blocks.\1.ls\2.gamma"),
    (rf"{_BLOCK}(?:layernorm_after|norm2){_END}", r"blocks.\1.norm2.\2"),
    (rf"{_BLOCK}(?:intermediate\.dense|mlp\.fc1){_END}", r"blocks.\1.mlp.fc1.\2"),
    (rf"{_BLOCK}(?:output\.dense|mlp\.fc2){_END}", r"blocks.\1.mlp.fc2.\2"),
    (rf"{_NETWORK}layernorm{_END}", r"norm.\1"),
    (rf"(?:cls_)?classifier{_END}", r"head.\1"),
    (rf"distillation_classifier{_END}", r"head_dist.\1"),
)

#: Parts that the output does not depend on.
_LEFT_OUT = {
    rf"^{_NETWORK}pooler\.dense\.": "the pooler, which features are taken before",
    r"^decoder\.": "the decoder",
    rf"^{_NETWORK}embeddings\.mask_token$": "the mask token",
}

_FEATURES = {r"\.mlp\.(weights_in|weights_out|gate_proj|up_proj|down_proj)\.": "gated MLP (SwiGLU)"}


def _convert(tensors: Tensors, config: Mapping[str, Any]) -> Converted:
    """The head of DeiT without teacher reads the class token alone: its distillation token is one more register."""
    refuse_features(tensors, _FEATURES)
    kept, notes = leave_out(tensors, _LEFT_OUT)
    named = join_qkv(rename(kept, _RULES))
    patch = shape_of(named, "patch_embed.proj.weight", 4)[2]
    registers, scaled = "register_tokens" in named, "blocks.0.ls1.gamma" in named
    classes = shape_of(named, "head.weight", 2)[0] if "head.weight" in named else 0
    if classes and scaled and named["head.weight"].shape[1] == 2 * shape_of(named, "patch_embed.proj.weight", 4)[0]:
        raise CheckpointError(
            "not supported yet: a head on the class token and the mean of the patches (Dinov2ForImageClassification); "
            "pass --prefix dinov2 (or dinov2_with_registers) to take the features below it"
        )
    if "dist_token" in named and "head_dist.weight" not in named:
        named["reg_token"] = named.pop("dist_token")
    own = vision_config(config, _MODEL_TYPES)
    told = Facts.told(
        _TITLE,
        pool="token" if "cls_token" in named else "avg",
        blocks=PLAIN,
        # Of these networks, only DINOv2 with registers interpolates with antialiasing, as timm does.
        position_resize="timm" if registers else "huggingface",
    )
    facts = config_facts(own, "dinov2" if scaled else "vit", patch) | told | class_names(config, classes)
    return Converted(named, facts, notes)


LAYOUTS = (
    Layout(_TITLE, rf"{_NETWORK}embeddings\.position_embeddings", _convert, (*_MODEL_TYPES, "vision-encoder-decoder")),
)
