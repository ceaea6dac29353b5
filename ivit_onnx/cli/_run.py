"""Options of commands that run models."""

from __future__ import annotations

from typing import Annotated

import typer

from ivit_onnx.cli._choice import choice
from ivit_onnx.cli._numbers import number
from ivit_onnx.options.choices import Device

__all__ = ["DeviceOption", "NoKernels", "Threads"]

Threads = Annotated[
    int | None,
    typer.Option(**number("threads"), help="CPU threads.  \\[default: all cores, or those of the container's quota]"),
]
DeviceOption = Annotated[
    Device,
    typer.Option(
        **choice(Device),
        help="Where to run: operators of ONNX Runtime's providers (cuda, an NVIDIA GPU, needs onnxruntime-gpu), or "
        "the compiled graph (ivit-cuda needs no other package).",
    ),
]
NoKernels = Annotated[
    bool,
    typer.Option(
        "--no-kernels", help="Run the integer operators in the file instead of the native kernels: slow, same bits."
    ),
]
