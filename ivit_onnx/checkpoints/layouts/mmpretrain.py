"""mmpretrain and mmcls of OpenMMLab: ViT, DeiT, and Swin.

Patch merging takes the 2 x 2 tokens of each channel together, where Swin's authors take the channels of each token
together; rows and columns are in another order too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch

from ivit_onnx.checkpoints.facts import PLAIN, Facts
from ivit_onnx.checkpoints.layouts.layout import Converted, Layout, Rule, refuse_features, rename
from ivit_onnx.checkpoints.tensors import Tensors, check_dense, shape_of
from ivit_onnx.errors import CheckpointError

__all__ = ["LAYOUTS"]

_VIT, _SWIN = "ViT or DeiT of mmpretrain", "Swin of mmpretrain"
_NETWORK = r"(?:backbone\.)?"
_BLOCK = rf"{_NETWORK}layers\.(\d+)\."
_SWIN_BLOCK = rf"{_NETWORK}stages\.(\d+)\.blocks\.(\d+)\."
_END = r"\.(weight|bias)"

_VIT_RULES: tuple[Rule, ...] = (
    (rf"{_NETWORK}(cls_token|dist_token|pos_embed)", r"\1"),
    (rf"{_NETWORK}patch_embed\.projection{_END}", r"patch_embed.proj.\1"),
    (rf"{_NETWORK}pre_norm{_END}", r"norm_pre.\1"),
    (rf"{_BLOCK}ln([12]){_END}", r"blocks.\1.norm\2.\3"),
    (rf"{_BLOCK}attn\.(qkv|proj){_END}", r"blocks.\1.attn.\2.\3"),
    (rf"{_BLOCK}attn\.gamma1\.weight", r"blocks.\1.ls1.gamma"),
    (rf"{_BLOCK}ffn\.gamma2\.weight", r"blocks.\1.ls2.gamma"),
    (rf"{_BLOCK}ffn\.layers\.0\.0{_END}", r"blocks.\1.mlp.fc1.\2"),
    (rf"{_BLOCK}ffn\.layers\.1{_END}", r"blocks.\1.mlp.fc2.\2"),
    (rf"{_NETWORK}ln1{_END}", r"norm.\1"),
    (rf"{_NETWORK}ln2{_END}", r"fc_norm.\1"),
    (rf"head\.(?:layers\.head|fc){_END}", r"head.\1"),
    (rf"head\.layers\.head_dist{_END}", r"head_dist.\1"),
    (rf"head\.layers\.pre_logits{_END}", r"pre_logits.\1"),
)

#: To the names of the original code.
_SWIN_RULES: tuple[Rule, ...] = (
    (rf"{_NETWORK}patch_embed\.projection{_END}", r"patch_embed.proj.\1"),
    (rf"{_NETWORK}patch_embed\.norm{_END}", r"patch_embed.norm.\1"),
    (rf"{_SWIN_BLOCK}attn\.w_msa\.(.*)", r"layers.\1.blocks.\2.attn.\3"),
    (rf"{_SWIN_BLOCK}ffn\.layers\.0\.0{_END}", r"layers.\1.blocks.\2.mlp.fc1.\3"),
    (rf"{_SWIN_BLOCK}ffn\.layers\.1{_END}", r"layers.\1.blocks.\2.mlp.fc2.\3"),
    (rf"{_SWIN_BLOCK}(norm[12]){_END}", r"layers.\1.blocks.\2.\3.\4"),
    (rf"{_NETWORK}stages\.(\d+)\.downsample\.(norm|reduction){_END}", r"layers.\1.downsample.\2.\3"),
    (rf"{_NETWORK}norm\d{_END}", r"norm.\1"),
    (rf"head\.fc{_END}", r"head.\1"),
)

_VIT_FEATURES = {
    r"relative_position_bias_table$|\.attn\.rel_pos_[hw]$": "relative position bias",
    r"\.ffn\.w(12|3)\.": "gated MLP (SwiGLU)",
}
_SWIN_FEATURES = {
    r"\.attn\.w_msa\.(logit_scale|cpb_mlp)": "Swin V2 (cosine attention)",
    rf"^{_NETWORK}absolute_pos_embed$": "an absolute position embedding (use_abs_pos_embed)",
}


def _vit(tensors: Tensors, config: Mapping[str, Any]) -> Converted:
    del config
    refuse_features(tensors, _VIT_FEATURES)
    named = rename(tensors, _VIT_RULES)
    _refuse_deit3(named)
    pool = "avg" if "fc_norm.weight" in named or "cls_token" not in named else "token"
    return Converted(named, Facts.told(_VIT, pool=pool, act="gelu", eps=1e-6, blocks=PLAIN))


def _refuse_deit3(named: Tensors) -> None:
    """Raise CheckpointError for DeiT III: the one with LayerScale whose class token has no position.

    Its blocks in mmpretrain 1 normalise both branches by ln1, where those in mmcls and of the authors have ln2 too.
    """
    tokens = shape_of(named, "pos_embed", 3)[1]
    if "cls_token" in named and "blocks.0.ls1.gamma" in named and math.isqrt(tokens) ** 2 == tokens:
        raise CheckpointError(
            "not supported: DeiT III of mmpretrain, whose versions do not agree on what ln2 is for; give the file "
            "of its authors"
        )


def _swin(tensors: Tensors, config: Mapping[str, Any]) -> Converted:
    """A network that classifies has one normalisation, after its last stage."""
    del config
    refuse_features(tensors, _SWIN_FEATURES)
    norms = [name for name in tensors if re.fullmatch(rf"{_NETWORK}norm\d\.weight", name)]
    if len(norms) > 1:
        raise CheckpointError(
            f"not supported yet: outputs of several stages, each with a normalisation ({', '.join(norms)})"
        )
    named = rename(tensors, _SWIN_RULES)
    for name, tensor in named.items():
        if re.fullmatch(r"layers\.\d+\.downsample\.(norm\.(weight|bias)|reduction\.weight)", name):
            named[name] = _tokens_first(name, tensor)
    return Converted(named, Facts.told(_SWIN, pool="avg", act="gelu", eps=1e-5, blocks=PLAIN))


def _tokens_first(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """The last axis, of channels, rows and columns, in the order columns, rows, channels."""
    check_dense(name, tensor)
    if tensor.ndim == 0 or tensor.shape[-1] % 4:
        raise CheckpointError(f"tensor {name} has shape {list(tensor.shape)}, expected 4 numbers per channel")
    split = tensor.reshape(*tensor.shape[:-1], -1, 2, 2)
    return split.movedim((-1, -2), (-3, -2)).flatten(-3)


LAYOUTS = (
    Layout(_VIT, rf"{_NETWORK}layers\.0\.ln1\.weight", _vit),
    Layout(_SWIN, rf"{_NETWORK}stages\.0\.blocks\.0\.attn\.w_msa\.qkv\.weight", _swin),
)
