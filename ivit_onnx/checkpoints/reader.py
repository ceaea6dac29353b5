"""How the checkpoints of a family are read: recognised, which shapes they have, what is not supported."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ivit_onnx.architectures import Architecture, known_architecture
from ivit_onnx.checkpoints.facts import FIELDS, Facts
from ivit_onnx.checkpoints.tensors import StateDict, Tensors, check_tensors, shape_of, to_float32
from ivit_onnx.errors import CheckpointError

__all__ = ["Reader", "Reading", "check_against", "known_to_fit", "patch_shape"]

#: What networks share that were made by one name with other dimensions.
_SHARED = ("act", "eps")


@dataclass(frozen=True)
class Reading:
    """What was read from shapes and facts: `facts` has everything that shapes did not tell, assumptions too."""

    arch: Architecture
    facts: Facts
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reader:
    """Reads the checkpoints of one family.

    `title` names the family in messages. `detects` tells it from other families by tensor names. `read` finds the
    architecture in shapes and facts. `shapes` are the tensors of an architecture; those matching `optional` may be
    absent. `unsupported` are patterns of tensor names with the feature that each stands for; the first match is
    reported. `reference_ivit` names, for each activation of the twin, the module of the reference I-ViT code that holds
    its scale, None where that code has no such network, and `reference_ivit_softmax_bits` is what that code uses.
    `weights` gives the tensors of a file their names in `shapes`, and a position table the size of the architecture in
    the way that the facts tell.
    """

    title: str
    detects: Callable[[Tensors], bool]
    read: Callable[[Tensors, Facts], Reading]
    shapes: Callable[[Any], dict[str, tuple[int, ...]]]
    unsupported: tuple[tuple[str, str], ...] = ()
    reference_ivit: Callable[[Any], dict[str, str]] | None = None
    reference_ivit_softmax_bits: int = 15
    optional: str = r"(?!)"
    weights: Callable[[Tensors, Any, Facts], dict[str, torch.Tensor]] = lambda state_dict, arch, facts: dict(state_dict)

    def refuse_unsupported(self, state_dict: Tensors) -> None:
        """Raise CheckpointError when a tensor belongs to a feature that is not supported."""
        for pattern, feature in self.unsupported:
            for name in state_dict:
                if re.search(pattern, name):
                    raise CheckpointError(f"not supported yet: {feature}; found tensor {name}")

    def checked(self, state_dict: Tensors, arch: Architecture, facts: Facts) -> StateDict:
        """The weights of a file under the names in `shapes`, in float32.

        Raises CheckpointError unless every tensor of `arch` is there, of its shape, floating point and finite. A tensor
        that the architecture does not have is an error too: ignoring it would silently change what the network
        computes.
        """
        self.refuse_unsupported(state_dict)
        found = self.weights(state_dict, arch, facts)
        check_tensors(found, self.shapes(arch), optional=self.optional, family=self.title)
        weights = {name: to_float32(tensor) for name, tensor in found.items()}
        for name, tensor in weights.items():
            if not torch.isfinite(tensor).all():
                raise CheckpointError(f"{name} does not fit float32: it has values above 3.4e38")
        return weights


def patch_shape(state_dict: Tensors) -> tuple[int, int, int]:
    """Width, colours and side of the patches of `patch_embed.proj.weight`. Raises CheckpointError for other kinds."""
    width, channels, patch, patch_width = shape_of(state_dict, "patch_embed.proj.weight", 4)
    if patch != patch_width:
        raise CheckpointError(f"not supported yet: patches that are not square ({patch} x {patch_width})")
    if channels != 3:
        raise CheckpointError(f"not supported yet: images of {channels} channels (patch_embed.proj.weight), expected 3")
    return width, channels, patch


def known_to_fit(
    facts: Facts, family: str, found: Mapping[str, Any], said: tuple[str, ...] = ()
) -> tuple[Architecture | None, Facts, list[str]]:
    """The known model that is told by name, if the shapes found are its own.

    If they are not: what its variants share, the activation function and eps, and a warning. `said`: fields in which a
    told value must agree with the name that the user gave. Raises CheckpointError when the user named the model and the
    file is another one.
    """
    if "name" not in facts:
        return None, Facts(), []
    known, origin = known_architecture(facts.value("name")), facts.found["name"].origin
    if origin == FIELDS["name"][1]:
        told = {field: fact.value for field, fact in facts.only(*said).found.items() if fact.origin.startswith("--")}
        check_against(known, family, {**found, **told})
        return known, Facts(), []
    try:
        check_against(known, family, found)
    except CheckpointError as error:
        shared = Facts.told(origin, **{field: getattr(known, field) for field in _SHARED if hasattr(known, field)})
        return None, shared, [f"{origin} names {known.name}, but {error}; going by the shapes"]
    return known, Facts(), []


def check_against(known: Architecture, family: str, found: Mapping[str, Any]) -> None:
    """Raise CheckpointError when the file, or a flag, differs from the architecture that the user named."""
    for field, value in {"family": family, **found}.items():
        expected = getattr(known, field)
        if value != expected:
            raise CheckpointError(f"the file is not {known.name}: {field} is {value}, expected {expected}")
