"""The floating-point network that the baselines run: that of the source library, and images for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ivit_onnx.architectures import Architecture, Size, SizeLike, family_of

if TYPE_CHECKING:
    import torch

__all__ = [
    "CALIBRATION_IMAGES",
    "build_network",
    "calibration_images",
    "float_images",
    "generated_images",
    "load_network",
]

CALIBRATION_IMAGES = 8

Array = np.ndarray[Any, Any]


def build_network(arch: Architecture) -> torch.nn.Module:
    """The source library's network of these dimensions in eval mode, randomly initialised from a fixed seed."""
    import torch

    torch.manual_seed(0)
    return family_of(arch).counterpart(arch).eval()


def load_network(arch: Architecture, path: str | Path) -> torch.nn.Module:
    """The network with the weights of a state_dict in a file."""
    import torch

    network = build_network(arch)
    network.load_state_dict(torch.load(path, weights_only=True))
    return network


def generated_images(count: int, channels: int, size: SizeLike) -> Array:
    """uint8 [count, channels, height, width]: coarse blocks of colour under noise, the same in every run."""
    rng = np.random.default_rng(0)
    height, width = Size.of(size)
    rows, columns = -(-height // 8), -(-width // 8)
    blocks = rng.integers(0, 256, (count, channels, 8, 8)).repeat(rows, axis=2).repeat(columns, axis=3)
    noisy = blocks[:, :, :height, :width] + rng.normal(0, 20, (count, channels, height, width))
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)


def float_images(count: int, channels: int, size: SizeLike) -> Array:
    """The same images as float32, normalised to about -2..2 as networks expect them."""
    return (generated_images(count, channels, size).astype(np.float32) / 255 - 0.5) * 4


def calibration_images(arch: Architecture) -> Array:
    """The images that baselines with static ranges are calibrated on, float32."""
    return float_images(CALIBRATION_IMAGES, arch.in_channels, arch.image_size)
