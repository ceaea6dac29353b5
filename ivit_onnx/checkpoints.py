"""Checkpoints of timm ViT and DeiT: read without running any code in them, recognised by shapes, checked."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ivit_onnx._checkpoint_files import read_object
from ivit_onnx.architectures import (
    Preprocess,
    VitArchitecture,
    default_preprocess,
    known_architecture,
    matching_names,
)
from ivit_onnx.errors import CheckpointError

__all__ = [
    "Checkpoint",
    "StateDict",
    "checkpoint_fingerprint",
    "load_checkpoint",
    "load_state_dict",
    "read_architecture",
    "validate",
]

StateDict = dict[str, torch.Tensor]

#: Keys under which training scripts keep the weights, preferred first: averaged weights are what is published.
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")

#: Prefixes that DistributedDataParallel and torch.compile put in front of every name.
PREFIXES = ("module.", "_orig_mod.")

FLOAT_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

#: What a tensor name tells about features that are not supported, first match wins.
UNSUPPORTED = (
    (r"act_scaling_factor$|weight_integer$", "quantisation-aware I-ViT checkpoints (act_scaling_factor)"),
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


@dataclass(frozen=True)
class Checkpoint:
    """A checked floating-point checkpoint.

    `state_dict` has timm names and contiguous float32 tensors, `fingerprint` identifies its weights, `warnings`
    says what had to be assumed, `named` whether the user named the architecture.
    """

    arch: VitArchitecture
    state_dict: StateDict
    fingerprint: str
    warnings: tuple[str, ...] = ()
    named: bool = False

    def preprocess(
        self, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
    ) -> tuple[Preprocess, list[str]]:
        """How images are prepared for this model, and warnings about what had to be assumed.

        `mean` and `std` replace the defaults of the architecture's name. Raises IvitError on impossible values.
        """
        default, warnings = default_preprocess(self.arch)
        if not self.named:
            warnings = [*warnings, *_ambiguity(self.arch)]
        chosen = replace(
            default,
            mean=default.mean if mean is None else tuple(mean),
            std=default.std if std is None else tuple(std),
        )
        return chosen, [] if mean is not None and std is not None else warnings


def load_checkpoint(
    path: str | os.PathLike[str],
    *,
    arch: str | None = None,
    heads: int | None = None,
    image_size: int | None = None,
) -> Checkpoint:
    """Read, recognise and check a checkpoint file.

    `arch` names a known timm model to check the file against; `heads` and `image_size` say what shapes cannot.
    Raises CheckpointError with one line about what is wrong and, where there is one, the flag to pass.
    """
    if arch is not None:
        known_architecture(arch)
    state_dict = load_state_dict(path)
    architecture = read_architecture(state_dict, name=arch, heads=heads, image_size=image_size)
    validate(state_dict, architecture)
    needed = {name: _float32(state_dict[name]) for name in _shapes(architecture) if name in state_dict}
    for name, tensor in needed.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{name} does not fit float32: it has values above 3.4e38")
    warnings: list[str] = []
    if arch is None and heads is None and not _names(architecture):
        warnings = [
            f"the number of heads cannot be read from the file: assuming {architecture.heads} "
            f"({architecture.head_dim} channels each); pass --num-heads to say otherwise"
        ]
    fingerprint = checkpoint_fingerprint(needed)
    return Checkpoint(architecture, needed, fingerprint, tuple(warnings), named=arch is not None)


def load_state_dict(path: str | os.PathLike[str]) -> StateDict:
    """The tensors of a .pth, .pt, .pth.tar or .safetensors file by name; the content decides, not the suffix.

    Looks inside the usual wrappers (`state_dict_ema`, `model_ema`, `state_dict`, `model`) and strips the prefixes
    of DistributedDataParallel and torch.compile. Never unpickles an object. Raises CheckpointError.
    """
    path = Path(path)
    content = read_object(path)
    if isinstance(content, Mapping):
        inner = (content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping))
        content = next(inner, content)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a state_dict (names to tensors)")
    if not content:
        raise CheckpointError(f"{path} holds an empty state_dict")
    others = [str(name) for name, value in content.items() if not isinstance(value, torch.Tensor)]
    if others:
        kinds = type(content.get(others[0])).__name__
        raise CheckpointError(
            f"{path} is not a state_dict: {others[0]!r} is a {kinds}, not a tensor "
            f"(looked for weights under {', '.join(sorted(WRAPPERS))})"
        )
    state_dict = {str(name): tensor for name, tensor in content.items()}
    for prefix in PREFIXES * 2:
        if all(name.startswith(prefix) for name in state_dict):
            state_dict = {name.removeprefix(prefix): tensor for name, tensor in state_dict.items()}
    return state_dict


def read_architecture(
    state_dict: Mapping[str, torch.Tensor],
    *,
    name: str | None = None,
    heads: int | None = None,
    image_size: int | None = None,
) -> VitArchitecture:
    """The architecture of a state_dict with timm's ViT names, from the shapes of its tensors.

    `name`: a known model the shapes must agree with (the number of classes may differ). `heads`: the number of
    attention heads; otherwise that of the known model with these shapes, else one for 64 channels.
    `image_size`: must be the size that the position table is for.

    Raises CheckpointError when the family is not supported, a tensor is missing or misshapen, or the flags disagree.
    """
    _refuse_unsupported(state_dict)
    width, channels, patch, patch_width = _shape(state_dict, "patch_embed.proj.weight", 4)
    if patch != patch_width:
        raise CheckpointError(f"not supported yet: patches that are not square ({patch} x {patch_width})")
    if channels != 3:
        raise CheckpointError(f"not supported yet: images of {channels} channels (patch_embed.proj.weight), expected 3")
    distilled = "dist_token" in state_dict
    size = _table_size(state_dict, patch, prefix=2 if distilled else 1)
    if image_size is not None and image_size != size:
        raise CheckpointError(
            f"the position table of the file is for images of {size} pixels, not {image_size}; "
            "not supported yet: resizing it (leave --img-size out)"
        )
    found: dict[str, Any] = {
        "image_size": size,
        "patch_size": patch,
        "width": width,
        "depth": _depth(state_dict),
        "mlp_width": _shape(state_dict, "blocks.0.mlp.fc1.weight", 2)[0],
        "distilled": distilled,
    }
    names = [name] if name is not None else matching_names(**found)
    known = known_architecture(names[0]) if names else None
    if name is not None and known is not None:
        _check_against(known, {**found, **({} if heads is None else {"heads": heads})})
    if heads is None:
        heads = known.heads if known is not None else _standard_heads(width)
    return VitArchitecture(
        name=names[0] if names else f"vit_custom_patch{patch}_{size}",
        in_channels=channels,
        heads=heads,
        classes=_shape(state_dict, "head.weight", 2)[0],
        **found,
    )


def validate(state_dict: Mapping[str, torch.Tensor], arch: VitArchitecture) -> None:
    """Raise CheckpointError unless every tensor of `arch` is there, of its shape, floating point and finite.

    Biases of queries, keys and values may be absent. A tensor that the architecture does not have is an error too:
    ignoring it would silently change what the network computes.
    """
    _refuse_unsupported(state_dict)
    shapes = _shapes(arch)
    missing = [name for name in shapes if name not in state_dict and not name.endswith("attn.qkv.bias")]
    if missing:
        raise CheckpointError(f"tensor {missing[0]} is missing{_and_more(missing)}")
    unknown = [name for name in state_dict if name not in shapes]
    if unknown:
        raise CheckpointError(f"not supported yet: tensor {unknown[0]}, which a plain ViT lacks{_and_more(unknown)}")
    for name, shape in shapes.items():
        if name not in state_dict:
            continue
        tensor = state_dict[name]
        if tuple(tensor.shape) != shape:
            raise CheckpointError(f"tensor {name} has shape {list(tensor.shape)}, expected {list(shape)}")
        if tensor.layout is not torch.strided or tensor.dtype not in FLOAT_TYPES:
            raise CheckpointError(f"tensor {name} is {_kind(tensor)}, expected dense floating point")
        if tensor.is_meta:
            raise CheckpointError(f"tensor {name} has no data (it was saved from the meta device)")
        finite = torch.isfinite(tensor)
        if not finite.all():
            count = int((~finite).sum())
            raise CheckpointError(f"tensor {name} has {count} NaN or infinite values of {tensor.numel()}")


def checkpoint_fingerprint(state_dict: Mapping[str, torch.Tensor]) -> str:
    """SHA-256, in hexadecimal, over the sorted names with types, shapes and bytes of the tensors."""
    digest = hashlib.sha256()
    for name in sorted(state_dict):
        tensor = state_dict[name].detach().contiguous()
        digest.update(f"{name}:{tensor.dtype}:{list(tensor.shape)};".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _refuse_unsupported(state_dict: Mapping[str, torch.Tensor]) -> None:
    for pattern, feature in UNSUPPORTED:
        for name in state_dict:
            if re.search(pattern, name):
                raise CheckpointError(f"not supported yet: {feature}; found tensor {name}")
    if "patch_embed.proj.weight" not in state_dict:
        example = ", ".join(sorted(state_dict)[:3])
        raise CheckpointError(f"not a ViT or DeiT in timm's naming: no patch_embed.proj.weight (found {example}, ...)")
    if "cls_token" not in state_dict:
        raise CheckpointError("not supported yet: a ViT without class token (cls_token)")
    if "head.weight" not in state_dict:
        raise CheckpointError("not supported yet: a ViT without classification head (head.weight is missing)")


def _shape(state_dict: Mapping[str, torch.Tensor], name: str, rank: int) -> tuple[int, ...]:
    """The shape of a tensor that must be there, of that rank and not empty."""
    if name not in state_dict:
        raise CheckpointError(f"tensor {name} is missing")
    shape = tuple(state_dict[name].shape)
    if len(shape) != rank or 0 in shape:
        raise CheckpointError(f"tensor {name} has shape {list(shape)}, expected {rank} axes, none of them empty")
    return shape


def _table_size(state_dict: Mapping[str, torch.Tensor], patch: int, prefix: int) -> int:
    """Image size that the position table [1, prefix + grid * grid, C] is for."""
    tokens = _shape(state_dict, "pos_embed", 3)[1]
    grid = math.isqrt(max(tokens - prefix, 0))
    if grid > 0 and grid * grid == tokens - prefix:
        return grid * patch
    if math.isqrt(tokens) ** 2 == tokens:
        raise CheckpointError("not supported yet: a position table without prefix tokens (no_embed_class)")
    raise CheckpointError(
        f"not supported yet: images that are not square (pos_embed has {tokens} tokens, {prefix} of them no patches)"
    )


def _depth(state_dict: Mapping[str, torch.Tensor]) -> int:
    found = {int(match[1]) for name in state_dict if (match := re.match(r"blocks\.(\d{1,6})\.", name))}
    missing = sorted(set(range(len(found))) - found)
    if missing:
        raise CheckpointError(f"tensors of block {missing[0]} are missing (found blocks up to {max(found)})")
    return len(found)


def _standard_heads(width: int) -> int:
    if width % 64:
        raise CheckpointError(f"cannot tell the number of heads from a width of {width}; pass --num-heads")
    return width // 64


def _check_against(known: VitArchitecture, found: Mapping[str, int | bool]) -> None:
    """Raise CheckpointError when the file, or a flag, differs from the architecture that the user named."""
    for field, value in found.items():
        expected = getattr(known, field)
        if value != expected:
            raise CheckpointError(f"the file is not {known.name}: {field} is {value}, expected {expected}")


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


def _float32(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to(torch.float32).contiguous()


def _kind(tensor: torch.Tensor) -> str:
    layout = "" if tensor.layout is torch.strided else f" ({str(tensor.layout).removeprefix('torch.')})"
    return str(tensor.dtype).removeprefix("torch.") + layout


def _and_more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _names(arch: VitArchitecture) -> list[str]:
    """Known models with the shapes of `arch`, whatever their heads and classes."""
    dimensions: dict[str, Any] = {
        field: value for field, value in arch.to_json().items() if field not in ("name", "heads", "classes")
    }
    return matching_names(**dimensions)


def _ambiguity(arch: VitArchitecture) -> list[str]:
    """A warning when models with the same shapes normalise images differently."""
    names = _names(arch)
    defaults = [default_preprocess(replace(arch, name=name))[0] for name in names]
    if len({(default.mean, default.std) for default in defaults}) < 2:
        return []
    return [
        f"the file fits {' and '.join(names)}, which normalise images differently: assuming {arch.name}; "
        "pass --arch (or --mean and --std) to say which"
    ]
