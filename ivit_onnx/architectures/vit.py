"""ViT and DeiT: the record of their dimensions and the table of known timm models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ivit_onnx.architectures.base import Architecture
from ivit_onnx.architectures.preprocess import HALF, IMAGENET_MEAN, IMAGENET_STD, Preprocess
from ivit_onnx.errors import CheckpointError

__all__ = ["KNOWN", "PREPROCESS", "VitArchitecture"]


@dataclass(frozen=True, kw_only=True)
class VitArchitecture(Architecture):
    """Dimensions of a ViT or DeiT."""

    family: ClassVar[str] = "vit"
    free_fields: ClassVar[tuple[str, ...]] = ("name", "classes", "heads")

    width: int
    depth: int
    heads: int
    mlp_width: int
    distilled: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.heads:
            raise CheckpointError(
                f"{self.heads} heads do not divide the width {self.width}; pass --num-heads with one of its divisors"
            )

    @property
    def patches(self) -> int:
        """Number of image patches."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def prefix_tokens(self) -> int:
        """Tokens in front of the patches: the class token and, when distilled, the distillation token."""
        return 2 if self.distilled else 1

    @property
    def tokens(self) -> int:
        return self.prefix_tokens + self.patches

    def summary(self) -> str:
        return f"{self.depth} blocks of width {self.width}, {self.heads} heads"

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.width // self.heads


def _family(
    family: str, width: int, depth: int, heads: int, mlp_width: int, forms: Sequence[tuple[int, int]]
) -> dict[str, VitArchitecture]:
    """Known models of one family and size, e.g. "deit_tiny" in the (patch, image) `forms`, with 1000 classes."""
    models = {}
    for patch, image in forms:
        name = f"{family}_patch{patch}_{image}"
        models[name] = VitArchitecture(
            name=name,
            image_size=image,
            patch_size=patch,
            in_channels=3,
            classes=1000,
            width=width,
            depth=depth,
            heads=heads,
            mlp_width=mlp_width,
            distilled=family.endswith("_distilled"),
        )
    return models


#: Known timm models by name, with the 1000 classes of ImageNet; a fine-tuned checkpoint may have another number.
KNOWN: dict[str, VitArchitecture] = {
    **_family("vit_tiny", 192, 12, 3, 768, [(16, 224), (16, 384)]),
    **_family("vit_small", 384, 12, 6, 1536, [(8, 224), (16, 224), (16, 384), (32, 224), (32, 384)]),
    **_family("vit_base", 768, 12, 12, 3072, [(8, 224), (16, 224), (16, 384), (32, 224), (32, 384)]),
    **_family("vit_large", 1024, 24, 16, 4096, [(14, 224), (16, 224), (16, 384), (32, 224), (32, 384)]),
    **_family("vit_huge", 1280, 32, 16, 5120, [(14, 224)]),
    **_family("vit_giant", 1408, 40, 16, 6144, [(14, 224)]),
    **_family("vit_gigantic", 1664, 48, 16, 8192, [(14, 224)]),
    **_family("deit_tiny", 192, 12, 3, 768, [(16, 224)]),
    **_family("deit_small", 384, 12, 6, 1536, [(16, 224)]),
    **_family("deit_base", 768, 12, 12, 3072, [(16, 224), (16, 384)]),
    **_family("deit_tiny_distilled", 192, 12, 3, 768, [(16, 224)]),
    **_family("deit_small_distilled", 384, 12, 6, 1536, [(16, 224)]),
    **_family("deit_base_distilled", 768, 12, 12, 3072, [(16, 224), (16, 384)]),
}


def _preprocess(arch: VitArchitecture) -> Preprocess:
    """timm's preprocessing of the weights that the plain name stands for."""
    crop = 1.0 if arch.image_size >= 384 else 0.9
    if arch.name.startswith("deit_") or arch.name == "vit_small_patch8_224":
        return Preprocess(arch.image_size, crop, "bicubic", IMAGENET_MEAN, IMAGENET_STD)
    return Preprocess(arch.image_size, crop, "bicubic", HALF, HALF)


#: Preprocessing of the known models by name.
PREPROCESS: dict[str, Preprocess] = {name: _preprocess(arch) for name, arch in KNOWN.items()}
