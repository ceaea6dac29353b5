"""Small networks of timm whose every parameter matters, and how tensors and references are taken from any network."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import torch
from case import Made, Prepare, Reference

__all__ = [
    "Tensors",
    "forward",
    "of_timm",
    "randomise",
    "renamed",
    "tensors_of",
    "timm_swin",
    "timm_vit",
]

Tensors = dict[str, torch.Tensor]
_TABLE = re.compile(r"pos|token|table|class_embedding|probe|latent")


def randomise(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Draw every parameter, so that each one changes the output, and put the network in eval mode.

    Matrices keep the variance of what they multiply, factors (of normalisation, LayerScale) are near 1, biases and
    tables have a standard deviation of 0.3.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            factor = parameter.ndim == 1 and not name.endswith("bias") and not _TABLE.search(name)
            matrix = parameter.ndim > 1 and not _TABLE.search(name)
            spread = 1 / math.sqrt(max(parameter[0].numel(), 1)) if matrix else 0.3
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread + float(factor))
    return network.eval()


def forward(network: torch.nn.Module, call: Callable[[Any, torch.Tensor], torch.Tensor] | None = None) -> Reference:
    """The forward of a network, or what `call(network, images)` takes from it, as a reference."""

    def reference(images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return network(images) if call is None else call(network, images)

    return reference


def tensors_of(network: torch.nn.Module) -> Tensors:
    """The state_dict, its tensors detached."""
    return {name: tensor.detach() for name, tensor in network.state_dict().items()}


def renamed(tensors: Tensors, rules: dict[str, str]) -> Tensors:
    """The tensors with every rule (a pattern and its replacement) applied to their names, in order."""
    found = {}
    for name, tensor in tensors.items():
        for pattern, replacement in rules.items():
            name = re.sub(pattern, replacement, name)
        found[name] = tensor
    return found


def timm_vit(seed: int = 0, **changes: Any) -> Any:
    """A VisionTransformer of timm: 2 blocks of width 128 with 4 heads, 7 classes, images of 32 pixels."""
    from timm.models.vision_transformer import VisionTransformer

    settings = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 2, "num_heads": 4, "num_classes": 7}
    return randomise(VisionTransformer(**{**settings, **changes}), seed)


def timm_swin(seed: int = 0, **changes: Any) -> Any:
    """A SwinTransformer of timm: 2 stages of 2 blocks, widths 64 and 128, windows of 4, images of 32 pixels."""
    from timm.models.swin_transformer import SwinTransformer

    settings = {"img_size": 32, "patch_size": 4, "embed_dim": 64, "depths": (2, 2), "num_heads": (2, 4)}
    return randomise(SwinTransformer(**{**settings, "window_size": 4, "num_classes": 7, **changes}), seed)


def of_timm(checkpoint: Any, network: Any, prepare: Prepare | None = None, **options: Any) -> Made:
    """A checkpoint of a network of timm; `options` replace those that say what the tensors do not tell.

    An option of None is left out.
    """
    size = network.patch_embed.img_size
    height, width = size if isinstance(size, tuple) else (size, size)
    untold = {"img_size": height} if hasattr(network, "layers") else {"num_heads": network.blocks[0].attn.num_heads}
    given = {name: value for name, value in {**untold, **options}.items() if value is not None}
    return Made(checkpoint, forward(network), height if height == width else (height, width), given, prepare)
