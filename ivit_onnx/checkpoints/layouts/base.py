"""What a layout consists of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ivit_onnx.checkpoints.facts import Facts
from ivit_onnx.checkpoints.family import Tensors

__all__ = ["Converted", "Layout"]


@dataclass(frozen=True)
class Converted:
    """Tensors under timm's names, and what the layout and its configuration tell besides.

    `notes`: sentences about what was left out.
    """

    tensors: dict[str, torch.Tensor]
    facts: Facts = field(default_factory=Facts)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """One way to name the tensors of a network.

    `title` names it in messages. `anchor`: a pattern for the name of one tensor that every network of this layout has
    once, from the outermost part that belongs to the network. `convert` gives tensors timm's names; it takes them
    without what stands before the anchor, and the `config.json` beside them, {} where there is none.
    """

    title: str
    anchor: str
    convert: Callable[[Tensors, Mapping[str, Any]], Converted]
