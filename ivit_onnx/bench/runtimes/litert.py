"""LiteRT, TensorFlow Lite's successor, on its XNNPACK kernels: int8 weights, activations to int8 at run time, per row.

Sources: google-ai-edge/litert-torch, README.md; google-ai-edge/ai-edge-quantizer, ai_edge_quantizer/recipe.py,
`dynamic_wi8_afp32`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ivit_onnx.bench.job import Job, Run, Start

if TYPE_CHECKING:
    import torch

__all__ = ["load", "quantise", "start"]

Array = np.ndarray[Any, Any]


def quantise(network: torch.nn.Module, images: torch.Tensor, path: Path) -> None:
    """The network as a .tflite file for inputs of exactly this shape: its converter knows no batch of any size."""
    import litert_torch
    from ai_edge_quantizer import quantizer, recipe

    with tempfile.TemporaryDirectory() as folder:
        floating = Path(folder) / "float.tflite"
        litert_torch.convert(network, (images,)).export(str(floating))
        quantizer.Quantizer(str(floating), recipe.dynamic_wi8_afp32()).quantize().export_model(str(path))


def load(path: str | Path, threads: int) -> Callable[[Array], Array]:
    """A .tflite file as a function of float32 images."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    image, logits = (
        entries()[0]["index"] for entries in (interpreter.get_input_details, interpreter.get_output_details)
    )

    def run(images: Array) -> Array:
        interpreter.set_tensor(image, images)
        interpreter.invoke()
        found: Array = interpreter.get_tensor(logits)
        return found

    return run


def start(job: Job) -> Start:
    """A .tflite file in LiteRT's interpreter; its batch size is in the file."""
    from ai_edge_litert import interpreter

    del interpreter  # imported here so that the clock does not time it

    def begin() -> Run:
        run, images = load(job.path, job.threads), job.floats()
        return lambda: run(images)

    return begin
