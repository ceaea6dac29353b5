"""What an exported file tells of the twin it was made from, and the twin again from the file and its checkpoint."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper

from ivit_onnx._version import __version__
from ivit_onnx.architectures import Architecture, Preprocess, architecture_from_json
from ivit_onnx.calibration import adjustments_from_text, adjustments_to_text, is_rounded, replay
from ivit_onnx.checkpoints import AUTO, Choice, Given, load_as, title_of
from ivit_onnx.errors import CalibrationError, CheckpointError, ModelError
from ivit_onnx.files import parse_json
from ivit_onnx.metadata import check_metadata, check_size
from ivit_onnx.model_files import load_with_weights, parse_model
from ivit_onnx.models import Twin, from_checkpoint
from ivit_onnx.opset import OPSET_VERSION
from ivit_onnx.opset_version import check_opset_version
from ivit_onnx.quant.tables import nonlinear_named

__all__ = ["load_twin", "read_metadata", "read_origin", "write_metadata"]

PathLike = str | os.PathLike[str]


def write_metadata(
    model: Twin,
    fingerprint: str,
    input_type: str,
    output_scale: float,
    calibrated: dict[str, Any],
    quality: dict[str, Any] | None = None,
    choice: Choice = AUTO,
    labels: Sequence[str] | None = None,
    *,
    flat: bool,
) -> dict[str, str]:
    """The metadata of the file that a twin is exported to, all that `load_twin` and `describe` read.

    Args:
        model: the twin.
        fingerprint: that of its checkpoint.
        input_type: type of the graph's input: "uint8", "int8" or "float32".
        output_scale: what an integer of the output stands for.
        calibrated: how it was calibrated, for people to read.
        quality: how near it comes to the floating-point network, likewise.
        choice: which tensors of the checkpoint were taken.
        labels: names of the classes, where the checkpoint has them.
        flat: whether the composite operators are inlined.
    """
    metadata = {
        "ivit.version": __version__,
        "ivit.opset": str(OPSET_VERSION),
        "ivit.arch": json.dumps(model.arch.to_json()),
        "ivit.form": "flat" if flat else "hierarchical",
        "ivit.input": input_type,
        "ivit.input_scale": repr(float(model.image.output.scale)),
        "ivit.output_scale": repr(output_scale),
        "ivit.preprocess": json.dumps(model.preprocess.to_json()),
        "ivit.softmax_bits": str(model.softmax_bits),
        "ivit.nonlinear": model.nonlinear,
        "ivit.quantization": json.dumps(model.quantization_state()),
        "ivit.calibration": json.dumps(calibrated),
        "ivit.checkpoint": fingerprint,
    }
    if quality is not None:
        metadata["ivit.quality"] = json.dumps(quality)
    if choice != AUTO:
        metadata["ivit.choice"] = json.dumps(asdict(choice))
    if labels is not None and len(labels) == model.arch.classes:
        metadata["ivit.labels"] = json.dumps(list(labels))
    if model.adjustments:
        metadata["ivit.adjustments"] = adjustments_to_text(model.adjustments)
    return metadata


def read_metadata(model: PathLike) -> dict[str, str]:
    """The metadata of an ONNX file by key.

    Raises:
        ModelError: the file is missing, not ONNX, or has no `ivit.` metadata.
    """
    return _read(model)[0]


def load_twin(model: PathLike, checkpoint: Given) -> Twin:
    """The PyTorch twin of an exported model, from its checkpoint and its metadata, in eval mode.

    `checkpoint`: as in `export`. Weights are its own with the adjustments of the calibration, which are repeated. Of a
    model of the preset "best", the choice between the integers next to each weight is read from the model.

    It maps the model's input tensor (uint8, int8 or float32, [N, 3, H, W]) to the model's integer logits.

    Raises:
        ModelError: the file is not one of ours, is for a later version of the domain, or was made from another
            checkpoint.
        CheckpointError: as `export`.
    """
    title = title_of(checkpoint)
    metadata, shape = _read(model)
    check_opset_version(model, os.fspath(model))
    try:
        arch, preprocess, choice = _origin(metadata, shape)
        state = parse_json(metadata["ivit.quantization"])
        softmax_bits = int(metadata["ivit.softmax_bits"])
        nonlinear = nonlinear_named(metadata.get("ivit.nonlinear", "ivit"))
        fingerprint = metadata["ivit.checkpoint"]
        adjustments = adjustments_from_text(metadata["ivit.adjustments"]) if "ivit.adjustments" in metadata else {}
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{model}: damaged or missing metadata ({error}); export the model again") from None
    try:
        loaded = load_as(checkpoint, arch, choice)
    except CheckpointError as error:
        raise ModelError(f"{model} was not exported from {title}: {error}") from None
    if loaded.fingerprint != fingerprint:
        raise ModelError(f"{model} was not exported from {title}: the weights differ (fingerprint)")
    twin = from_checkpoint(loaded, preprocess, softmax_bits, nonlinear)
    try:
        replay(twin, adjustments, _integer_weights(model) if is_rounded(adjustments) else {})
    except CalibrationError as error:
        raise ModelError(f"{model} was not exported from {title}: {error}") from None
    twin.load_quantization_state(state)
    return twin


def read_origin(model: PathLike) -> tuple[Architecture, Preprocess, Choice]:
    """What an exported model is of: the network, its images, and which tensors of the checkpoint were taken.

    Raises ModelError when the file is not one of ours or its metadata is damaged.
    """
    metadata, shape = _read(model)
    try:
        return _origin(metadata, shape)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{model}: damaged or missing metadata ({error}); export the model again") from None


def _read(model: PathLike) -> tuple[dict[str, str], list[int]]:
    """The metadata of a file, and the shape of its input; 0 for a dimension that is not known."""
    proto = parse_model(model)
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    check_metadata(metadata, model)
    shape = [dim.dim_value for value in proto.graph.input[:1] for dim in value.type.tensor_type.shape.dim]
    return metadata, shape


def _origin(metadata: Mapping[str, str], shape: Sequence[int]) -> tuple[Architecture, Preprocess, Choice]:
    preprocess = check_size(metadata, shape)
    return (
        architecture_from_json(parse_json(metadata["ivit.arch"])),
        preprocess,
        Choice(**parse_json(metadata["ivit.choice"])) if "ivit.choice" in metadata else AUTO,
    )


def _integer_weights(model: PathLike) -> dict[str, np.ndarray[Any, Any]]:
    """The int8 matrices [in, out] of an exported model by name."""
    proto = load_with_weights(model)
    return {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in proto.graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 2
    }
