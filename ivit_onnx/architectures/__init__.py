"""Architectures and their preprocessing: one file of records and known models a family. No torch here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ivit_onnx.architectures import swin, vit
from ivit_onnx.architectures.base import Architecture
from ivit_onnx.architectures.preprocess import (
    HALF,
    IMAGENET_MEAN,
    IMAGENET_STD,
    INTERPOLATIONS,
    Preprocess,
    timm_module,
    timm_preprocess,
)
from ivit_onnx.architectures.size import Size, SizeLike
from ivit_onnx.architectures.swin import SwinArchitecture
from ivit_onnx.architectures.vit import OTHER_NORMALISATION, VitArchitecture
from ivit_onnx.errors import CheckpointError

__all__ = [
    "HALF",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "INTERPOLATIONS",
    "KNOWN",
    "OTHER_NORMALISATION",
    "UNSUPPORTED",
    "Architecture",
    "Preprocess",
    "Size",
    "SizeLike",
    "SwinArchitecture",
    "VitArchitecture",
    "architecture_from_json",
    "default_preprocess",
    "known_architecture",
    "matching_names",
    "published_preprocess",
    "unsupported_feature",
]

_TYPES: tuple[type[Architecture], ...] = (VitArchitecture, SwinArchitecture)

#: Known timm models of all families by name, with the 1000 classes of ImageNet; a fine-tuned checkpoint may have
#: another number.
KNOWN: dict[str, Architecture] = {**vit.KNOWN, **swin.KNOWN}

#: What a name that is not known stands for, where that is a feature that is not supported: patterns of names.
UNSUPPORTED: dict[str, str] = vit.UNSUPPORTED
#: timm's modules whose networks are read by their shapes.
_TIMM_MODULES = ("vision_transformer", "deit", "eva", "swin_transformer")

_PREPROCESS: dict[str, Preprocess] = {**vit.PREPROCESS, **swin.PREPROCESS}


def architecture_from_json(data: Mapping[str, Any]) -> Architecture:
    """The reverse of `Architecture.to_json`, for any family; a description without a family is of a ViT.

    Raises CheckpointError when the family is unknown, or a field is missing or of another type.
    """
    if not isinstance(data, Mapping):
        raise CheckpointError(f"expected an architecture description, found {data!r}")
    family = data.get("family", VitArchitecture.family)
    for kind in _TYPES:
        if kind.family == family:
            return kind.from_json(data)
    raise CheckpointError(
        f"expected an architecture family of {', '.join(kind.family for kind in _TYPES)}, found {family!r}"
    )


def known_architecture(name: str) -> Architecture:
    """The known architecture of that name; a timm tag as in "vit_base_patch16_224.augreg_in21k" is allowed.

    Raises CheckpointError with close matches when the name is unknown.
    """
    base = name.partition(".")[0]
    if base in KNOWN:
        return replace(KNOWN[base], name=name)
    feature = unsupported_feature(base)
    if feature is not None:
        raise CheckpointError(f"{name} is not supported yet: {feature}")
    matches = difflib.get_close_matches(base, KNOWN, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(matches)}?" if matches else f"known are, for example, {', '.join([*KNOWN][:3])}"
    raise CheckpointError(
        f"unknown architecture {name!r}; {hint} (leave --arch out to read the architecture from the file)"
    )


def unsupported_feature(name: str) -> str | None:
    """The feature for which networks of that name are not supported; None for a name that tells of none.

    Where timm is installed, networks of other modules of it are told too.
    """
    feature = next((feature for pattern, feature in UNSUPPORTED.items() if re.search(pattern, name)), None)
    if feature is None and (module := timm_module(name)) is not None and module not in _TIMM_MODULES:
        return f"a network of timm's {module}"
    return feature


def matching_names(family: str, dimensions: Mapping[str, Any]) -> list[str]:
    """Names of the known models of a family whose fields equal the given ones, in the order of the table."""
    return [
        name
        for name, known in KNOWN.items()
        if known.family == family and all(getattr(known, field) == value for field, value in dimensions.items())
    ]


def default_preprocess(arch: Architecture) -> tuple[Preprocess, list[str]]:
    """Preprocessing of a model by its name, and warnings about what was assumed.

    A name with a timm tag asks timm when it is installed. A plain name of the table has timm's values for that name.
    Anything else gets the mean and standard deviation of ImageNet, with a warning.
    """
    base, _, tag = arch.name.partition(".")
    if base not in KNOWN:
        crop = 1.0 if min(arch.image_size) >= 384 else 0.9
        return Preprocess(arch.image_size, crop, "bicubic", IMAGENET_MEAN, IMAGENET_STD), [
            f"nothing tells the normalisation of {arch.name}: assuming the mean and std of ImageNet; "
            "pass --mean and --std (or --arch) to say otherwise"
        ]
    default = replace(_PREPROCESS[base], size=arch.image_size)
    if not tag:
        return default, []
    tagged = timm_preprocess(arch.name, arch.image_size)
    if tagged is not None:
        return tagged, []
    return default, [f"timm does not tell the normalisation of {arch.name}: taking that of {base}"]


def published_preprocess(arch: Architecture) -> tuple[Preprocess, list[str]]:
    """What the published I-ViT code does to ImageNet for every model, and a warning for other models."""
    preprocess = Preprocess(arch.image_size, 224 / 256, "bicubic", IMAGENET_MEAN, IMAGENET_STD)
    if arch.name.partition(".")[0] in KNOWN:
        return preprocess, []
    return preprocess, [
        "assuming the mean and std of ImageNet, as the published I-ViT code has them; pass --mean and --std to say "
        "otherwise"
    ]
