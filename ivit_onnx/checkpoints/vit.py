"""Checkpoints of ViT and DeiT in timm's naming."""

from __future__ import annotations

import math
import re
from typing import Any

from ivit_onnx.architectures import VitArchitecture, known_architecture, matching_names
from ivit_onnx.checkpoints.family import Family, Flags, Tensors, check_against
from ivit_onnx.checkpoints.tensors import shape_of
from ivit_onnx.errors import CheckpointError

__all__ = ["VIT"]

#: What a tensor name tells about features that are not supported, first match wins.
_UNSUPPORTED = (
    (r"^layers\.\d+\.blocks\.|relative_position_bias_table$", "Swin or relative position bias"),
    (r"^blocks\.\d+\.(ls\d\.gamma|gamma_\d)$", "LayerScale"),
    (r"\.attn\.[qk]_norm\.", "normalised queries and keys (q_norm, k_norm)"),
    (r"\.attn\.norm\.|\.mlp\.norm\.", "normalisation inside attention or MLP"),
    (r"\.mlp\.(w12|w3|fc1_g|fc1_x)\.", "gated MLP (SwiGLU)"),
    (r"^reg_token$", "register tokens"),
    (r"(^|\.)(rope|freqs)", "rotary position embedding (rope)"),
    (r"^norm_pre\.", "norm_pre (a normalisation before the first block)"),
    (r"^fc_norm\.", "fc_norm (average pooling instead of the class token)"),
    (r"^attn_pool\.", "attention pooling"),
    (r"^pre_logits\.", "pre_logits (a representation layer before the head)"),
    (r"^patch_embed\.(backbone|norm)\.", "patch embeddings with a backbone or a normalisation"),
)

#: Where the published code quantises inside a block.
_PUBLISHED_BLOCK = {
    "norm1.output": "qact1",
    "attn.qkv.output": "attn.qact1",
    "attn.core.score": "attn.qact_attn1",
    "attn.core.output": "attn.qact2",
    "attn.proj.branch": "attn.qact3",
    "attn.proj.output": "qact2",
    "norm2.output": "qact3",
    "mlp.hidden": "mlp.qact_gelu",
    "mlp.activated": "mlp.qact1",
    "mlp.branch": "mlp.qact2",
    "mlp.output": "qact4",
}


def _detects(state_dict: Tensors) -> bool:
    return "patch_embed.proj.weight" in state_dict


def _read(state_dict: Tensors, flags: Flags) -> tuple[VitArchitecture, list[str]]:
    """The architecture: `heads` are those of the known model with these shapes, else one for 64 channels."""
    if "cls_token" not in state_dict:
        raise CheckpointError("not supported yet: a ViT without class token (cls_token)")
    if "head.weight" not in state_dict:
        raise CheckpointError("not supported yet: a ViT without classification head (head.weight is missing)")
    width, channels, patch, patch_width = shape_of(state_dict, "patch_embed.proj.weight", 4)
    if patch != patch_width:
        raise CheckpointError(f"not supported yet: patches that are not square ({patch} x {patch_width})")
    if channels != 3:
        raise CheckpointError(f"not supported yet: images of {channels} channels (patch_embed.proj.weight), expected 3")
    distilled = "dist_token" in state_dict
    size = _table_size(state_dict, patch, prefix=2 if distilled else 1)
    if flags.image_size is not None and flags.image_size != size:
        raise CheckpointError(
            f"the position table of the file is for images of {size} pixels, not {flags.image_size}; "
            "not supported yet: resizing it (leave --img-size out)"
        )
    found: dict[str, Any] = {
        "image_size": size,
        "patch_size": patch,
        "in_channels": channels,
        "width": width,
        "depth": _depth(state_dict),
        "mlp_width": shape_of(state_dict, "blocks.0.mlp.fc1.weight", 2)[0],
        "distilled": distilled,
    }
    names = [flags.name] if flags.name is not None else matching_names("vit", found)
    known = known_architecture(names[0]) if names else None
    if flags.name is not None and known is not None:
        check_against(known, "vit", {**found, **({} if flags.heads is None else {"heads": flags.heads})})
    heads, warnings = flags.heads, []
    if heads is None and isinstance(known, VitArchitecture):
        heads = known.heads
    elif heads is None:
        heads = _standard_heads(width)
        warnings.append(
            f"the number of heads cannot be read from the file: assuming {heads} "
            f"({width // heads} channels each); pass --num-heads to say otherwise"
        )
    arch = VitArchitecture(
        name=names[0] if names else f"vit_custom_patch{patch}_{size}",
        heads=heads,
        classes=shape_of(state_dict, "head.weight", 2)[0],
        **found,
    )
    return arch, warnings


def _table_size(state_dict: Tensors, patch: int, prefix: int) -> int:
    """Image size that the position table [1, prefix + grid * grid, C] is for."""
    tokens = shape_of(state_dict, "pos_embed", 3)[1]
    grid = math.isqrt(max(tokens - prefix, 0))
    if grid > 0 and grid * grid == tokens - prefix:
        return grid * patch
    if math.isqrt(tokens) ** 2 == tokens:
        raise CheckpointError("not supported yet: a position table without prefix tokens (no_embed_class)")
    raise CheckpointError(
        f"not supported yet: images that are not square (pos_embed has {tokens} tokens, {prefix} of them no patches)"
    )


def _depth(state_dict: Tensors) -> int:
    found = {int(match[1]) for name in state_dict if (match := re.match(r"blocks\.(\d{1,6})\.", name))}
    missing = sorted(set(range(len(found))) - found)
    if missing:
        raise CheckpointError(f"tensors of block {missing[0]} are missing (found blocks up to {max(found)})")
    return len(found)


def _standard_heads(width: int) -> int:
    if width % 64:
        raise CheckpointError(f"cannot tell the number of heads from a width of {width}; pass --num-heads")
    return width // 64


def _shapes(arch: VitArchitecture) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of `arch`."""
    width, hidden = arch.width, arch.mlp_width
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        **({"dist_token": (1, 1, width)} if arch.distilled else {}),
        "pos_embed": (1, arch.tokens, width),
        "patch_embed.proj.weight": (width, arch.in_channels, arch.patch_size, arch.patch_size),
        "patch_embed.proj.bias": (width,),
    }
    linears = {"attn.qkv": (3 * width, width), "attn.proj": (width, width)}
    linears |= {"mlp.fc1": (hidden, width), "mlp.fc2": (width, hidden)}
    for block in (f"blocks.{index}." for index in range(arch.depth)):
        for norm in ("norm1", "norm2"):
            shapes |= {f"{block}{norm}.weight": (width,), f"{block}{norm}.bias": (width,)}
        for linear, shape in linears.items():
            shapes |= {f"{block}{linear}.weight": shape, f"{block}{linear}.bias": shape[:1]}
    shapes |= {"norm.weight": (width,), "norm.bias": (width,)}
    for head in ("head", "head_dist") if arch.distilled else ("head",):
        shapes |= {f"{head}.weight": (arch.classes, width), f"{head}.bias": (arch.classes,)}
    return shapes


def _published(arch: VitArchitecture) -> dict[str, str]:
    modules = {
        "image.output": "qact_input",
        "patch_embed.projection": "patch_embed.qact",
        "patch_embed.position": "qact_pos",
        "patch_embed.output": "qact1",
        "norm.output": "qact2",
    }
    for block in (f"blocks.{index}." for index in range(arch.depth)):
        modules |= {block + activation: block + module for activation, module in _PUBLISHED_BLOCK.items()}
    return modules


VIT = Family(
    title="ViT or DeiT in timm's naming",
    detects=_detects,
    unsupported=_UNSUPPORTED,
    read=_read,
    shapes=_shapes,
    published=_published,
    published_softmax_bits=15,
    optional=r"attn\.qkv\.bias$",
)
