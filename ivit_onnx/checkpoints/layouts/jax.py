"""ViT of Google's JAX code, from .npz files: vision_transformer (augreg and others) and big_vision.

Matrices have inputs first, in attention with an axis for the heads. Numbers in names count modules of a class, and
differ between the two codes. big_vision may have one array for all blocks, with an axis for them in front.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from ivit_onnx.checkpoints.facts import PLAIN, Facts
from ivit_onnx.checkpoints.layouts.layout import Converted, Layout, Rule, join_qkv, refuse_features, rename
from ivit_onnx.checkpoints.tensors import Tensors, check_dense, shape_of

__all__ = ["LAYOUTS"]

_TITLE = "ViT of Google's JAX code (.npz)"
_BLOCK = r"Transformer\.encoderblock_(\d+)\."
_ATTENTION = rf"{_BLOCK}MultiHeadDotProductAttention_\d\."

#: More blocks in one array are a damaged file.
_MOST_BLOCKS = 1024

#: To timm's names; the end of a name still says what the array is.
_RULES: tuple[Rule, ...] = (
    (r"cls", "cls_token"),
    (r"(?:Transformer\.posembed_input\.)?pos_embedding", "pos_embed"),
    (r"embedding\.(kernel|bias)", r"patch_embed.proj.\1"),
    (rf"{_BLOCK}LayerNorm_0\.(scale|bias)", r"blocks.\1.norm1.\2"),
    (rf"{_BLOCK}LayerNorm_[12]\.(scale|bias)", r"blocks.\1.norm2.\2"),
    (rf"{_ATTENTION}query\.(kernel|bias)", r"blocks.\1.attn.q.\2"),
    (rf"{_ATTENTION}key\.(kernel|bias)", r"blocks.\1.attn.k.\2"),
    (rf"{_ATTENTION}value\.(kernel|bias)", r"blocks.\1.attn.v.\2"),
    (rf"{_ATTENTION}out\.(kernel|bias)", r"blocks.\1.attn.proj.\2"),
    (rf"{_BLOCK}MlpBlock_\d\.Dense_0\.(kernel|bias)", r"blocks.\1.mlp.fc1.\2"),
    (rf"{_BLOCK}MlpBlock_\d\.Dense_1\.(kernel|bias)", r"blocks.\1.mlp.fc2.\2"),
    (r"Transformer\.encoder_norm\.(scale|bias)", r"norm.\1"),
    (r"(head|pre_logits)\.(kernel|bias)", r"\1.\2"),
)

_FEATURES = {
    r"^MAPHead_\d\.": "attention pooling (MAP head)",
    r"^(conv_root|gn_root|block1)\.": "convolutional stems",
    r"^pre_logits\.": "pre_logits (a representation layer before the head)",
}


def _convert(tensors: Tensors, config: Mapping[str, Any]) -> Converted:
    del config
    refuse_features(tensors, _FEATURES)
    named = {}
    for name, tensor in rename(_blocks_apart(tensors), _RULES).items():
        check_dense(name, tensor)
        path, _, kind = name.rpartition(".")
        if kind == "kernel":
            named[f"{path}.weight"] = _outputs_first(path, tensor)
        elif kind == "scale":
            named[f"{path}.weight"] = tensor
        else:
            named[name] = tensor.flatten() if re.search(r"\.attn\.[qkv]\.bias$", name) else tensor
    query = next((name for name in tensors if name.endswith("query.kernel")), "query.kernel")
    heads = shape_of(tensors, query, 4 if _is_scan(query) else 3)[-2]
    told = Facts.told(_TITLE, pool="token" if "cls_token" in named else "avg", eps=1e-6, blocks=PLAIN)
    notes = ("JAX computes GELU by tanh; the exact function is taken, as timm does (--act gelu_tanh says otherwise)",)
    return Converted(join_qkv(named), Facts.told("shapes", heads=heads) | told, notes)


def _is_scan(name: str) -> bool:
    return name.startswith("Transformer.encoderblock.")


def _blocks_apart(tensors: Tensors) -> dict[str, torch.Tensor]:
    """One array a block, where there is one array for all."""
    apart: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if _is_scan(name) and tensor.ndim > 0 and len(tensor) <= _MOST_BLOCKS:
            rest = name.removeprefix("Transformer.encoderblock.")
            apart |= {f"Transformer.encoderblock_{index}.{rest}": block for index, block in enumerate(tensor)}
        else:
            apart[name] = tensor
    return apart


def _outputs_first(path: str, kernel: torch.Tensor) -> torch.Tensor:
    """A kernel as torch has it: [outputs, inputs], of a convolution [outputs, channels, rows, columns]."""
    if path == "patch_embed.proj":
        return kernel.permute(3, 2, 0, 1) if kernel.ndim == 4 else kernel
    if re.search(r"\.attn\.[qkv]$", path) and kernel.ndim == 3:
        kernel = kernel.flatten(1)
    elif path.endswith(".attn.proj") and kernel.ndim == 3:
        kernel = kernel.flatten(0, 1)
    return kernel.T if kernel.ndim == 2 else kernel


LAYOUTS = (Layout(_TITLE, r"embedding\.kernel", _convert),)
