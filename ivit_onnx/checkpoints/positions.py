"""Position tables of ViT: which grid of patches one is for, and one for another grid.

The number of tokens tells neither rows and columns nor, with tokens in front of the patches, whether these are counted.

For another image size, a table is resized as the authors of the weights do it. All of them interpolate with bicubic
splines; they differ in what that is told:

* timm, `resample_abs_pos_embed`: the new grid, with antialiasing; DINOv2 with registers too.
* DINOv2 without registers, `interpolate_pos_encoding` with `interpolate_offset=0.1`: factors (new + 0.1) / old, which
  place the samples a little off the grid, without antialiasing.
* Hugging Face, `interpolate_pos_encoding`: the new grid, without antialiasing.

Sources: timm/layers/pos_embed.py; facebookresearch/dinov2, dinov2/models/vision_transformer.py and
dinov2/hub/backbones.py; huggingface/transformers, models/dinov2/modeling_dinov2.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
import torch.nn.functional as F

from ivit_onnx.architectures import KNOWN, Size, VitArchitecture, known_architecture, matching_names
from ivit_onnx.checkpoints.facts import Facts
from ivit_onnx.errors import CheckpointError

__all__ = ["PositionResize", "position_fields", "resize_positions", "trained_grid"]


class PositionResize(Enum):
    """Whose way of resizing a position table is followed."""

    TIMM = "timm"
    DINOV2 = "dinov2"
    HUGGINGFACE = "huggingface"


#: What DINOv2 adds to the rows and columns of the new grid.
_DINOV2_OFFSET = 0.1


def resize_positions(
    table: torch.Tensor, prefix: int, old: Size, new: Size, how: PositionResize = PositionResize.TIMM
) -> torch.Tensor:
    """A position table [1, prefix + old.area, width] for another grid: float32 [1, prefix + new.area, width].

    The first `prefix` rows, of class and other tokens, stay. The rest is computed in float64, so that every machine
    gets the same float32 numbers.
    """
    patches = table[:, prefix:].double().reshape(1, *old, -1).permute(0, 3, 1, 2)
    target: dict[str, Any] = {"size": new}
    if how is PositionResize.DINOV2:
        target = {"scale_factor": tuple((n + _DINOV2_OFFSET) / o for n, o in zip(new, old, strict=True))}
    patches = F.interpolate(patches, mode="bicubic", antialias=how is PositionResize.TIMM, **target)
    return torch.cat([table[:, :prefix].float(), patches.permute(0, 2, 3, 1).flatten(1, 2).float()], dim=1)


def trained_grid(tokens: int, arch: VitArchitecture) -> Size | None:
    """The grid of a position table of that many tokens: that of the known model, that of `arch`, or a square.

    None where it is none of them. The reverse of `position_fields`, for an architecture that this has made.
    """
    patches = tokens if arch.no_embed_class else tokens - arch.prefix_tokens
    known = KNOWN.get(arch.name.partition(".")[0])
    if isinstance(known, VitArchitecture) and _is_of(known, tokens, arch.patch_size) and known.patches == patches:
        return known.grid
    return arch.grid if tokens == arch.positions else _square(patches)


@dataclass(frozen=True)
class _Reading:
    """One way to read a table: so many patches, with or without an entry for the tokens in front of them."""

    patches: int
    no_embed_class: bool

    def fields(self, grid: Size, patch: int) -> dict[str, Any]:
        """The fields of an architecture that the table tells."""
        return {"image_size": Size(*(side * patch for side in grid)), "no_embed_class": self.no_embed_class}


def position_fields(
    found: Mapping[str, Any], tokens: int, prefix: int, facts: Facts, *, separate: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """`image_size`, that of the training, and `no_embed_class` from a position table, with warnings about assumptions.

    `found` are the other fields, `tokens` the length of the table, `prefix` the number of tokens in front of the
    patches; `separate`: they are known to have no entry. In this order, the grid is that of the model that facts name,
    that of the image size in the facts, that of a known model with these fields, a square.

    Raises CheckpointError when no square has as many patches, or a table may be read in two ways.
    """
    patch = found["patch_size"]
    size: Size | None = facts.value("image_size")
    wanted = None if size is None else Size(*(side // patch for side in size))
    known = known_architecture(facts.value("name")) if "name" in facts else None
    table = f"the position table (pos_embed) has {tokens} tokens"
    if isinstance(known, VitArchitecture) and _is_of(known, tokens, patch):
        fields = _Reading(known.patches, known.no_embed_class).fields(known.grid, patch)
        if wanted is None or wanted == known.grid or wanted.area != known.grid.area:
            return fields, []
        assumed = f"{table}: taken as {known.grid.sides} patches, as {known.name} has, and resized to {wanted.sides}"
        return fields, [f"{assumed}; leave --arch out to take it as it is"]

    readings = [_Reading(tokens - prefix, False)] if not separate else []
    readings += [_Reading(tokens, True)] if prefix > 0 else []
    squares = {reading: grid for reading in readings if (grid := _square(reading.patches)) is not None}
    named = {
        reading: names[0]
        for reading, grid in squares.items()
        if (names := matching_names("vit", {**found, **reading.fields(grid, patch)}))
    }
    for reading in readings:
        if wanted is not None and wanted.area == reading.patches:
            fields = reading.fields(wanted, patch)
            if reading not in named or wanted.square:
                return fields, []
            assumed = f"{table}: taken as {wanted.sides} patches, though {named[reading]} has as many in a square"
            return fields, [f"{assumed}; pass --arch to resize them instead"]
    for reading in named:
        return reading.fields(squares[reading], patch), []

    if not squares:
        what = "which are no square of patches" if wanted is None else f"neither {wanted.sides} patches nor a square"
        raise CheckpointError(f"{table}, {what}; pass the image size of the training as --img-size HEIGHTxWIDTH")
    reading, grid = next(iter(squares.items()))
    if wanted is None and len(readings) > 1 and (reading.no_embed_class or len(squares) > 1):
        counts = " or ".join(str(way.patches) for way in readings)
        raise CheckpointError(f"{table}, which may be {counts} patches; pass --img-size to say which")
    assumed = f"{table}: taken as {grid.sides} patches"
    assumed += ", and none for the tokens in front of them" if reading.no_embed_class else ""
    advice = "and resized" if wanted is not None else "pass --img-size HEIGHTxWIDTH if images are not square"
    return reading.fields(grid, patch), [f"{assumed}{', ' if wanted is not None else '; '}{advice}"]


def _is_of(known: VitArchitecture, tokens: int, patch: int) -> bool:
    """Whether a table of that many tokens is that of a known model as it was trained."""
    return (known.positions, known.patch_size) == (tokens, patch)


def _square(patches: int) -> Size | None:
    """The square grid of that many patches, None where there is none."""
    side = math.isqrt(max(patches, 0))
    return Size(side, side) if side > 0 and side * side == patches else None
