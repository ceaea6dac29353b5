"""What tests of reference I-ViT checkpoints share: the images of a reference, and the integers of a twin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ivit_onnx import quant
from ivit_onnx.discovery import modules
from ivit_onnx.quant import arithmetic

Array = np.ndarray[Any, Any]


def quantized_images(reference: dict[str, Array]) -> Array:
    """The 64 images quantised as the reference code does it: round((1 / scale) * x)."""
    inverse = np.float32(1) / reference["scale/qact_input"]
    quantized: Array = np.clip(np.rint(inverse * reference["x"]), -128, 127).astype(np.int8)
    np.testing.assert_array_equal(quantized[:4], reference["exact_num2p31/qact_input"])
    return quantized


def recorded_integers(monkeypatch: pytest.MonkeyPatch) -> list[Array]:
    """A list that the PyTorch operators fill: in them every quantisation point ends in `saturate`."""
    found: list[Array] = []
    saturate: Callable[..., torch.Tensor] = arithmetic.saturate

    def recording(x: torch.Tensor, bits: int) -> torch.Tensor:
        y = saturate(x, bits)
        found.append(y.numpy())
        return y

    for module in modules(quant.__name__, quant.__path__):
        if getattr(module, "saturate", None) is saturate:
            monkeypatch.setattr(module, "saturate", recording)
    return found
