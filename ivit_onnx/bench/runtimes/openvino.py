"""OpenVINO on CPU, with int8 by NNCF: weights and activations from calibration, or weights alone.

Sources: the guides "Post-training quantization" and "8-bit weight compression" of OpenVINO; its property
DYNAMIC_QUANTIZATION_GROUP_SIZE turns activations to int8 at run time, in groups of so many values.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ivit_onnx.bench.job import Job, Run, Start

__all__ = ["compress_weights", "quantise", "start"]

Array = np.ndarray[Any, Any]


def quantise(source: Path, images: Array, path: Path, *, smooth_quant: bool = True) -> None:
    """The ONNX model with int8 weights and activations, calibrated on float32 images [N, ...].

    NNCF smooths the activations of transformers (SmoothQuant) and corrects biases.
    """
    import nncf
    import openvino
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, AdvancedSmoothQuantParameters

    off = AdvancedSmoothQuantParameters(convolution=-1, matmul=-1)
    model = nncf.quantize(
        openvino.Core().read_model(source),
        nncf.Dataset([image[None] for image in images]),
        subset_size=len(images),
        model_type=nncf.ModelType.TRANSFORMER,
        advanced_parameters=None if smooth_quant else AdvancedQuantizationParameters(smooth_quant_alphas=off),
    )
    openvino.save_model(model, path, compress_to_fp16=False)


def compress_weights(source: Path, path: Path) -> None:
    """The ONNX model with int8 weights, symmetric and per channel."""
    import nncf
    import openvino

    model = nncf.compress_weights(openvino.Core().read_model(source), mode=nncf.CompressWeightsMode.INT8_SYM)
    openvino.save_model(model, path, compress_to_fp16=False)


def start(job: Job) -> Start:
    """A model in OpenVINO on CPU, compiled for this batch size and for latency."""
    import openvino

    def begin() -> Run:
        core = openvino.Core()
        model = core.read_model(job.path)
        model.reshape([job.batch, job.arch.in_channels, *job.arch.image_size])
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": job.threads, **job.config}
        compiled = core.compile_model(model, "CPU", settings)
        precision = compiled.get_property("INFERENCE_PRECISION_HINT")
        job.notes["inference_precision"] = getattr(precision, "get_type_name", lambda: str(precision))()
        request = compiled.create_infer_request()
        request.set_input_tensor(openvino.Tensor(job.floats()))
        return lambda: request.infer(share_outputs=True)

    return begin
