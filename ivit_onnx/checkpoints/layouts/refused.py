"""Networks that are not read, by name: one table, and what is said of tensors that nobody here knows.

A network is told by the `model_type` of transformers' `config.json`, else by names of tensors.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ivit_onnx.errors import CheckpointError

__all__ = ["REFUSED", "Refused", "refuse_known", "shown"]

_MOST_SHOWN = 4


@dataclass(frozen=True)
class Refused:
    """A network: `why` it is not read, and what tells it.

    `model_types`: a pattern of the model types of transformers, "" where there is none. `names`: patterns of names of
    tensors, each of which has to be found.
    """

    title: str
    why: str
    model_types: str
    names: tuple[str, ...]


def _row(title: str, why: str, model_types: str, *names: str) -> Refused:
    return Refused(title, why, model_types, names)


_STAGES = "outputs of several stages"
_CONVOLUTIONS = "a network of convolutions"
_CONV_STEM = "convolutions between or before its blocks"
_ROPE = "rotary position embedding (rope)"
_DECODER = "an encoder whose output is read by a decoder that is not supported"

#: In this order: the first one that fits is said.
REFUSED: tuple[Refused, ...] = (
    _row(
        "an adapter (LoRA)",
        "merge it into its network first, as merge_and_unload() of peft does",
        "",
        r"\.lora_[AB](\.|$)",
    ),
    _row(
        "a quantised checkpoint",
        "give the floating-point one that it was made from",
        "",
        r"\.(qweight|qzeros|SCB|weight_scale(_inv)?|weight\.(absmax|quant_map|quant_state\S*))$",
    ),
    _row(
        "a parametrized network",
        "make its weights plain first: torch.nn.utils.parametrize.remove_parametrizations, or remove_weight_norm",
        "",
        # The last layers of DINO's projection heads are, and are left out.
        r"^(?!\S*(last_layer|_head)\.)\S+\.(parametrizations\.\S+|weight_[gv])$",
    ),
    _row(
        "a pruned network",
        "make pruning permanent first: torch.nn.utils.prune.remove",
        "",
        r"(blocks|layers?)\.\d+\.\S+\.weight_(orig|mask)$",
    ),
    _row("a TensorFlow checkpoint", "give the PyTorch one", "", r"^\S+/(kernel|bias|gamma|beta)(:0)?$|:0$"),
    _row(
        "SAM 2, SAM 3 or Hiera",
        "pooling of queries and windows of several sizes",
        "sam2.*|sam3.*|hiera|edgetam.*",
        r"(^|\.)pos_embed_win(dow)?$|(^|\.)hiera\.|(^|\.)encoder\.stages\.\d+\.layers\.\d+\.attn\.qkv\.",
    ),
    _row(
        "the image encoder of SAM, or a ViTDet",
        "relative position bias that depends on queries",
        "sam|sam_hq.*|sam_vision_model|vitdet",
        r"\.attn\.rel_pos_[hw]$|(^|\.)attention\.rel_pos_[hw]$",
    ),
    _row(
        "SegFormer",
        _CONV_STEM,
        "segformer",
        r"(^|\.)segformer\.|(^|\.)(stages\.0\.patch_embeddings|encoder\.patch_embeddings\.0)\.proj\.weight$",
    ),
    _row(
        "DPT or Depth Anything",
        _DECODER,
        "dpt|.*depth_anything|zoedepth|depth_pro",
        r"(^|\.)(dpt|depth_head)\.|(^|\.)neck\.reassemble_stage\.|(^|\.)scratch\.(refinenet|layer\d_rn)",
    ),
    _row("BEiT-3", "normalisation inside attention or MLP", "beit3", r"(^|\.)beit3\."),
    _row("data2vec-vision", "relative position bias", "data2vec-vision", r"(^|\.)data2vec_vision\."),
    _row(
        "BEiT",
        "relative position bias",
        "beit",
        r"(^|\.)beit\.|(^|\.)encoder\.layer\.\d+\..*relative_position_bias_table$|(^|\.)encoder\.relative_position_bias\.",
    ),
    _row(
        "BEiT, data2vec-vision or InternViT",
        "relative position bias, or no final normalisation",
        "",
        r"(^|\.)layers?\.\d+\.lambda_1$",
    ),
    _row(
        "EVA-02 or EVA-CLIP",
        f"{_ROPE} and gated MLPs (SwiGLU)",
        "eva.*",
        r"(^|\.)rope\.freqs_(cos|sin)$|\.attn\.inner_attn_ln\.|\.mlp\.ffn_ln\.",
    ),
    _row(
        "DINOv3",
        _ROPE,
        "dinov3_vit",
        r"(^|\.)rope_embed\.periods$|(^|\.)storage_tokens$",
    ),
    _row(
        "DINOv3", _ROPE, "", r"(^|\.)embeddings\.patch_embeddings\.weight$", r"(^|\.)layer\.\d+\.layer_scale1\.lambda1$"
    ),
    _row(
        "Swin V2",
        "cosine attention",
        "swinv2|swin2sr",
        r"(^|\.)attention\.(self\.)?logit_scale$|continuous_position_bias_mlp\.|(^|\.)features\.\d+\.\d+\.attn\.logit_scale$",
    ),
    _row(
        "Swin with an absolute position embedding",
        "a table of positions on top of that of windows",
        "",
        r"(^|\.)embeddings\.position_embeddings$",
        r"(^|\.)embeddings\.norm\.weight$",
    ),
    _row("Donut", _DECODER, "donut-swin", r"^encoder\.embeddings\.norm\.weight$", r"^decoder\.model\.decoder\."),
    _row(
        "Mask2Former, MaskFormer or OneFormer",
        _STAGES,
        "mask2former|maskformer.*|oneformer",
        r"(^|\.)pixel_level_module\.",
    ),
    _row("Swin as the backbone of a detector or a segmenter", _STAGES, "", r"(^|\.)hidden_states_norms\.stage"),
    _row(
        "Swin as the backbone of a detector or a segmenter",
        _STAGES,
        "",
        r"^([a-z_]+\.)*norm[0-3]\.weight$",
        r"^([a-z_]+\.)*layers\.0\.blocks\.0\.",
    ),
    _row("OWL-ViT or OWLv2", "boxes and queries", "owlvit|owlv2", r"(^|\.)owl(vit|v2)\."),
    _row("YOLOS", "tokens for boxes", "yolos", r"\.detection_tokens$"),
    _row(
        "RF-DETR, DETR or another network for boxes",
        _DECODER,
        "rf_detr|.*detr.*|d_fine|grounding-dino",
        r"(^|\.)(bbox_embed|class_embed|bbox_predictor)\.",
    ),
    _row("SigLIP 2 NaFlex", "images of any number of patches", "siglip2.*", r"(^|\.)embeds\.proj\.weight$"),
    _row(
        "a Perception Encoder",
        f"{_ROPE} and attention pooling",
        "perception_encoder.*|pe_.*",
        r"(^|\.)attn_pool\.probe$",
    ),
    _row(
        "RADIO",
        "patches from a linear layer, no final normalisation",
        "radio",
        r"(^|\.)(radio_model|patch_generator)\.",
    ),
    _row(
        "AIMv2",
        "gated MLP (SwiGLU) and RMSNorm",
        "aimv2.*",
        r"(^|\.)preprocessor\.patchifier\.|(^|\.)embeddings\.rms_norm\.",
    ),
    _row("InternViT", "no final normalisation", "intern.*", r"(^|\.)encoder\.layers\.\d+\.ls1$"),
    _row(
        "BLIP",
        "one matrix for queries, keys and values in CLIP's layout",
        "blip.*|instructblip.*",
        r"(^|\.)encoder\.layers\.\d+\.self_attn\.qkv\.",
    ),
    _row("CLIPSeg", _DECODER, "clipseg", r"^decoder\.(film_mul|reduces)\."),
    _row("CLIP with a ResNet", _CONVOLUTIONS, "", r"^visual\.(attnpool|layer1\.0\.conv1)\."),
    _row("a CLIP of timm convolutions in open_clip", _CONVOLUTIONS, "", r"^visual\.trunk\.(stem|stages)\."),
    _row(
        "a network for videos or sounds",
        "input that is no image",
        "videomae|timesformer|vivit|vjepa2|xclip|audio-spectrogram-transformer|clap",
    ),
    _row("MaxViT or CoAtNet", _CONV_STEM, "maxvit|coatnet", r"\.(attn_block|attn_grid|layers\.MBconv)\."),
    _row("MViT", "pooling of queries and keys", "mvit.*", r"(^|\.)blocks\.\d+\.attn\.(pool_|norm_k\.)"),
    _row("MobileViT", _CONV_STEM, "mobilevit.*", r"(^|\.)mobilevit(v2)?\."),
    _row("LeViT", _CONV_STEM, "levit", r"(^|\.)levit\.|(^|\.)attention_bias_idxs$"),
    _row(
        "PVT", "attention on fewer keys", "pvt.*", r"(^|\.)pvt(_v2)?\.|(^|\.)stages\.\d+\.blocks\.\d+\.attn\.(kv|sr)\."
    ),
    _row("FocalNet", "convolutions in place of attention", "focalnet", r"\.modulation\.(projection_in|f)\."),
    _row("CvT", _CONV_STEM, "cvt", r"(^|\.)cvt\."),
    _row("PoolFormer", "pooling in place of attention", "poolformer", r"(^|\.)poolformer\."),
    _row(
        "ConvNeXt",
        _CONVOLUTIONS,
        "convnext.*|dinov3_convnext",
        r"(^|\.)convnext(v2)?\.|(^|\.)stages\.\d+\.(blocks\.)?\d+\.(conv_dw|dwconv)\.|(^|\.)features\.\d+\.\d+\.layer_scale$",
    ),
    _row(
        "a ViT with convolutions in front",
        _CONV_STEM,
        "vit-hybrid|bit",
        r"(^|\.)conv_proj\.conv_bn_relu_0\.|(^|\.)patch_embeddings\.backbone\.",
    ),
    _row(
        "EfficientNet or another network of inverted bottlenecks",
        _CONVOLUTIONS,
        "efficientnet|mobilenet.*|regnet",
        r"(^|\.)blocks\.\d+\.\d+\.(conv_(dw|pw|pwl)|bn1)\.|(^|\.)features\.\d+\.\d+\.(block|conv)\.",
    ),
    _row(
        "ResNet",
        _CONVOLUTIONS,
        "resnet",
        r"(^|\.)layer1\.0\.conv1\.weight$|(^|\.)encoder\.stages\.0\.layers\.0\.layer\.0\.convolution\.",
    ),
)

#: Networks for text, where there is none for images beside them.
_TEXT = (
    r"(^|\.)(word_embeddings|token_embedding|embed_tokens|wte|shared)\.weight$",
    r"bert|roberta|xlm-roberta|distilbert|albert|electra|deberta.*|mpnet|gpt.*|opt|llama.*|mistral.*|mixtral|qwen\d*(_moe)?|"
    r"phi\d*|gemma\d*|t5|mt5|umt5|bart|mbart|marian|bloom|falcon|mamba\d*|clip_text_model|siglip_text_model",
)


def refuse_known(title: str, names: Iterable[str], config: Mapping[str, Any]) -> None:
    """Raise CheckpointError when the network is one of the table.

    `title`: of the source, in messages; `names`: of its tensors; `config`: of transformers, {} where there is none.
    """
    types = _model_types(config)
    for refused in REFUSED:
        found = next((kind for kind in types if kind and re.fullmatch(refused.model_types, kind)), None)
        if found is not None:
            raise CheckpointError(f"{title} is {refused.title} (model_type {found}), not supported: {refused.why}")
    if config.get("quantization_config"):
        raise CheckpointError(f"{title} is a quantised checkpoint (quantization_config); give the floating-point one")
    shards = re.search(r"-\d{5}-of-(\d{5})\.\w+$", title)
    if shards is not None and int(shards[1]) > 1:
        raise CheckpointError(
            f"{title} is one of {int(shards[1])} files of a checkpoint; give the folder, or the index.json"
        )
    listed = "\n".join(names)
    for refused in REFUSED:
        matches = [re.search(pattern, listed, re.MULTILINE) for pattern in refused.names]
        if matches and (first := matches[0]) is not None and all(matches):
            start, end = listed.rfind("\n", 0, first.start() + 1) + 1, listed.find("\n", first.start() + 1)
            name = listed[start : end if end >= 0 else None]
            raise CheckpointError(f"{title} is {refused.title}, not supported: {refused.why} (found tensor {name})")


def shown(names: Iterable[str], config: Mapping[str, Any]) -> str:
    """What stands in a source that no layout fits: the groups of tensors, the largest first, and what they may be."""
    names = list(names)
    groups = Counter(_group(name) for name in names)
    parts = [f"{group} ({count})" if count > 1 else group for group, count in groups.most_common(_MOST_SHOWN)]
    found = f"found {', '.join(parts)}{', ...' if len(groups) > _MOST_SHOWN else ''}" if parts else "found no tensor"
    pattern, model_types = _TEXT
    types = _model_types(config)
    if any(re.fullmatch(model_types, kind) for kind in types) or any(re.search(pattern, name) for name in names):
        return f"a text model has no images: {found}"
    said = f", and model_type {types[0]!r} in config.json" if types else ""
    return f"{found}{said}"


def _group(name: str) -> str:
    """The names that a tensor is shown with: those with the same beginning, up to the first number."""
    path = name.split(".")
    numbered = next((index for index, part in enumerate(path) if part.isdigit()), 1)
    return name if len(path) == 1 else ".".join(path[: max(1, min(numbered, 3))]) + ".*"


def _model_types(config: Mapping[str, Any]) -> list[str]:
    """The model types in a configuration, that of the whole first."""
    parts = (config, *(config.get(key) for key in ("vision_config", "encoder", "backbone_config")))
    types = (part.get("model_type") for part in parts if isinstance(part, Mapping))
    return [kind for kind in types if isinstance(kind, str)]
