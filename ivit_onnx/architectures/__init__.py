"""Architectures and their preprocessing: one record per family. No torch here."""

from __future__ import annotations

from ivit_onnx.architectures.architecture import Architecture
from ivit_onnx.architectures.costs import Macs
from ivit_onnx.architectures.defaults import default_preprocess, reference_ivit_preprocess
from ivit_onnx.architectures.families import (
    FAMILIES,
    KNOWN,
    OTHER_NORMALISATION,
    UNSUPPORTED,
    architecture_from_json,
    family_of,
)
from ivit_onnx.architectures.family import Family
from ivit_onnx.architectures.names import known_architecture, matching_names, unsupported_feature
from ivit_onnx.architectures.preprocess import HALF, IMAGENET_MEAN, IMAGENET_STD, INTERPOLATIONS, Preprocess
from ivit_onnx.architectures.size import Size, SizeLike
from ivit_onnx.architectures.swin import SwinArchitecture
from ivit_onnx.architectures.vit import VitArchitecture

__all__ = [
    "FAMILIES",
    "HALF",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "INTERPOLATIONS",
    "KNOWN",
    "OTHER_NORMALISATION",
    "UNSUPPORTED",
    "Architecture",
    "Family",
    "Macs",
    "Preprocess",
    "Size",
    "SizeLike",
    "SwinArchitecture",
    "VitArchitecture",
    "architecture_from_json",
    "default_preprocess",
    "family_of",
    "known_architecture",
    "matching_names",
    "reference_ivit_preprocess",
    "unsupported_feature",
]
