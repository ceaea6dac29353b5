"""What training scripts keep beside the weights: the name of the architecture, their options, a configuration."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from ivit_onnx.checkpoints.facts import Facts
from ivit_onnx.checkpoints.inert import Inert, entries
from ivit_onnx.checkpoints.values import told

__all__ = ["OPTIONS", "facts_beside"]

#: Keys of groups of options, the most telling first.
OPTIONS = ("pretrained_cfg", "model_args", "args", "hyper_parameters", "hparams", "opt_args", "cfg", "config")
#: Keys of single values beside the weights.
_SINGLE: tuple[str, ...] = ("architecture", "arch", "model_name", "global_pool", "img_size", "input_size", "image_size")
_SINGLE += ("mean", "std", "crop_pct", "crop_mode", "interpolation", "label_names")


def facts_beside(content: Mapping[Any, Any]) -> Facts:
    """The facts in a mapping that holds weights; each says under which key it was found."""
    found = Facts()
    for key in _SINGLE:
        if key in content:
            found |= told(f"{key} in the checkpoint", {key: content[key]})
    for key in OPTIONS:
        if key in content:
            found |= told(f"{key} in the checkpoint", _options(content[key]))
    return found


def _options(value: Any) -> dict[Any, Any]:
    """Options by name, of a dictionary, a Namespace, or a tree of yacs such as Swin's."""
    options = vars(value) if isinstance(value, argparse.Namespace) else entries(value)
    model, data = (_mapping(options.get(part)) for part in ("MODEL", "DATA"))
    tree = {
        "architecture": model.get("NAME"),
        "img_size": data.get("IMG_SIZE"),
        "interpolation": data.get("INTERPOLATION"),
    }
    return {**options, **{name: value for name, value in tree.items() if value is not None}}


def _mapping(value: Any) -> dict[Any, Any]:
    return entries(value) if isinstance(value, dict | Inert) else {}
