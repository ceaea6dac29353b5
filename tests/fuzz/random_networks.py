"""Networks of random architecture with random weights, some of them at extremes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from timm.models.deit import VisionTransformerDistilled
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer


def random_network(rng: np.random.Generator) -> tuple[torch.nn.Module, dict[str, Any]]:
    """A timm network in eval mode, and the options of export that shapes do not tell."""
    torch.manual_seed(int(rng.integers(2**31)))
    network, options = random_swin(rng) if rng.random() < 0.4 else random_vit(rng)
    disturb(network, rng)
    options["softmax_bits"] = int(rng.choice([7, 8, 15]))
    options["input"] = str(rng.choice(["uint8", "int8"]))
    options["flat"] = bool(rng.random() < 0.3)
    options["calib_method"] = str(rng.choice(["minmax", "percentile", "mse"]))
    options["nonlinear"] = str(rng.choice(["ivit", "table"]))
    return network.eval(), options


def random_vit(rng: np.random.Generator) -> tuple[torch.nn.Module, dict[str, Any]]:
    heads, patch, across = int(rng.integers(1, 5)), int(rng.choice([1, 2, 4, 5, 8])), int(rng.integers(1, 6))
    settings: dict[str, Any] = {
        "img_size": patch * across,
        "patch_size": patch,
        "embed_dim": heads * int(rng.choice([1, 3, 8, 16, 20, 33])),
        "depth": int(rng.integers(1, 4)),
        "num_heads": heads,
        "mlp_ratio": float(rng.choice([1, 2, 4])),
        "num_classes": int(rng.choice([0, 1, 2, 7, 65])),
        "qkv_bias": bool(rng.random() < 0.8),
    }
    if rng.random() < 0.2:
        kind = VisionTransformerDistilled
        settings["num_classes"] = max(1, settings["num_classes"])
    else:
        kind = VisionTransformer
        if rng.random() < 0.3:
            settings |= {"global_pool": "avg", "class_token": bool(rng.random() < 0.5)}
        if rng.random() < 0.2:
            settings["init_values"] = 0.5
        if rng.random() < 0.2:
            settings["pre_norm"] = True
        if rng.random() < 0.2:
            settings |= {"reg_tokens": int(rng.integers(1, 4)), "no_embed_class": True}
        if rng.random() < 0.2:
            settings["act_layer"] = str(rng.choice(["quick_gelu", "gelu_tanh"]))
    return kind(**settings), {"num_heads": heads, "img_size": settings["img_size"]}


def random_swin(rng: np.random.Generator) -> tuple[torch.nn.Module, dict[str, Any]]:
    stages = int(rng.integers(1, 4))
    patch, across = int(rng.choice([2, 4])), int(rng.integers(2, 9)) * 2 ** (stages - 1)
    heads = int(rng.integers(1, 3))
    settings = {
        "img_size": patch * across,
        "patch_size": patch,
        "embed_dim": heads * int(rng.choice([4, 8, 12, 32])),
        "depths": tuple(int(rng.integers(1, 3)) for _ in range(stages)),
        "num_heads": tuple(heads * 2**stage for stage in range(stages)),
        "window_size": int(rng.integers(2, 8)),
        "mlp_ratio": float(rng.choice([1, 2, 4])),
        "num_classes": int(rng.choice([0, 1, 5])),
    }
    return SwinTransformer(**settings), {"img_size": settings["img_size"]}


def disturb(network: torch.nn.Module, rng: np.random.Generator) -> None:
    """Weights as a checkpoint may have them: every scale, outliers, whole tensors of one value."""
    wild = rng.random() < 0.5
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            kind = rng.random()
            if "norm" in name or parameter.ndim < 2 or "token" in name:
                parameter.normal_(1.0 if name.endswith("weight") else 0.0, 0.3)
            else:
                parameter.normal_(0.0, 0.15)
            if not wild:
                continue
            if kind < 0.15:
                parameter.mul_(10.0 ** float(rng.uniform(-4, 3)))
            elif kind < 0.25:
                parameter.view(-1)[int(rng.integers(parameter.numel()))] = float(rng.choice([-1, 1])) * 1000
            elif kind < 0.3:
                parameter.fill_(float(rng.choice([0.0, 1.0, -1.0])))
