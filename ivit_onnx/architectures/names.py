"""Names of networks: those that are known, and what others say."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ivit_onnx.architectures.architecture import Architecture
from ivit_onnx.architectures.families import FAMILIES, KNOWN, UNSUPPORTED
from ivit_onnx.architectures.preprocess import timm_module
from ivit_onnx.errors import CheckpointError

__all__ = ["known_architecture", "matching_names", "unsupported_feature"]

_TIMM_MODULES = frozenset(module for family in FAMILIES for module in family.timm_modules)


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
