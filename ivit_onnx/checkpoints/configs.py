"""The JSON files beside weights: `config.json` of timm and of transformers, `open_clip_config.json`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ivit_onnx.budgets import TEXT_BYTES
from ivit_onnx.checkpoints.facts import Facts
from ivit_onnx.checkpoints.preprocessor import preprocessor_facts
from ivit_onnx.checkpoints.values import labels, told
from ivit_onnx.errors import CheckpointError
from ivit_onnx.files import parse_json
from ivit_onnx.inputs import read_input, reason_of

__all__ = ["CONFIGS", "Configured", "read_configs", "read_json"]

_CONFIG, _OPEN_CLIP = "config.json", "open_clip_config.json"
_PREPROCESSORS = ("preprocessor_config.json", "processor_config.json")
#: All files that are read.
CONFIGS = (_CONFIG, _OPEN_CLIP, *_PREPROCESSORS)
_HEADS = 1024


@dataclass(frozen=True)
class Configured:
    """What the files of a folder say: facts, the configuration for the layout, and which files were read."""

    facts: Facts = field(default_factory=Facts)
    config: Mapping[str, Any] = field(default_factory=dict)
    read: tuple[str, ...] = ()


def read_configs(folder: Path) -> Configured:
    """Read those of `CONFIGS` that are in a folder. Raises CheckpointError when one is no JSON object, or impossible.

    A preprocessor's facts about images win over those of `config.json`.
    """
    facts, config, read = Facts(), {}, []
    for name in _PREPROCESSORS:
        if (folder / name).is_file():
            facts |= preprocessor_facts(read_json(folder / name), folder / name)
            read.append(name)
    if (folder / _CONFIG).is_file():
        content = read_json(folder / _CONFIG)
        facts |= _timm_facts(content) | Facts.told(_CONFIG, labels=_labels(content.get("id2label")))
        config = content if "model_type" in content or "architectures" in content else {}
        read.append(_CONFIG)
    if (folder / _OPEN_CLIP).is_file():
        content = read_json(folder / _OPEN_CLIP)
        facts |= _open_clip_facts(content.get("preprocess_cfg"))
        model = content.get("model_cfg")
        config = config or (model if isinstance(model, dict) else {})
        read.append(_OPEN_CLIP)
    return Configured(facts, config, tuple(read))


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises CheckpointError when it is none."""
    try:
        content = parse_json(read_input(path, TEXT_BYTES))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {reason_of(error)}") from None
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON ({reason_of(error)[:200]})") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a JSON object")
    return content


def _timm_facts(content: Mapping[str, Any]) -> Facts:
    """What timm writes: `architecture`, `model_args`, and `pretrained_cfg`, which older files have at the top."""
    if not isinstance(content.get("architecture"), str):
        return Facts()
    pretrained = _mapping(content.get("pretrained_cfg"))
    args = _mapping(content.get("model_args"))
    name, tag = content["architecture"], pretrained.get("tag")
    if isinstance(tag, str) and re.fullmatch(r"\w+", tag) and "." not in name:
        name = f"{name}.{tag}"
    heads = args.get("num_heads")
    heads = heads if type(heads) is int and 0 < heads <= _HEADS else None
    told_heads = Facts.told(_CONFIG, heads=heads)
    return told_heads | told(_CONFIG, {**content, "architecture": name, **args}) | told(_CONFIG, pretrained)


def _labels(names: Any) -> tuple[str, ...] | None:
    """Names of classes in their order, from `id2label`; None where not all are there."""
    return labels([names.get(str(index)) for index in range(len(names))]) if isinstance(names, dict) else None


def _open_clip_facts(preprocess: Any) -> Facts:
    """Mean, standard deviation, size and resizing; its "shortest" is resizing and a centre crop of the whole height."""
    values = _mapping(preprocess)
    modes = {"shortest": "center", "squash": "squash"}
    mode = modes.get(str(values.get("resize_mode")))
    if mode is not None:
        values = {**values, "crop_mode": mode, "crop_pct": 1.0}
    return told(_OPEN_CLIP, {**values, "img_size": values.get("size")})


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
