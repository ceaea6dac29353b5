"""How images are prepared for a network, by its name."""

from __future__ import annotations

from dataclasses import replace

from ivit_onnx.architectures.architecture import Architecture
from ivit_onnx.architectures.families import KNOWN, family_of
from ivit_onnx.architectures.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess, timm_preprocess

__all__ = ["default_preprocess", "reference_ivit_preprocess"]


def default_preprocess(arch: Architecture) -> tuple[Preprocess, list[str]]:
    """Preprocessing of a model by its name, and warnings about what was assumed.

    A name with a timm tag asks timm when it is installed. A plain name of the table has timm's values for that name.
    Anything else gets the mean and standard deviation of ImageNet, with a warning.
    """
    base, _, tag = arch.name.partition(".")
    if base not in KNOWN:
        crop = 1.0 if min(arch.image_size) >= 384 else 0.9
        return Preprocess(arch.image_size, crop, "bicubic", IMAGENET_MEAN, IMAGENET_STD), [
            f"nothing tells the normalisation of {arch.name}: assuming the mean and std of ImageNet; "
            "pass --mean and --std (or --arch) to say otherwise"
        ]
    default = replace(family_of(KNOWN[base]).preprocess[base], size=arch.image_size)
    if not tag:
        return default, []
    tagged = timm_preprocess(arch.name, arch.image_size)
    if tagged is not None:
        return tagged, []
    return default, [f"timm does not tell the normalisation of {arch.name}: taking that of {base}"]


def reference_ivit_preprocess(arch: Architecture) -> tuple[Preprocess, list[str]]:
    """What the reference I-ViT code does to ImageNet for every model, and a warning for other models."""
    preprocess = Preprocess(arch.image_size, 224 / 256, "bicubic", IMAGENET_MEAN, IMAGENET_STD)
    if arch.name.partition(".")[0] in KNOWN:
        return preprocess, []
    return preprocess, [
        "assuming the mean and std of ImageNet, as the reference I-ViT code has them; pass --mean and --std to say "
        "otherwise"
    ]
