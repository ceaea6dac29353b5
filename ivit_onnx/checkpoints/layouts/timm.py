"""timm's own names, and those of the authors of DeiT, MAE, DINO, DINOv2 and Swin, which are nearly the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ivit_onnx.checkpoints.family import Tensors
from ivit_onnx.checkpoints.layouts.base import Converted, Layout

__all__ = ["LAYOUTS"]


def _convert(tensors: Tensors, config: Mapping[str, Any]) -> Converted:
    """As they are: the families know the old spellings."""
    del config
    return Converted(dict(tensors))


LAYOUTS = (Layout("ViT or Swin in timm's naming, or that of their authors", r"patch_embed\.proj\.weight", _convert),)
