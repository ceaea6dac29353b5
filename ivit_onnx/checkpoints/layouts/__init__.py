"""Layouts: how libraries name the tensors of the networks that we read. One file per library.

A layout is recognised by one tensor name, its anchor, which no other layout has. What stands before the anchor is the
prefix of the network's names, of whatever origin: a Lightning module, a larger model, a data-parallel wrapper.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch

from ivit_onnx.checkpoints.family import Tensors
from ivit_onnx.checkpoints.layouts import timm
from ivit_onnx.checkpoints.layouts.base import Converted, Layout
from ivit_onnx.checkpoints.source import Source
from ivit_onnx.errors import CheckpointError

__all__ = ["LAYOUTS", "Converted", "Layout", "Recognised", "recognise"]

#: All layouts; anchors exclude each other, so that the order does not matter.
LAYOUTS: tuple[Layout, ...] = (*timm.LAYOUTS,)

_MOST_NAMES = 3


@dataclass(frozen=True)
class Recognised:
    """A source whose layout was found: `converted` has timm's names; `notes` say what was chosen and left out."""

    layout: Layout
    converted: Converted
    notes: tuple[str, ...] = ()


def recognise(source: Source, prefix: str | None = None) -> Recognised:
    """Find the layout of a source and give its tensors timm's names.

    `prefix`: what the names of the network begin with, None to look for it. Raises CheckpointError where no layout
    fits, or where several networks are in the source and nothing says which.
    """
    found = [
        (layout, match["prefix"])
        for layout in LAYOUTS
        for name in source.tensors
        if (match := re.fullmatch(rf"(?P<prefix>(?:.*?\.)??){layout.anchor}", name)) is not None
    ]
    if prefix is not None:
        wanted = prefix if not prefix or prefix.endswith(".") else f"{prefix}."
        prefixes = sorted({own for _, own in found})
        found = [(layout, own) for layout, own in found if own == wanted]
        if not found:
            known = f"found networks under {', '.join(map(repr, prefixes))}" if prefixes else "found no network at all"
            raise CheckpointError(f"{source.title}: expected a network under --prefix {prefix!r}, {known}")
    if not found:
        raise CheckpointError(_unknown(source.tensors))
    if len(found) > 1:
        prefixes = sorted({own for _, own in found})
        raise CheckpointError(
            f"{source.title} holds {len(found)} networks, under {', '.join(map(repr, prefixes))}; "
            "pass --prefix to say which"
        )
    layout, own = found[0]
    tensors, rest = _split(source.tensors, own)
    converted = layout.convert(tensors, source.config)
    chosen = [f"took the network under {own!r}"] if own else []
    return Recognised(layout, converted, (*chosen, *converted.notes, *_left_out(rest)))


def _split(tensors: Tensors, prefix: str) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The tensors of a network without their prefix, and the names of those that are no part of it."""
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return own, [name for name in tensors if not name.startswith(prefix)]


def _left_out(names: list[str]) -> list[str]:
    """A note about tensors that are no part of the network."""
    if not names:
        return []
    shown = ", ".join(sorted(names)[:2])
    tensors = "1 tensor" if len(names) == 1 else f"{len(names)} tensors"
    return [f"left out {tensors} outside the network ({shown}{', ...' if len(names) > 2 else ''})"]


def _unknown(tensors: Tensors) -> str:
    names = sorted(tensors)
    titles = "; ".join(layout.title for layout in LAYOUTS)
    return f"no network that is read ({titles}); found {', '.join(names[:_MOST_NAMES])}, ..."
