"""The exports of this package that real.py measures, and their features, run by the kernels."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from real_features import STREAMS, Features, Pictures, batches
from real_weights import DEPTH, EPSILON, HEADS, MEAN, SIZE, STD

import ivit_onnx
from ivit_onnx.api import read_metadata

Array = np.ndarray[Any, Any]

#: Options of `ivit_onnx.export` by name. No `calib` is an export without any images.
EXPORTS: dict[str, dict[str, Any]] = {
    "default": {},
    "ivit": {"nonlinear": "ivit"},
    "fast": {"calib_preset": "fast"},
    "best": {"calib_preset": "best"},
    "default, softmax of 8 bits": {"softmax_bits": 8},
    "ivit, softmax of 8 bits": {"nonlinear": "ivit", "softmax_bits": 8},
    "default without images": {"calib": None, "calib_cache": None},
}
_NETWORK: dict[str, Any] = {"num_heads": HEADS, "img_size": SIZE, "mean": MEAN, "std": STD}


def _code() -> str:
    """Identifies the code that the statistics depend on."""
    digest = hashlib.sha256()
    for package in ("calibration", "checkpoints", "models", "quant"):
        for folder in ivit_onnx.__path__:
            for file in sorted(Path(folder, package).rglob("*.py")):
                digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def export_features(cache: Path, pictures: Pictures, options: dict[str, Any]) -> tuple[Features, dict[str, Any]]:
    """Features of an export with these options, and what the export tells of itself.

    Exports share the statistics of the calibration photographs, which the cache keeps for as long as the code and the
    photographs are the same.
    """
    statistics = cache / "calibration" / f"{_code()}-{pictures.digest()}.safetensors"
    statistics.parent.mkdir(exist_ok=True)
    images = {"calib": pictures.calibration, "calib_cache": statistics}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        report = ivit_onnx.export(cache / "weights.pt", path, **{**_NETWORK, **images, **options})
        with_streams = Path(folder) / "streams.onnx"
        scales = _add_streams(path, with_streams)
        session = ivit_onnx.create_session(with_streams)
        state = torch.load(cache / "weights.pt", weights_only=True)
        norm = state["norm.weight"].numpy(), state["norm.bias"].numpy()
        features = _run(session, pictures, report.output_scale, scales, norm)
    return features, {"bytes": report.file_bytes, "seconds": report.seconds, "warnings": report.warnings}


def _add_streams(path: Path, output: Path) -> list[float]:
    """Writes a model with its int16 residual streams as outputs, too; returns the scale of each."""
    model = onnx.load(path)
    scales = json.loads(read_metadata(path)["ivit.quantization"])
    names = [f"blocks.{index}.mlp" for index in range(DEPTH)]
    missing = set(names) - {name for node in model.graph.node for name in node.output}
    if missing:
        raise SystemExit(f"{path}: expected residual streams {', '.join(names)}, found no {', '.join(sorted(missing))}")
    known = {value.name for value in model.graph.output}
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT16, None) for name in names if name not in known
    )
    onnx.save(model, output)
    return [scales[f"{name}.output.scale"] for name in names]


def _run(
    session: onnxruntime.InferenceSession,
    pictures: Pictures,
    scale: float,
    scales: list[float],
    norm: tuple[Array, Array],
) -> Features:
    """The class token is the model's own output; patch tokens are its last residual stream after the norm in float."""
    image, output = session.get_inputs()[0].name, session.get_outputs()[0].name
    streams = [f"blocks.{index}.mlp" for index in range(DEPTH)]
    seen: list[list[Array]] = []

    def tokens(images: Array) -> Array:
        first, last = session.run([output, streams[-1]], {image: images})
        found = layer_norm(last * np.float32(scales[-1]), *norm)
        found[:, 0] = first.reshape(len(images), -1) * np.float32(scale)
        return found

    for found in batches(pictures.photos[:STREAMS], lambda images: session.run(streams, {image: images})):
        seen.append([stream * np.float32(step) for stream, step in zip(found, scales, strict=True)])
    photos = batches(pictures.photos, tokens)
    objects = batches(
        pictures.objects,
        lambda images: session.run([output], {image: images})[0].reshape(len(images), -1) * np.float32(scale),
    )
    joined = np.stack([np.concatenate(stream) for stream in zip(*seen, strict=True)])
    return Features(np.concatenate(photos), np.concatenate(objects), joined)


def layer_norm(values: Array, weight: Array, bias: Array) -> Array:
    """float32 normalisation of the last axis."""
    centred = values - values.mean(-1, keepdims=True)
    normal: Array = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + np.float32(EPSILON)) * weight + bias
    return normal
