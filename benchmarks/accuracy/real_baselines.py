"""The baselines of `ivit-bench` on the network of real.py, quantised with the same calibration photographs.

Recipes and settings of the runtimes are those that `ivit-bench --peers` times under the same names, made by the same
code (ivit_onnx/bench/baselines.py and ivit_onnx/bench/runtimes), for a network whose output is all tokens after the
final norm. Other rows vary one of them, and their names say how. Baselines in float32 are what all others are compared
with.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from real_features import BATCH, Features, Pictures, cached, normalise, tokens_features
from real_weights import SIZE, float_model

from ivit_onnx.bench import baselines
from ivit_onnx.bench.machine import versions
from ivit_onnx.bench.runtimes import litert, openvino, pt2e, pytorch
from ivit_onnx.bench.runtimes import onnxruntime as ort

Array = np.ndarray[Any, Any]
#: From normalised float32 images to tokens.
Run = Callable[[Array], Array]


@dataclass(frozen=True)
class Baseline:
    """One that is timed, and changes of its recipe if any."""

    timed: baselines.Baseline
    changes: dict[str, Any] = field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        return {**self.timed.config, **self.timed.environment, **self.changes}


_TIMED = {baseline.name: baseline for baseline in baselines.BASELINES["cpu"] if not baseline.name.endswith("-fp32")}
_PRODUCTS = {"operators": ["MatMul", "Gemm", "Conv"]}
_STATIC = _TIMED["ort-static-int8"]
_FLOAT32 = replace(_TIMED["openvino-int8"], config={"INFERENCE_PRECISION_HINT": "f32"})
BASELINES: dict[str, Baseline] = {
    **{name: Baseline(baseline) for name, baseline in _TIMED.items()},
    "ort-static-int8, products only": Baseline(_STATIC, _PRODUCTS),
    "ort-static-int8, products only, entropy": Baseline(_STATIC, {**_PRODUCTS, "method": "Entropy"}),
    "ort-static-int8, products only, percentile": Baseline(_STATIC, {**_PRODUCTS, "method": "Percentile"}),
    "openvino-int8, the rest in float32": Baseline(_FLOAT32),
    "openvino-int8, the rest in float32, without SmoothQuant": Baseline(_FLOAT32, {"smooth_quant": False}),
}


class BaselineError(Exception):
    """A baseline is not installed, or fails."""


def baseline_features(cache: Path, pictures: Pictures, baseline: Baseline) -> Features:
    """The features of a baseline; the cache keeps them for these settings, versions and pictures."""
    missing = baselines.what_is_missing(baseline.timed)
    if missing is not None:
        raise BaselineError(missing)
    found = versions()
    key = {
        "baseline": baseline.timed.name,
        "settings": baseline.settings(),
        "versions": {package: found[package] for package in baseline.timed.packages},
        "pictures": pictures.digest(),
    }

    def make() -> Features:
        # Runtimes change each other: zentorch takes over operators of what PyTorch compiles, PT2E's among them.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            try:
                return process.submit(_features, cache, pictures, baseline, torch.get_num_threads()).result()
            except Exception as error:  # as in ivit-bench, a runtime may fail in any way of its own
                raise BaselineError(f"failed: {type(error).__name__}: {' '.join(str(error).split())}") from None

    return cached(cache, key, make)


def _features(cache: Path, pictures: Pictures, baseline: Baseline, threads: int) -> Features:
    os.environ.update(baseline.timed.environment)
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        run = prepare(cache, normalise(pictures.calibration), baseline, Path(folder))
        return tokens_features(run, pictures)


def prepare(cache: Path, images: Array, baseline: Baseline, folder: Path) -> Run:
    """The baseline with the weights of the cache folder, calibrated on float32 images [N, 3, 224, 224].

    Files of its own go into `folder`. Runs take batches of any size.
    """
    timed, changes = baseline.timed, baseline.changes
    if timed.runner == "onnxruntime":
        path = folder / "model.onnx"
        if timed.product == "static-int8":
            ort.quantise_static(float_onnx(cache), images, path, **changes)
        else:
            ort.quantise_dynamic(float_onnx(cache), path)
        return _in_onnxruntime(path)
    if timed.runner == "openvino":
        path = folder / "model.xml"
        if timed.product == "openvino-int8":
            openvino.quantise(float_onnx(cache), images, path, **changes)
        elif timed.product == "openvino-int8-weights":
            openvino.compress_weights(float_onnx(cache), path)
        else:
            path = float_onnx(cache)
        return _in_openvino(path, timed.config)
    network = tokens_network(cache)
    if timed.runner == "litert":
        path = folder / "model.tflite"
        litert.quantise(network, torch.from_numpy(images[:1]), path)
        run = litert.load(path, torch.get_num_threads())
        return lambda batch: np.concatenate([run(image[None]) for image in batch])
    if timed.runner == "pt2e":
        return _in_torch(pt2e.quantise(network, list(torch.from_numpy(images).split(BATCH))), torch.float32)
    dtype = getattr(torch, timed.config["type"])
    return _in_torch(pytorch.compiled(network.to(dtype), timed.config["backend"]), dtype)


def tokens_network(cache: Path) -> torch.nn.Module:
    """timm's network in float32, from images to all tokens."""
    network = float_model(torch.load(cache / "weights.pt", weights_only=True))
    network.forward = network.forward_features
    return network


def float_onnx(cache: Path) -> Path:
    """The network in float32: `image` [batch, 3, 224, 224] to tokens [batch, 257, 384]."""
    path = cache / "float.onnx"
    if not path.exists():
        part = cache / "float.part.onnx"
        ort.export_network(tokens_network(cache), torch.zeros(2, 3, SIZE, SIZE), part)
        part.rename(path)
    return path


def _in_onnxruntime(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"image": images})[0]


def _in_openvino(path: Path, config: Any) -> Run:
    import openvino as runtime

    compiled = runtime.Core().compile_model(path, "CPU", dict(config))
    return lambda images: np.array(compiled(images)[0])


def _in_torch(compute: Callable[[torch.Tensor], torch.Tensor], dtype: torch.dtype) -> Run:
    def run(images: Array) -> Array:
        with torch.inference_mode():
            return compute(torch.from_numpy(images).to(dtype)).float().numpy()

    return run
