"""What `config.json` of Hugging Face transformers says of a network for images."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ivit_onnx.checkpoints.facts import ASSUMED, Facts
from ivit_onnx.errors import CheckpointError

__all__ = ["DEFAULTS", "ORIGIN", "class_names", "config_facts", "vision_config"]

ORIGIN = "config.json"

#: By `model_type`, what transformers takes for a key that `config.json` lacks: only what differs from it need be there.
DEFAULTS: dict[str, dict[str, Any]] = {
    model_type: {"num_attention_heads": 12, "layer_norm_eps": eps, "hidden_act": act, "image_size": 224}
    for model_type, eps, act in (
        ("vit", 1e-12, "gelu"),
        ("deit", 1e-12, "gelu"),
        ("ijepa", 1e-12, "gelu"),
        ("vit_mae", 1e-12, "gelu"),
        ("vit_msn", 1e-6, "gelu"),
        ("dinov2", 1e-6, "gelu"),
        ("dinov2_with_registers", 1e-6, "gelu"),
        ("clip_vision_model", 1e-5, "quick_gelu"),
        ("siglip_vision_model", 1e-6, "gelu_pytorch_tanh"),
    )
}
DEFAULTS["swin"] = {"layer_norm_eps": 1e-5, "hidden_act": "gelu", "image_size": 224}

#: Where a model of several networks keeps the configuration of the one for images.
_PARTS = ("vision_config", "encoder")

#: Names of activation functions in transformers that are the same as ours under another name.
_ACTIVATIONS = {
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}


def vision_config(config: Mapping[str, Any], model_types: Sequence[str]) -> Mapping[str, Any]:
    """The configuration of a network of one of these types: the whole of a `config.json`, or a part of it.

    {} where there is no configuration. A part that does not say its type is of the first one. Raises CheckpointError
    when it is of none of them.
    """
    if not isinstance(config.get("model_type"), str):
        return {}
    part = next((config[part] for part in _PARTS if isinstance(config.get(part), Mapping)), config)
    model_type = part.get("model_type", model_types[0])
    if model_type not in model_types:
        raise CheckpointError(
            f"{ORIGIN}: expected a model_type of {', '.join(model_types)} for tensors of these names, "
            f"found {model_type!r}"
        )
    return {**part, "model_type": model_type}


def config_facts(config: Mapping[str, Any], model_type: str, patch_size: int) -> Facts:
    """Heads, eps, activation and image size, as the configuration says.

    Where there is none, eps and activation are assumed: transformers' defaults for `model_type`. `patch_size`, in
    pixels: an image has whole patches, and what remains of it is never looked at. Raises CheckpointError when a value is
    of another type.
    """
    if not config:
        default = DEFAULTS[model_type]
        return Facts.told(ASSUMED, eps=default["layer_norm_eps"], act=_activation(default["hidden_act"]))
    values = {**DEFAULTS[config["model_type"]], **{key: value for key, value in config.items() if value is not None}}
    heads = values.get("num_attention_heads")
    if heads is not None and (isinstance(heads, bool) or not isinstance(heads, int) or heads < 1):
        raise CheckpointError(f"{ORIGIN}: expected a positive integer as num_attention_heads, found {heads!r}")
    eps, act = values["layer_norm_eps"], values["hidden_act"]
    if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 < eps < 1:
        raise CheckpointError(f"{ORIGIN}: expected a number between 0 and 1 as layer_norm_eps, found {eps!r}")
    if not isinstance(act, str):
        raise CheckpointError(f"{ORIGIN}: expected a name as hidden_act, found {act!r}")
    size = _whole_patches(values["image_size"], patch_size)
    return Facts.told(ORIGIN, heads=heads, eps=float(eps), act=_activation(act), image_size=size)


def class_names(config: Mapping[str, Any], classes: int) -> Facts:
    """Names of classes, where `config.json` has one for each and they are more than placeholders."""
    table = config.get("id2label")
    if not isinstance(table, Mapping):
        return Facts()
    names = {str(key): value for key, value in table.items()}
    labels = tuple(names.get(str(index)) for index in range(classes))
    if len(names) != classes or not all(isinstance(label, str) for label in labels):
        return Facts()
    placeholders = all(re.fullmatch(r"LABEL_\d+", str(label)) for label in labels)
    return Facts() if placeholders else Facts.told(ORIGIN, labels=labels)


def _activation(name: str) -> str:
    return _ACTIVATIONS.get(name, name)


def _whole_patches(size: Any, patch: int) -> int | tuple[int, int]:
    """The image size, an int where it is a square, without what is smaller than a patch at the end of a side."""
    sides = (size, size) if isinstance(size, int) else tuple(size) if isinstance(size, Sequence) else ()
    if len(sides) != 2 or not all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides):
        raise CheckpointError(f"{ORIGIN}: expected image_size as a number or as [height, width], found {size!r}")
    height, width = (side // patch * patch for side in sides)
    return height if height == width else (height, width)
