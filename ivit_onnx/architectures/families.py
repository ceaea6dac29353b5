"""The families of networks, and what is looked up in all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ivit_onnx.architectures import swin, vit
from ivit_onnx.architectures.architecture import Architecture
from ivit_onnx.architectures.family import Family
from ivit_onnx.errors import CheckpointError

__all__ = ["FAMILIES", "KNOWN", "OTHER_NORMALISATION", "UNSUPPORTED", "architecture_from_json", "family_of"]

#: All families. The most general one is the first; the last is the first to be asked whether a checkpoint is its own.
FAMILIES: tuple[Family, ...] = (vit.FAMILY, swin.FAMILY)

#: Known timm models of all families by name, with the 1000 classes of ImageNet where they classify; a fine-tuned
#: checkpoint may have another number.
KNOWN: dict[str, Architecture] = {name: arch for family in FAMILIES for name, arch in family.known.items()}

#: What a name that is not known stands for, where that is a feature that is not supported: patterns of names.
UNSUPPORTED: dict[str, str] = {
    pattern: feature for family in FAMILIES for pattern, feature in family.unsupported.items()
}

#: Tags of timm whose weights normalise images otherwise than those of the plain name, one for each normalisation.
OTHER_NORMALISATION: dict[str, tuple[str, ...]] = {
    name: tags for family in FAMILIES for name, tags in family.other_normalisation.items()
}


def family_of(arch: Architecture) -> Family:
    """The family that an architecture is of."""
    return next(family for family in FAMILIES if family.name == arch.family)


def architecture_from_json(data: Mapping[str, Any]) -> Architecture:
    """The reverse of `Architecture.to_json`, for any family; a description without a family is of a ViT.

    Raises CheckpointError when the family is unknown, or a field is missing or of another type.
    """
    if not isinstance(data, Mapping):
        raise CheckpointError(f"expected an architecture description, found {data!r}")
    family = data.get("family", FAMILIES[0].name)
    for known in FAMILIES:
        if known.name == family:
            return known.architecture.from_json(data)
    raise CheckpointError(
        f"expected an architecture family of {', '.join(known.name for known in FAMILIES)}, found {family!r}"
    )
