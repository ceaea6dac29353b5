"""What an exported model says about itself, read from a session: no onnx package and no torch needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ivit_onnx.architectures import Preprocess, Size
from ivit_onnx.errors import IvitError, ModelError
from ivit_onnx.files import parse_json

__all__ = ["ModelDescription", "check_metadata", "check_size", "describe"]

Array = np.ndarray[Any, Any]

_INPUT_TYPES = {"tensor(uint8)": "uint8", "tensor(int8)": "int8", "tensor(float)": "float32"}


@dataclass(frozen=True)
class ModelDescription:
    """An exported model's interface: how to feed it and what its integers mean.

    `input_type` is "uint8", "int8" or "float32"; `output` is "logits" or, of a network without a head, "features", and
    `classes` is how many; `labels` are their names, None where the checkpoint had none; float outputs are integer
    outputs times `output_scale`.
    """

    input_name: str
    input_type: str
    input_scale: float
    output_scale: float
    preprocess: Preprocess
    architecture: str
    classes: int
    output: str = "logits"
    labels: tuple[str, ...] | None = None

    def model_input(self, normalised: Array) -> Array:
        """Normalised float32 images [.., 3, height, width] as the type that the model takes.

        For a uint8 model the normalisation is undone, which gives back the very pixels it was made from.
        """
        if self.input_type == "float32":
            return np.asarray(normalised, np.float32)
        if self.input_type == "int8":
            scale = np.float32(self.input_scale)
            with np.errstate(over="ignore"):  # infinity is cut off too
                steps: Array = np.clip(np.rint(np.asarray(normalised, np.float32) / scale), -128, 127)
            return steps.astype(np.int8)
        mean = np.asarray(self.preprocess.mean, np.float32)[:, None, None]
        std = np.asarray(self.preprocess.std, np.float32)[:, None, None]
        pixels: Array = np.clip(np.rint((normalised * std + mean) * np.float32(255)), 0, 255)
        return pixels.astype(np.uint8)


def check_metadata(metadata: Mapping[str, str], model: object) -> None:
    """Raises ModelError unless the metadata is that of a file that `export` wrote; `model` is its name in messages."""
    if "ivit.opset" not in metadata:
        raise ModelError(f"{model} is not a model of ivit-onnx: it has no ivit.opset in its metadata")


def check_size(metadata: Mapping[str, str], shape: Sequence[object]) -> Preprocess:
    """How images are prepared, where all say the same of their size: `ivit.preprocess`, `ivit.arch`, the graph's input.

    Buffers of that size are made before the graph could refuse them. Raises ModelError where one says something else,
    KeyError, TypeError or another IvitError where the metadata are damaged.
    """
    preprocess = Preprocess.from_json(parse_json(metadata["ivit.preprocess"]))
    architecture = parse_json(metadata["ivit.arch"])
    sizes = {"ivit.preprocess": [3, *preprocess.size]}
    sizes["ivit.arch"] = [architecture["in_channels"], *Size.of(architecture["image_size"])]
    for key, size in sizes.items():
        if [*shape[1:]] != size:
            raise ModelError(f"{key}: expected images as the graph's input takes them, {[*shape[1:]]}, found {size}")
    return preprocess


def describe(session: Any, model: object) -> ModelDescription:
    """The description of the model in an onnxruntime session; `model` is its name in messages.

    Raises ModelError when the model was not made by ivit-onnx or its metadata is damaged.
    """
    try:
        metadata: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
    except UnicodeDecodeError:
        raise ModelError(f"{model} has damaged metadata (not valid UTF-8); export the model again") from None
    check_metadata(metadata, model)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    try:
        preprocess = check_size(metadata, inputs[0].shape)
        architecture = parse_json(metadata["ivit.arch"])
        return ModelDescription(
            input_name=inputs[0].name,
            input_type=_INPUT_TYPES[inputs[0].type],
            input_scale=_positive(metadata["ivit.input_scale"]),
            output_scale=_positive(metadata["ivit.output_scale"]),
            preprocess=preprocess,
            architecture=str(architecture["name"]),
            classes=int(outputs[0].shape[-1]),
            output=outputs[0].name,
            labels=_labels(metadata, int(outputs[0].shape[-1])),
        )
    except (IvitError, KeyError, IndexError, TypeError, ValueError) as error:
        raise ModelError(
            f"{model} has damaged metadata ({type(error).__name__}: {error}); export the model again"
        ) from None


def _labels(metadata: Mapping[str, str], classes: int) -> tuple[str, ...] | None:
    """The names of the classes, where the checkpoint had them."""
    if "ivit.labels" not in metadata:
        return None
    found = parse_json(metadata["ivit.labels"])
    if not isinstance(found, list) or len(found) != classes or not all(isinstance(name, str) for name in found):
        raise ValueError(f"ivit.labels: expected {classes} names")
    return tuple(found)


def _positive(text: str) -> float:
    value = float(text)
    with np.errstate(over="ignore"):
        single = np.float32(value)
    if not 0 < single < np.inf:  # as which it divides
        raise ValueError(f"a scale of {text}")
    return value
