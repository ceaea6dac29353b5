"""Layouts: how libraries name the tensors of the networks that we read. One file per library.

A layout is recognised by one tensor name, its anchor, which no other layout has. What stands before the anchor is the
prefix of the network's names, of whatever origin: a Lightning module, a larger model, a data-parallel wrapper. Networks
that are known and not read are in refused.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ivit_onnx.checkpoints.layouts import (
    huggingface,
    huggingface_clip,
    huggingface_swin,
    jax,
    mmpretrain,
    open_clip,
    timm,
    torchvision,
)
from ivit_onnx.checkpoints.layouts.layout import Converted, Layout, count_of
from ivit_onnx.checkpoints.layouts.refused import refuse_known, shown
from ivit_onnx.checkpoints.source import Source
from ivit_onnx.checkpoints.tensors import Tensors
from ivit_onnx.errors import CheckpointError

__all__ = ["LAYOUTS", "Converted", "Layout", "Recognised", "recognise"]

#: All layouts; anchors exclude each other, so that the order does not matter.
LAYOUTS: tuple[Layout, ...] = (
    *timm.LAYOUTS,
    *huggingface.LAYOUTS,
    *huggingface_clip.LAYOUTS,
    *huggingface_swin.LAYOUTS,
    *torchvision.LAYOUTS,
    *open_clip.LAYOUTS,
    *mmpretrain.LAYOUTS,
    *jax.LAYOUTS,
)


_READ = (
    "ViT and its relatives, CLIP's image encoder, and Swin in the naming of timm, their authors, Hugging Face "
    "transformers, torchvision, open_clip, mmpretrain, and of ViT in JAX"
)


@dataclass(frozen=True)
class Recognised:
    """A source whose layout was found: `converted` has timm's names; `notes` say what was chosen and left out."""

    layout: Layout
    converted: Converted
    notes: tuple[str, ...] = ()


def recognise(source: Source, prefix: str | None = None) -> Recognised:
    """Find the layout of a source and give its tensors timm's names.

    `prefix`: what the names of the network begin with, None to look for it. Raises CheckpointError where no layout
    fits, where several networks are in the source and nothing says which, or where the network is known and not
    supported.
    """
    wanted = prefix if not prefix or prefix.endswith(".") else f"{prefix}."
    begun = [name for name in source.tensors if name.startswith(wanted or "")]
    refuse_known(source.title, begun, source.config)
    found = _networks(source.tensors)
    if wanted is not None:
        chosen = [(layout, wanted) for layout in LAYOUTS for name in begun if _anchored(layout, name, wanted)]
        if not chosen:
            prefixes = sorted({own for _, own in found})
            known = f"found networks under {', '.join(map(repr, prefixes))}" if prefixes else "found no network at all"
            raise CheckpointError(f"{source.title}: expected a network under --prefix {prefix!r}, {known}")
        found = chosen
    if not found:
        found_there = shown(source.tensors, source.config)
        raise CheckpointError(f"{source.title} is no network that is read ({found_there}); read are {_READ}")
    if len(found) > 1:
        prefixes = sorted({own for _, own in found})
        under = ", ".join(map(repr, prefixes))
        raise CheckpointError(f"{source.title} holds {len(found)} networks, under {under}; pass --prefix to say which")
    layout, own = found[0]
    _check_model_type(layout, source.config)
    tensors, rest = _split(source.tensors, own)
    converted = layout.convert(tensors, source.config)
    notes = [f"took the network under {own!r}"] if own else []
    return Recognised(layout, converted, (*notes, *converted.notes, *_left_out(rest)))


def _networks(tensors: Tensors) -> list[tuple[Layout, str]]:
    """The layouts that fit, each with what stands before its anchor: as little as possible."""
    patterns = [(layout, re.compile(rf"(?P<prefix>(?:.*?\.)??){layout.anchor}")) for layout in LAYOUTS]
    return [
        (layout, match["prefix"])
        for layout, pattern in patterns
        for name in tensors
        if (match := pattern.fullmatch(name)) is not None
    ]


def _anchored(layout: Layout, name: str, prefix: str) -> bool:
    """Whether a name is the anchor of a layout, with just this prefix in front."""
    return re.fullmatch(layout.anchor, name.removeprefix(prefix)) is not None


def _check_model_type(layout: Layout, config: Mapping[str, Any]) -> None:
    """Raise CheckpointError when `config.json` is that of another network than the tensors are."""
    model_type = config.get("model_type")
    if isinstance(model_type, str) and model_type not in layout.model_types:
        expected = f"one of {', '.join(layout.model_types)}" if layout.model_types else "no such file"
        raise CheckpointError(
            f"config.json says model_type {model_type!r}, but the tensors are named as {layout.title}: expected "
            f"{expected}; give the file in another folder if config.json is not its own"
        )


def _split(tensors: Tensors, prefix: str) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The tensors of a network without their prefix, and the names of those that are no part of it."""
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return own, [name for name in tensors if not name.startswith(prefix)]


def _left_out(names: list[str]) -> list[str]:
    """A note about tensors that are no part of the network."""
    if not names:
        return []
    more = ", ..." if len(names) > 2 else ""
    return [f"left out {count_of(names)} outside the network ({', '.join(sorted(names)[:2])}{more})"]
