"""What options, configurations and modules say in the words of timm, as facts: values of the right type and range."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ivit_onnx.architectures.preprocess import CROP_MODES, INTERPOLATIONS
from ivit_onnx.checkpoints.facts import Facts

__all__ = ["act_name", "image_size", "labels", "told"]

#: Names of activations that mean another one; those of classes are compared without their module.
_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_tanh": "gelu_tanh",
    "gelutanh": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quickgelu": "quick_gelu",
    "quick_gelu": "quick_gelu",
}
_MOST_PIXELS = 2**16


def told(origin: str, values: Mapping[Any, Any]) -> Facts:
    """The facts among values by name; the first name of each field in `_WORDS` that has a sensible value counts."""
    found = {}
    for field, (words, read) in _WORDS.items():
        read_values = (read(values[word]) for word in words if word in values)
        found[field] = next((value for value in read_values if value is not None), None)
    return Facts.told(origin, **found)


def act_name(name: str) -> str:
    """Our name of an activation function; one that is not known stays as it is, and is refused later by its name."""
    short = name.rpartition(".")[2]
    return _ACTIVATIONS.get(short.lower(), short)


def image_size(value: Any) -> int | tuple[int, int] | None:
    """A size in pixels: one number where the image is square, else height and width. None for anything else."""
    if isinstance(value, list | tuple):
        sizes = tuple(value[-2:]) if len(value) in (2, 3) else tuple(value) * 2 if len(value) == 1 else ()
    else:
        sizes = (value, value)
    if len(sizes) != 2 or not all(type(size) is int and 0 < size <= _MOST_PIXELS for size in sizes):
        return None
    return sizes[0] if sizes[0] == sizes[1] else (sizes[0], sizes[1])


def _name(value: Any) -> str | None:
    """The name of an architecture, as timm has it, without the hub it comes from."""
    if not isinstance(value, str) or re.fullmatch(r"[\w./:-]{1,100}", value) is None:
        return None
    return re.sub(r"^(hf[-_]hub:)?timm/", "", value)


def _colours(lowest: float) -> Callable[[Any], tuple[float, ...] | None]:
    """Three numbers, for pixels from 0 to 1."""

    def read(value: Any) -> tuple[float, ...] | None:
        if (
            not isinstance(value, list | tuple)
            or len(value) != 3
            or not all(type(one) in (int, float) for one in value)
        ):
            return None
        return tuple(map(float, value)) if all(lowest <= one <= 1 for one in value) else None

    return read


def _share(value: Any) -> float | None:
    fits = type(value) in (int, float) and 0 < value <= 1
    return float(value) if fits else None


def _word(*allowed: str) -> Callable[[Any], str | None]:
    return lambda value: value if isinstance(value, str) and value in allowed else None


def _pool(value: Any) -> str | None:
    """Pooling in timm's words. In MAE's options a flag says whether it is the average."""
    if isinstance(value, bool):
        return "avg" if value else "token"
    return value if isinstance(value, str) and re.fullmatch(r"\w{1,20}", value) else None


def _act(value: Any) -> str | None:
    return act_name(value) if isinstance(value, str) and re.fullmatch(r"[\w.]{1,100}", value) else None


def labels(value: Any) -> tuple[str, ...] | None:
    """Names of classes in their order; None for anything else, and for the placeholders of transformers."""
    listed = isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(one, str) for one in value)
    if not listed or all(re.fullmatch(r"LABEL_\d+", one) for one in value):
        return None
    return tuple(value)


#: Words for each field, the most telling first, and what makes a fact of a value, or None.
_WORDS: dict[str, tuple[tuple[str, ...], Callable[[Any], Any]]] = {
    "name": (("architecture", "arch", "model_name", "model", "backbone"), _name),
    "image_size": (("img_size", "input_size", "image_size"), image_size),
    "mean": (("mean",), _colours(0.0)),
    "std": (("std",), _colours(1e-6)),
    "crop_pct": (("crop_pct",), _share),
    "crop_mode": (("crop_mode",), _word("border", *CROP_MODES)),
    "interpolation": (("interpolation",), _word(*INTERPOLATIONS)),
    "pool": (("global_pool", "gp"), _pool),
    "act": (("act_layer", "act", "hidden_act"), _act),
    "labels": (("label_names",), labels),
}
