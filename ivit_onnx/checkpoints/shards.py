"""Weights in parts, and the index that says which tensor is in which: `model.safetensors.index.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ivit_onnx.budgets import TEXT_BYTES
from ivit_onnx.checkpoints.files import File, read_content
from ivit_onnx.errors import CheckpointError
from ivit_onnx.files import parse_json
from ivit_onnx.inputs import read_input, reason_of

__all__ = ["read_shards"]


def read_shards(index: Path) -> dict[str, torch.Tensor]:
    """The tensors of all parts by name.

    Raises CheckpointError when the index is damaged, names a file outside its folder, or does not fit the parts: one is
    missing, or has other tensors.
    """
    found: dict[str, torch.Tensor] = {}
    parts = _parts(index)
    missing = [part for part in parts if not (index.parent / part).is_file()]
    if missing:
        raise CheckpointError(f"{index} names {missing[0]}, which is not beside it; download all {len(parts)} parts")
    for part, names in parts.items():
        path = index.parent / part
        content = read_content(File(str(path), path)).value
        if not isinstance(content, dict):
            raise CheckpointError(f"{path} holds a {type(content).__name__}, expected tensors by name")
        if content.keys() != names:
            other = sorted(map(str, content.keys() ^ names))[0]
            where = "lacks" if other in names else "has"
            raise CheckpointError(
                f"{path} {where} tensor {other[:200]}, other than {index.name} says: download both again"
            )
        found |= content
    return found


def _parts(index: Path) -> dict[str, set[str]]:
    """The names of tensors by the file they are in."""
    try:
        content = parse_json(read_input(index, TEXT_BYTES), _unique)
    except OSError as error:
        raise CheckpointError(f"cannot read {index}: {reason_of(error)}") from None
    except ValueError as error:
        raise CheckpointError(f"{index} is a damaged index of parts ({reason_of(error)[:200]})") from None
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places:
        raise CheckpointError(f"{index} is JSON without a weight_map: give the file of the weights")
    parts: dict[str, set[str]] = {}
    for name, part in places.items():
        if not isinstance(part, str) or part in ("", ".", "..") or set(part) & set("/\\\0"):
            raise CheckpointError(f"{index} names {part!r} for tensor {name[:200]}, expected a file in the same folder")
        parts.setdefault(part, set()).add(name)
    return parts


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found
