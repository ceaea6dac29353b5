"""The floating-point network that the baselines run: timm's own classes, for any architecture of an exported model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ivit_onnx.architectures import Architecture, Size, SizeLike, SwinArchitecture, VitArchitecture

if TYPE_CHECKING:
    import torch

__all__ = ["build_network", "float_images", "generated_images"]

Array = np.ndarray[Any, Any]


def build_network(arch: Architecture) -> torch.nn.Module:
    """timm's network of these dimensions in eval mode, with timm's random initialisation from a fixed seed."""
    import torch

    torch.manual_seed(0)
    return _BUILDERS[arch.family](arch).eval()


def _vit(arch: VitArchitecture) -> torch.nn.Module:
    from functools import partial

    import torch
    from timm.models.deit import VisionTransformerDistilled
    from timm.models.vision_transformer import VisionTransformer

    features: dict[str, Any] = {
        "class_token": arch.class_token,
        "reg_tokens": arch.reg_tokens,
        "no_embed_class": arch.no_embed_class,
        "pre_norm": arch.pre_norm,
        "global_pool": arch.pool,
        "fc_norm": arch.fc_norm,
        "init_values": 1e-5 if arch.layer_scale else None,
    }
    kind = VisionTransformerDistilled if arch.distilled else VisionTransformer
    network: torch.nn.Module = kind(
        img_size=arch.image_size,
        patch_size=arch.patch_size,
        in_chans=arch.in_channels,
        num_classes=arch.classes,
        embed_dim=arch.width,
        depth=arch.depth,
        num_heads=arch.heads,
        mlp_ratio=arch.mlp_width / arch.width,
        act_layer=arch.act,
        norm_layer=partial(torch.nn.LayerNorm, eps=arch.eps),
        **({} if arch.distilled else features),
    )
    return network


def _swin(arch: SwinArchitecture) -> torch.nn.Module:
    from timm.models.swin_transformer import SwinTransformer

    network: torch.nn.Module = SwinTransformer(
        img_size=arch.image_size,
        patch_size=arch.patch_size,
        in_chans=arch.in_channels,
        num_classes=arch.classes,
        embed_dim=arch.width,
        depths=arch.depths,
        num_heads=arch.heads,
        window_size=[(window, window) for window in arch.windows],  # type: ignore[arg-type]
        mlp_ratio=arch.mlp_ratio,
    )
    return network


#: How timm builds a network of each architecture family.
_BUILDERS: dict[str, Callable[[Any], torch.nn.Module]] = {"vit": _vit, "swin": _swin}


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
