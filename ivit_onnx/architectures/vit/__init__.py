"""ViT, DeiT and their relatives of timm's VisionTransformer. No torch here."""

from __future__ import annotations

from ivit_onnx.architectures.family import Family
from ivit_onnx.architectures.vit.counterpart import counterpart
from ivit_onnx.architectures.vit.dimensions import VitArchitecture
from ivit_onnx.architectures.vit.known import KNOWN, OTHER_NORMALISATION, PREPROCESS, UNSUPPORTED

__all__ = ["FAMILY", "VitArchitecture"]

FAMILY = Family(
    architecture=VitArchitecture,
    reader="ivit_onnx.checkpoints.vit:READER",
    twin="ivit_onnx.models.vit:VisionTransformer",
    counterpart=counterpart,
    known=KNOWN,
    preprocess=PREPROCESS,
    other_normalisation=OTHER_NORMALISATION,
    unsupported=UNSUPPORTED,
    timm_modules=("vision_transformer", "deit", "eva"),
)
