"""The networks as float ONNX models, and what ONNX Runtime's own quantizer makes of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

__all__ = ["export_network", "quantise_dynamic", "quantise_static"]

Array = np.ndarray[Any, Any]

#: Calibration images in memory at a time, at most, with all their activations.
STRIDE = 4


def export_network(network: torch.nn.Module, image: torch.Tensor, path: Path) -> None:
    """The network as an ONNX model of `image` [batch, ...], of the type of the image given, to `logits`."""
    import torch

    torch.onnx.export(
        network,
        (image,),
        path,
        input_names=["image"],
        output_names=["logits"],
        opset_version=20,
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        external_data=False,
        verbose=False,
    )


def quantise_static(
    source: Path, images: Array, path: Path, *, method: str = "MinMax", operators: list[str] | None = None
) -> None:
    """QDQ around these operators, by default all that the quantizer knows: faster here than matrix products alone."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    quantize_static(
        str(_preprocessed(source, path)),
        str(path),
        _Reader(images),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=operators,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=getattr(CalibrationMethod, method),
        extra_options={"CalibStridedMinMax": math.gcd(len(images), STRIDE)},  # whole parts only
    )
    _drop_preprocessed(path)


def quantise_dynamic(source: Path, path: Path) -> None:
    """Matrix products only: the convolution of the patch embedding is faster in float."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        str(_preprocessed(source, path)),
        str(path),
        op_types_to_quantize=["MatMul", "Gemm"],
        per_channel=True,
        weight_type=QuantType.QInt8,
    )
    _drop_preprocessed(path)


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


def _preprocessed(source: Path, path: Path) -> Path:
    """The float model after ONNX Runtime's own preparation for quantisation, beside the output."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = path.with_suffix(".prepared")
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    return prepared


def _drop_preprocessed(path: Path) -> None:
    path.with_suffix(".prepared").unlink()
