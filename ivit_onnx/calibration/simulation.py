"""A run of the quantised network on real values, for what hooks see and change in it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from ivit_onnx.errors import CalibrationError
from ivit_onnx.models import Twin

__all__ = ["check_finite", "simulate"]


def check_finite(name: str, value: Tensor) -> None:
    """Raises CalibrationError where values of a layer or block leave float32, as with weights of 1e30."""
    if not torch.isfinite(value).all():
        raise CalibrationError(f"{name}: expected finite values on the calibration images, found others")


def simulate(model: Twin, images: Tensor, hooks: Iterable[RemovableHandle]) -> None:
    """Run normalised float32 images [N, C, H, W] once through the fake-quantised network; then remove the hooks."""
    model.train()
    try:
        with torch.no_grad():
            model(images)
    finally:
        model.eval()
        for hook in hooks:
            hook.remove()
