"""Post-training quantisation by others, of the network of real.py with the same calibration photographs.

All start from one float32 ONNX file that torch.onnx makes of timm's network, whose output is all tokens after the final
norm. Settings are those that their documentation has for transformers:

* ONNX Runtime: `quantize_static` in QDQ form (uint8 activations with zero points, int8 weights per channel), around
  every operator or around matrix products and convolutions only, and `quantize_dynamic` (ranges at run time).
* OpenVINO: `nncf.quantize` with model_type TRANSFORMER, which smooths activations (SmoothQuant) and corrects biases,
  and the same with SmoothQuant disabled.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from real_features import Features, Pictures, cached, normalise, tokens_features
from real_weights import SIZE, float_model

Array = np.ndarray[Any, Any]

#: Calibration images in memory at a time, with all their activations.
STRIDE = 4


@dataclass(frozen=True)
class Baseline:
    """One of QUANTIZERS, its settings, and the packages whose versions decide the result."""

    quantizer: str
    settings: dict[str, Any]
    packages: tuple[str, ...]


_PRODUCTS = ["MatMul", "Gemm", "Conv"]
_ORT, _OPENVINO = ("onnxruntime",), ("openvino", "nncf")
BASELINES: dict[str, Baseline] = {
    "ONNX Runtime dynamic": Baseline("dynamic", {}, _ORT),
    "ONNX Runtime static, min-max, all operators": Baseline("static", {"method": "MinMax", "operators": None}, _ORT),
    "ONNX Runtime static, min-max": Baseline("static", {"method": "MinMax", "operators": _PRODUCTS}, _ORT),
    "ONNX Runtime static, entropy": Baseline("static", {"method": "Entropy", "operators": _PRODUCTS}, _ORT),
    "ONNX Runtime static, percentile": Baseline("static", {"method": "Percentile", "operators": _PRODUCTS}, _ORT),
    "OpenVINO NNCF": Baseline("openvino", {"smooth_quant": True}, _OPENVINO),
    "OpenVINO NNCF without SmoothQuant": Baseline("openvino", {"smooth_quant": False}, _OPENVINO),
}


class MissingPackageError(Exception):
    """A baseline is not installed."""


def versions(*packages: str) -> dict[str, str]:
    try:
        return {package: version(package) for package in packages}
    except PackageNotFoundError as error:
        raise MissingPackageError(f"pip install {' '.join(packages)}: {error.name} is not installed") from None


def baseline_features(cache: Path, pictures: Pictures, baseline: Baseline) -> Features:
    """The features of a baseline; model and features are kept for these settings, versions and pictures."""
    key = {
        "quantizer": baseline.quantizer,
        "settings": baseline.settings,
        "versions": versions(*baseline.packages, "torch", "timm", "onnx"),
        "pictures": pictures.digest(),
    }

    def make() -> Features:
        source, images = float_onnx(cache), normalise(pictures.calibration)
        with tempfile.TemporaryDirectory() as folder:
            run = QUANTIZERS[baseline.quantizer](source, Path(folder) / "model.onnx", images, **baseline.settings)
            return tokens_features(run, pictures)

    return cached(cache, key, make)


def float_onnx(cache: Path) -> Path:
    """The network in float32: `image` [batch, 3, 224, 224] to `tokens` [batch, 257, 384]."""
    path = cache / "float.onnx"
    if not path.exists():
        model = float_model(torch.load(cache / "weights.pt", weights_only=True))
        model.forward = model.forward_features
        part = cache / "float.part.onnx"
        torch.onnx.export(
            model,
            (torch.zeros(2, 3, SIZE, SIZE),),
            part,
            input_names=["image"],
            output_names=["tokens"],
            opset_version=20,
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            verbose=False,
        )
        part.rename(path)
    return path


def _onnxruntime(path: Path) -> Callable[[Array], Array]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: session.run(["tokens"], {"image": images})[0]


def _prepared(source: Path, output: Path) -> Path:
    """The float model after ONNX Runtime's own preparation for quantisation."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    path = output.with_suffix(".prepared.onnx")
    quant_pre_process(str(source), str(path), skip_symbolic_shape=True)
    return path


def quantize_dynamic(source: Path, output: Path, images: Array) -> Callable[[Array], Array]:
    from onnxruntime import quantization

    quantization.quantize_dynamic(
        str(_prepared(source, output)),
        str(output),
        op_types_to_quantize=["MatMul", "Gemm"],
        per_channel=True,
        weight_type=quantization.QuantType.QInt8,
    )
    return _onnxruntime(output)


def quantize_static(
    source: Path, output: Path, images: Array, method: str, operators: list[str] | None
) -> Callable[[Array], Array]:
    from onnxruntime import quantization

    quantization.quantize_static(
        str(_prepared(source, output)),
        str(output),
        _Reader(images),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=operators,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        calibrate_method=getattr(quantization.CalibrationMethod, method),
        extra_options={"CalibStridedMinMax": STRIDE},
    )
    return _onnxruntime(output)


class _Reader:
    """Calibration images for ONNX Runtime's quantizer, a range of them at a time."""

    def __init__(self, images: Array) -> None:
        self.images = images
        self.left: Iterator[Array] = iter(images)

    def __len__(self) -> int:
        return len(self.images)

    def set_range(self, start_index: int, end_index: int) -> None:
        self.left = iter(self.images[start_index:end_index])

    def get_next(self) -> dict[str, Array] | None:
        image = next(self.left, None)
        return None if image is None else {"image": image[None]}


def quantize_openvino(source: Path, output: Path, images: Array, smooth_quant: bool) -> Callable[[Array], Array]:
    import nncf
    import openvino
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, AdvancedSmoothQuantParameters

    core = openvino.Core()
    off = AdvancedSmoothQuantParameters(convolution=-1, matmul=-1)
    model = nncf.quantize(
        core.read_model(source),
        nncf.Dataset([image[None] for image in images]),
        subset_size=len(images),
        model_type=nncf.ModelType.TRANSFORMER,
        advanced_parameters=None if smooth_quant else AdvancedQuantizationParameters(smooth_quant_alphas=off),
    )
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: np.array(compiled(images)[0])


QUANTIZERS = {"dynamic": quantize_dynamic, "static": quantize_static, "openvino": quantize_openvino}
