"""What a family of checkpoints consists of: how it is recognised, what shapes it has, what it does not support."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ivit_onnx.architectures import Architecture
from ivit_onnx.checkpoints.tensors import check_tensors
from ivit_onnx.errors import CheckpointError
from ivit_onnx.numbers import check_numbers

__all__ = ["Family", "Flags", "Tensors", "check_against"]

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Flags:
    """What a user may say about a checkpoint: a known model it must be, and what shapes do not tell.

    Raises OptionError for numbers that are none."""

    name: str | None = None
    heads: int | None = None
    image_size: int | None = None
    act: str | None = None

    def __post_init__(self) -> None:
        check_numbers(num_heads=self.heads, img_size=self.image_size)


@dataclass(frozen=True)
class Family:
    """One family of checkpoints.

    `title` names the family in messages. `detects` tells it from other families by tensor names. `unsupported` are
    patterns of tensor names with the feature that each stands for; the first match is reported. `read` finds the
    architecture in shapes and flags, with warnings about what was assumed. `shapes` are the tensors of an
    architecture; those matching `optional` may be absent. `published` names, for each activation of the twin, the
    module of the published I-ViT code that holds its scale, and `published_softmax_bits` is what that code uses.
    `weights` gives the tensors of a file their names in `shapes`.
    """

    title: str
    detects: Callable[[Tensors], bool]
    unsupported: tuple[tuple[str, str], ...]
    read: Callable[[Tensors, Flags], tuple[Architecture, list[str]]]
    shapes: Callable[[Any], dict[str, tuple[int, ...]]]
    published: Callable[[Any], dict[str, str]]
    published_softmax_bits: int
    optional: str = r"(?!)"
    weights: Callable[[Tensors, Any], dict[str, torch.Tensor]] = lambda state_dict, arch: dict(state_dict)

    def refuse_unsupported(self, state_dict: Tensors) -> None:
        """Raise CheckpointError when a tensor belongs to a feature that is not supported."""
        for pattern, feature in self.unsupported:
            for name in state_dict:
                if re.search(pattern, name):
                    raise CheckpointError(f"not supported yet: {feature}; found tensor {name}")

    def validate(self, state_dict: Tensors, arch: Architecture) -> None:
        """Raise CheckpointError unless the tensors are those of `arch`, floating point and finite."""
        self.refuse_unsupported(state_dict)
        check_tensors(self.weights(state_dict, arch), self.shapes(arch), optional=self.optional, family=self.title)


def check_against(known: Architecture, family: str, found: Mapping[str, Any]) -> None:
    """Raise CheckpointError when the file, or a flag, differs from the architecture that the user named."""
    for field, value in {"family": family, **found}.items():
        expected = getattr(known, field)
        if value != expected:
            raise CheckpointError(f"the file is not {known.name}: {field} is {value}, expected {expected}")
