"""Hugging Face transformers: Swin, in both spellings of transformers 5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ivit_onnx.checkpoints.facts import PLAIN, Facts
from ivit_onnx.checkpoints.layouts.huggingface_config import class_names, config_facts, vision_config
from ivit_onnx.checkpoints.layouts.layout import Converted, Layout, Rule, join_qkv, leave_out, refuse_features, rename
from ivit_onnx.checkpoints.tensors import Tensors, shape_of

__all__ = ["LAYOUTS"]

_TITLE = "Swin of Hugging Face transformers"

_NETWORK = r"(?:swin\.)?"
_BLOCK = rf"{_NETWORK}encoder\.layers\.(\d+)\.blocks\.(\d+)\."
_END = r"\.(weight|bias)"

#: To the names of the original code, which counts patch mergings as transformers does.
_RULES: tuple[Rule, ...] = (
    (rf"{_NETWORK}embeddings\.patch_embeddings\.projection{_END}", r"patch_embed.proj.\1"),
    (rf"{_NETWORK}embeddings\.norm{_END}", r"patch_embed.norm.\1"),
    (rf"{_BLOCK}layernorm_before{_END}", r"layers.\1.blocks.\2.norm1.\3"),
    (rf"{_BLOCK}attention\.(?:self\.query|q_proj){_END}", r"layers.\1.blocks.\2.attn.q.\3"),
    (rf"{_BLOCK}attention\.(?:self\.key|k_proj){_END}", r"layers.\1.blocks.\2.attn.k.\3"),
    (rf"{_BLOCK}attention\.(?:self\.value|v_proj){_END}", r"layers.\1.blocks.\2.attn.v.\3"),
    (rf"{_BLOCK}attention\.(?:output\.dense|o_proj){_END}", r"layers.\1.blocks.\2.attn.proj.\3"),
    (
        rf"{_BLOCK}attention\.(?:self|relative_position_bias)\.(relative_position_(?:bias_table|index))",
        r"layers.\1.blocks.\2.attn.\3",
    ),
    (rf"{_BLOCK}layernorm_after{_END}", r"layers.\1.blocks.\2.norm2.\3"),
    (rf"{_BLOCK}(?:intermediate\.dense|mlp\.fc1){_END}", r"layers.\1.blocks.\2.mlp.fc1.\3"),
    (rf"{_BLOCK}(?:output\.dense|mlp\.fc2){_END}", r"layers.\1.blocks.\2.mlp.fc2.\3"),
    (rf"{_NETWORK}encoder\.layers\.(\d+)\.downsample\.(norm|reduction){_END}", r"layers.\1.downsample.\2.\3"),
    (rf"{_NETWORK}layernorm{_END}", r"norm.\1"),
    (rf"classifier{_END}", r"head.\1"),
)

_LEFT_OUT = {r"^decoder\.": "the decoder", rf"^{_NETWORK}embeddings\.mask_token$": "the mask token"}

_FEATURES = {
    r"^hidden_states_norms\.": "outputs of several stages, each with a normalisation (SwinBackbone)",
}


def _convert(tensors: Tensors, config: Mapping[str, Any]) -> Converted:
    refuse_features(tensors, _FEATURES)
    kept, notes = leave_out(tensors, _LEFT_OUT)
    named = join_qkv(rename(kept, _RULES))
    patch = shape_of(named, "patch_embed.proj.weight", 4)[2]
    classes = shape_of(named, "head.weight", 2)[0] if "head.weight" in named else 0
    own = vision_config(config, ("swin",))
    facts = config_facts(own, "swin", patch) | Facts.told(_TITLE, pool="avg", blocks=PLAIN)
    return Converted(named, facts | class_names(config, classes), notes)


LAYOUTS = (Layout(_TITLE, rf"{_NETWORK}embeddings\.norm\.weight", _convert, ("swin", "vision-encoder-decoder")),)
