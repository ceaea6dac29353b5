"""From weights to the twin of their family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ivit_onnx.architectures import Architecture, Preprocess, Size, default_preprocess
from ivit_onnx.checkpoints import Checkpoint, read_architecture, validate
from ivit_onnx.errors import CalibrationError, CheckpointError
from ivit_onnx.models.swin import SwinTransformer
from ivit_onnx.models.twin import Twin
from ivit_onnx.models.vit import VisionTransformer
from ivit_onnx.quant.tables import Nonlinear

__all__ = ["from_checkpoint", "from_state_dict", "from_timm"]

#: The twin of each architecture family.
_TWINS: dict[str, Callable[[Any, Preprocess, int], Twin]] = {"vit": VisionTransformer, "swin": SwinTransformer}


def from_state_dict(
    state_dict: Mapping[str, Tensor], arch: Architecture, preprocess: Preprocess, softmax_bits: int = 15
) -> Twin:
    """The twin of a state_dict that has been validated against `arch`, not yet calibrated, in eval mode."""
    twin = _TWINS[arch.family](arch, preprocess, softmax_bits)
    with torch.no_grad():
        twin.load_weights(state_dict)
    return twin.eval()


def from_checkpoint(
    checkpoint: Checkpoint,
    preprocess: Preprocess,
    softmax_bits: int | None = None,
    nonlinear: Nonlinear | None = None,
) -> Twin:
    """The twin of a checkpoint, in eval mode; calibrated if the checkpoint has scales.

    `softmax_bits` and `nonlinear`: None takes the checkpoint's default. Raises CheckpointError when it was trained with
    other non-linear functions.
    """
    bits = checkpoint.default_softmax_bits if softmax_bits is None else softmax_bits
    twin = from_state_dict(checkpoint.state_dict, checkpoint.arch, preprocess, bits)
    twin.set_nonlinear(checkpoint.nonlinear(nonlinear))
    if checkpoint.scales is not None:
        twin.load_published(checkpoint.scales)
    if checkpoint.trained is not None:
        try:
            twin.load_quantization_state(checkpoint.trained.state)
        except CalibrationError as error:
            raise CheckpointError(f"damaged metadata of a checkpoint of ivit-train: {error}") from None
    return twin


def from_timm(model: nn.Module, softmax_bits: int = 15) -> Twin:
    """The twin of a timm model, not yet calibrated, in eval mode.

    Raises:
        CheckpointError: the model uses a feature that is not supported.
    """
    state_dict = dict(model.state_dict())
    config: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    arch = read_architecture(state_dict, heads=_heads(model), image_size=_image_size(model))
    arch = replace(arch, **_untold(model))
    validate(state_dict, arch)
    preprocess, _ = default_preprocess(arch)
    if "mean" in config:
        preprocess = replace(
            preprocess,
            crop_pct=float(config.get("crop_pct", preprocess.crop_pct)),
            interpolation=str(config.get("interpolation", preprocess.interpolation)),
            crop_mode=str(config.get("crop_mode") or preprocess.crop_mode),
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
        )
    return from_state_dict(state_dict, arch, preprocess, softmax_bits)


_ACTIVATIONS = {"GELU": "gelu", "GELUTanh": "gelu_tanh", "QuickGELU": "quick_gelu"}


def _untold(model: nn.Module) -> dict[str, Any]:
    """What the shapes of a VisionTransformer do not tell, by field of its architecture."""
    blocks: Any = getattr(model, "blocks", None)
    if blocks is None:
        return {}
    act, pool = type(blocks[0].mlp.act).__name__, getattr(model, "global_pool", "token")
    if act not in _ACTIVATIONS:
        raise CheckpointError(f"not supported yet: the activation function {act}")
    if pool not in ("token", "avg") or getattr(model, "pool_include_prefix", False):
        raise CheckpointError(f"not supported yet: pooling by {pool!r} with these tokens")
    return {"act": _ACTIVATIONS[act], "eps": float(blocks[0].norm1.eps), "pool": pool}


def _image_size(model: nn.Module) -> Size | None:
    """Height and width of the images of a timm model, if it tells."""
    size = getattr(getattr(model, "patch_embed", None), "img_size", None)
    return None if size is None else Size(*map(int, size))


def _heads(model: nn.Module) -> int | None:
    """Attention heads of a timm model whose shapes do not tell them."""
    blocks: Any = getattr(model, "blocks", None)
    return None if blocks is None else int(blocks[0].attn.num_heads)
