"""A run of the quantised network on real values, for what hooks see and change in it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from ivit_onnx.models import Twin

__all__ = ["simulate"]


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
