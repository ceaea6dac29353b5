"""Small networks for tests: checkpoints on disk, calibration images, calibrated twins."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.models.deit import VisionTransformerDistilled
from timm.models.swin_transformer import SwinTransformer as TimmSwin
from timm.models.vision_transformer import VisionTransformer as TimmVisionTransformer

from ivit_onnx.architectures import Preprocess
from ivit_onnx.calibration import apply_calibration, collect_statistics
from ivit_onnx.checkpoints import read_architecture
from ivit_onnx.models import Twin, VisionTransformer, from_state_dict
from ivit_onnx.options.choices import Nonlinear

DATA = Path(__file__).parent / "data"
DIGITS_CHECKPOINT = DATA / "deit_micro_fp.pth"
DIGITS_MEAN, DIGITS_STD = (0.3053,) * 3, (0.3760,) * 3
SIZE = 32


def timm_network(*, distilled: bool = False, seed: int = 0, **changes: Any) -> TimmVisionTransformer:
    """A small timm network with non-trivial normalisation parameters, in eval mode."""
    torch.manual_seed(seed)
    kind = VisionTransformerDistilled if distilled else TimmVisionTransformer
    settings = {"img_size": SIZE, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 7}
    network = kind(**{**settings, **changes})
    for name, parameter in network.named_parameters():
        if "norm" in name or name in ("head.bias", "head_dist.bias") or "token" in name:
            torch.nn.init.normal_(parameter, mean=1.0 if name.endswith("weight") else 0.0, std=0.3)
        elif parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.15)
    return network.eval()


def timm_swin(**changes: Any) -> TimmSwin:
    """A small timm Swin with parameters that all matter, in eval mode."""
    torch.manual_seed(0)
    settings = {"img_size": 32, "patch_size": 4, "embed_dim": 16, "depths": (2, 2), "num_heads": (2, 4)}
    network = TimmSwin(**{**settings, "window_size": 4, "num_classes": 7, **changes})
    for name, parameter in network.named_parameters():
        mean = 1.0 if re.search(r"norm\d?\.weight$", name) else 0.0
        torch.nn.init.normal_(parameter, mean=mean, std=0.3 if parameter.ndim == 1 or "table" in name else 0.15)
    return network.eval()


def images(count: int, seed: int = 0) -> list[np.ndarray[Any, Any]]:
    """Normalised random images, smooth enough to have structure: float32 [3, 32, 32]."""
    coarse = np.random.default_rng(seed).normal(size=(count, 3, 4, 4)).astype(np.float32)
    return list(np.kron(coarse, np.ones((1, 1, SIZE // 4, SIZE // 4), np.float32)))


def pixels(count: int, seed: int = 0, size: int = SIZE) -> np.ndarray[Any, Any]:
    """Random uint8 images [count, 3, size, size]."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3, size, size), dtype=np.uint8)


def save_checkpoint(network: torch.nn.Module, path: Path) -> Path:
    """Write the state_dict of a network."""
    torch.save(network.state_dict(), path)
    return path


def uncalibrated_twin(*, nonlinear: Nonlinear = "ivit", **changes: Any) -> VisionTransformer:
    """The twin of a small network of `timm_network(**changes)`, without scales."""
    state_dict = timm_network(**changes).state_dict()
    twin = from_state_dict(state_dict, read_architecture(state_dict, heads=3, image_size=SIZE), Preprocess(SIZE))
    twin.set_nonlinear(nonlinear)
    return twin


def calibrated_twin(network: torch.nn.Module, *, softmax_bits: int = 15, heads: int = 3) -> VisionTransformer:
    """The twin of a small network, calibrated on `images`."""
    state_dict = network.state_dict()
    arch = read_architecture(state_dict, heads=heads, image_size=SIZE)
    twin = from_state_dict(state_dict, arch, Preprocess(SIZE), softmax_bits)
    apply_calibration(twin, collect_statistics(twin, images(16), "test"), "mse")
    return twin


def gradients_of_training(twin: Twin, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """The gradient of every parameter in training mode, whose logits have to be near those of the integers."""
    with torch.inference_mode():
        integers = twin(x) * twin.output_scale
    twin.train()
    logits = twin(x)
    assert (logits - integers).pow(2).mean() < 0.01 * integers.pow(2).mean()
    torch.nn.functional.cross_entropy(logits, torch.arange(len(x)) % 7).backward()
    gradients = {}
    for name, parameter in twin.named_parameters():
        assert parameter.grad is not None, f"{name} has no gradient"
        assert torch.isfinite(parameter.grad).all(), name
        gradients[name] = parameter.grad
    return gradients


def digits() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """scikit-learn digits as the reference checkpoint saw them: uint8 pixels [1797, 3, 32, 32], labels, test indices.

    The 360 test images are the tail of torch's permutation of seed 0. Rounding to uint8 moves a pixel by at most half
    a step.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    grey = torch.tensor(data.images / 16.0).float()[:, None]
    large = torch.nn.functional.interpolate(grey, size=SIZE, mode="bilinear", align_corners=False)
    levels = (large * 255).round().to(torch.uint8).repeat(1, 3, 1, 1).numpy()
    order = torch.randperm(len(levels), generator=torch.Generator().manual_seed(0)).numpy()
    return levels, data.target, order[-360:]


__all__ = [
    "DATA",
    "DIGITS_CHECKPOINT",
    "DIGITS_MEAN",
    "DIGITS_STD",
    "SIZE",
    "calibrated_twin",
    "digits",
    "gradients_of_training",
    "images",
    "pixels",
    "save_checkpoint",
    "timm_network",
    "timm_swin",
    "uncalibrated_twin",
]
