"""timm's own network of the dimensions of a ViT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ivit_onnx.architectures.vit.dimensions import VitArchitecture

if TYPE_CHECKING:
    import torch

__all__ = ["counterpart"]


def counterpart(arch: VitArchitecture) -> torch.nn.Module:
    """timm's VisionTransformer, or VisionTransformerDistilled, with timm's random initialisation."""
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
