"""What a set of images makes a model show: equal bits of nothing are no evidence."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from ivit_onnx.errors import ImageError, ModelError
from ivit_onnx.metadata import ModelDescription

__all__ = ["Evidence", "check_different", "check_normalisation", "quantised"]

Array = np.ndarray[Any, Any]

#: A normalisation that leaves no more than this, black and white, of images with more than that many pixel values
#: leaves no images.
_BLACK_AND_WHITE, _MANY = 2, 16


@dataclass(frozen=True)
class Evidence:
    """What the integer logits of one set of images are evidence of.

    `different` of `count` images are different as the model sees them, quantised, and have `values` different pixel
    values; they give `answers` different rows of logits from `least` to `most`, of which the largest are of `classes`
    different classes.
    """

    images: str
    count: int
    different: int
    values: int
    answers: int
    classes: int
    least: int
    most: int

    @classmethod
    def of(cls, images: str, seen: Array, logits: Array) -> Evidence:
        """From the images as the model sees them, integers [N, 3, H, W], and their logits, integers [N, classes]."""
        return cls(
            images,
            len(seen),
            _different(seen),
            len(np.unique(seen)),
            _different(logits),
            len(np.unique(logits.argmax(1))),
            int(logits.min()),
            int(logits.max()),
        )

    @property
    def finding(self) -> str | None:
        """Why it is no evidence, if it is none."""
        if self.different > 1 and self.answers == 1:
            return (
                f"the logits of all {self.different} different {self.images} images are the same: they show nothing of "
                "how the model computes; calibrate it with images like those it is for"
            )
        return None

    def to_json(self) -> dict[str, Any]:
        """The evidence as a JSON object."""
        return {**asdict(self), "finding": self.finding}


def quantised(inputs: Array, description: ModelDescription, model: onnx.ModelProto) -> Array:
    """The integers that a model computes with, of inputs [N, 3, H, W] of its type: what its QuantizeLinear makes of
    float32. Raises ModelError where it has no such node."""
    if description.input_type != "float32":
        return inputs
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] == description.input_name and node.input[1] in constants:
            scale = np.asarray(numpy_helper.to_array(constants[node.input[1]]), np.float32)
            with np.errstate(all="ignore"):  # what is not a number stays in its range all the same
                steps = np.nan_to_num(np.rint(inputs / scale), nan=0, posinf=127, neginf=-128)
            return np.asarray(np.clip(steps, -128, 127), np.int8)
    raise ModelError(f"the model is not valid: nothing quantises its input {description.input_name}")


def check_normalisation(pixels: Array, seen: Array, model: object) -> None:
    """Raise ModelError where the normalisation in a model's metadata wipes out its images: random `pixels`
    [N, 3, H, W], which are `seen` by the model as integers of the same shape."""
    before, after = len(np.unique(pixels)), len(np.unique(seen))
    one = after == 1 < before or _different(seen) == 1 < _different(pixels)
    if one or (after <= _BLACK_AND_WHITE and before > _MANY):
        raise ModelError(
            f"{model} has damaged metadata: its normalisation (mean, std, input scale) leaves {_different(seen)} of "
            f"{_different(pixels)} different images, with {after} of {before} pixel values; export the model again"
        )


def check_different(images: Array, what: str) -> None:
    """Raise ImageError where several images [N, ..] are one and the same to a model."""
    if len(images) > 1 and _different(images) == 1:
        raise ImageError(
            f"all {len(images)} {what} are the same to the model, which shows no more than one of them; expected "
            "different images"
        )


def _different(rows: Array) -> int:
    """How many of the rows [N, ..] are different."""
    return len({row.tobytes() for row in rows})
