"""torchvision: ViT and Swin.

What torchvision's own weights share: images are normalised by the mean and standard deviation of ImageNet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from ivit_onnx.architectures import IMAGENET_MEAN, IMAGENET_STD
from ivit_onnx.checkpoints.facts import PLAIN, Facts
from ivit_onnx.checkpoints.layouts.layout import Converted, Layout, Rule, rename
from ivit_onnx.checkpoints.tensors import Tensors

__all__ = ["LAYOUTS"]

_VIT, _SWIN = "ViT of torchvision", "Swin of torchvision"
_BLOCK = r"encoder\.layers\.encoder_layer_(\d+)\."
_END = r"\.(weight|bias)"

#: Older versions call the layers of the MLP linear_1 and linear_2.
_VIT_RULES: tuple[Rule, ...] = (
    (r"class_token", "cls_token"),
    (r"encoder\.pos_embedding", "pos_embed"),
    (rf"conv_proj{_END}", r"patch_embed.proj.\1"),
    (rf"{_BLOCK}ln_([12]){_END}", r"blocks.\1.norm\2.\3"),
    (rf"{_BLOCK}self_attention\.in_proj_(weight|bias)", r"blocks.\1.attn.qkv.\2"),
    (rf"{_BLOCK}self_attention\.out_proj{_END}", r"blocks.\1.attn.proj.\2"),
    (rf"{_BLOCK}mlp\.(?:0|linear_1){_END}", r"blocks.\1.mlp.fc1.\2"),
    (rf"{_BLOCK}mlp\.(?:3|linear_2){_END}", r"blocks.\1.mlp.fc2.\2"),
    (rf"encoder\.ln{_END}", r"norm.\1"),
    (rf"heads\.head{_END}", r"head.\1"),
    (rf"heads\.pre_logits{_END}", r"pre_logits.\1"),
)

#: To the names of the original code. Features alternate: blocks of a stage, patch merging after it.
_SWIN_RULES: tuple[Rule, ...] = (
    (rf"features\.0\.0{_END}", r"patch_embed.proj.\1"),
    (rf"features\.0\.2{_END}", r"patch_embed.norm.\1"),
    (r"features\.(\d+)\.(norm|reduction)\.(.*)", lambda m: f"layers.{int(m[1]) // 2 - 1}.downsample.{m[2]}.{m[3]}"),
    (
        r"features\.(\d+)\.(\d+)\.(.*)",
        lambda m: (
            f"layers.{int(m[1]) // 2}.blocks.{m[2]}." + m[3].replace("mlp.0", "mlp.fc1").replace("mlp.3", "mlp.fc2")
        ),
    ),
)


def _vit(tensors: Tensors, config: Mapping[str, Any]) -> Converted:
    del config
    told = Facts.told(_VIT, pool="token", act="gelu", eps=1e-6, blocks=PLAIN, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    return Converted(rename(tensors, _VIT_RULES), told)


def _swin(tensors: Tensors, config: Mapping[str, Any]) -> Converted:
    """Numbers of offsets are a vector in torchvision, [T * T], and a matrix elsewhere, [T, T]."""
    del config
    named = rename(tensors, _SWIN_RULES)
    for name, tensor in named.items():
        if name.endswith("relative_position_index"):
            named[name] = _square(tensor)
    told = Facts.told(_SWIN, pool="avg", act="gelu", eps=1e-5, blocks=PLAIN, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    return Converted(named, told)


def _square(vector: torch.Tensor) -> torch.Tensor:
    side = math.isqrt(vector.numel())
    return vector.reshape(side, side) if side * side == vector.numel() else vector


LAYOUTS = (
    Layout(_VIT, r"conv_proj\.weight", _vit),
    Layout(_SWIN, r"features\.1\.0\.attn\.qkv\.weight", _swin),
)
