"""Integer twins of whole networks, one file per family."""

from __future__ import annotations

from ivit_onnx.models.build import from_checkpoint, from_state_dict, from_timm
from ivit_onnx.models.swin import SwinTransformer
from ivit_onnx.models.twin import Twin
from ivit_onnx.models.vit import VisionTransformer

__all__ = ["SwinTransformer", "Twin", "VisionTransformer", "from_checkpoint", "from_state_dict", "from_timm"]
