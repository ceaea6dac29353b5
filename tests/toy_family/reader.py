"""Checkpoints of the toy family. Its patch embedding has timm's names, so that the layout of timm finds them."""

from __future__ import annotations

import math

from ivit_onnx.architectures.toy import ToyArchitecture

from ivit_onnx.architectures import Size, matching_names
from ivit_onnx.checkpoints.facts import ASSUMED, PLAIN, Facts
from ivit_onnx.checkpoints.reader import Reader, Reading, known_to_fit, patch_shape
from ivit_onnx.checkpoints.tensors import Tensors, shape_of

__all__ = ["READER"]


def _detects(state_dict: Tensors) -> bool:
    return "blocks.0.norm.weight" in state_dict


def _read(state_dict: Tensors, facts: Facts) -> Reading:
    width, channels, patch = patch_shape(state_dict)
    found = {
        "patch_size": patch,
        "in_channels": channels,
        "width": width,
        "depth": sum(name.endswith(".attn.qkv.weight") for name in state_dict),
        "mlp_width": shape_of(state_dict, "blocks.0.mlp.fc1.weight", 2)[0],
    }
    known, _, warnings = known_to_fit(facts, ToyArchitecture.family, found)
    names = matching_names(ToyArchitecture.family, found) if known is None else [known.name]
    side = math.isqrt(shape_of(state_dict, "pos_embed", 3)[1]) * patch
    arch = ToyArchitecture(
        name=names[0] if names else "toy_custom",
        image_size=Size(side, side),
        classes=shape_of(state_dict, "head.weight", 2)[0],
        **found,
    )
    return Reading(arch, facts | Facts.told(ASSUMED, act="gelu", blocks=PLAIN), tuple(warnings))


def _shapes(arch: ToyArchitecture) -> dict[str, tuple[int, ...]]:
    width, hidden = arch.width, arch.mlp_width
    shapes: dict[str, tuple[int, ...]] = {
        "pos_embed": (1, arch.tokens, width),
        "patch_embed.proj.weight": (width, arch.in_channels, arch.patch_size, arch.patch_size),
        "patch_embed.proj.bias": (width,),
    }
    linears = {"head": (arch.classes, width)}
    for block in (f"blocks.{index}." for index in range(arch.depth)):
        linears |= {f"{block}attn.qkv": (3 * width, width), f"{block}attn.proj": (width, width)}
        linears |= {f"{block}mlp.fc1": (hidden, width), f"{block}mlp.fc2": (width, hidden)}
        shapes |= {f"{block}norm.weight": (width,), f"{block}norm.bias": (width,)}
    for linear, shape in linears.items():
        shapes |= {f"{linear}.weight": shape, f"{linear}.bias": shape[:1]}
    return shapes | {"norm.weight": (width,), "norm.bias": (width,)}


READER = Reader(title="toy network", detects=_detects, read=_read, shapes=_shapes)
