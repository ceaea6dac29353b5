"""Integer twins of whole networks."""

from __future__ import annotations

from ivit_onnx.models.vit import VisionTransformer, from_state_dict, from_timm

__all__ = ["VisionTransformer", "from_state_dict", "from_timm"]
