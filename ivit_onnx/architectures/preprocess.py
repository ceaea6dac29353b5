"""How images are prepared: the record that travels in a model's metadata, and timm's values for a name with a tag."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ivit_onnx.errors import IvitError

__all__ = [
    "HALF",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "INTERPOLATIONS",
    "OPENAI_MEAN",
    "OPENAI_STD",
    "Preprocess",
    "timm_module",
    "timm_preprocess",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")


@dataclass(frozen=True)
class Preprocess:
    """How an image becomes a network input, as timm does it for evaluation.

    The shorter side is resized to floor(size / crop_pct), the centre [size, size] is cut out, pixels are divided by
    255, and `mean` and `std` (one number a channel) normalise them. Raises IvitError on impossible values.
    """

    size: int
    crop_pct: float = 0.9
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1:
            raise IvitError(f"image size must be a positive integer, found {self.size!r}")
        if not 0 < self.crop_pct <= 1:
            raise IvitError(f"crop must be above 0 and at most 1, found {self.crop_pct}")
        if self.interpolation not in INTERPOLATIONS:
            raise IvitError(f"interpolation must be one of {', '.join(INTERPOLATIONS)}, found {self.interpolation!r}")
        if len(self.mean) != 3 or not all(math.isfinite(value) for value in self.mean):
            raise IvitError(f"mean must be three finite numbers, found {list(self.mean)}; pass --mean R,G,B")
        if len(self.std) != 3 or not all(math.isfinite(value) and value > 0 for value in self.std):
            raise IvitError(f"std must be three positive numbers, found {list(self.std)}; pass --std R,G,B")

    @property
    def resize(self) -> int:
        """Length to which the shorter side is resized before the centre is cut out."""
        return math.floor(self.size / self.crop_pct)

    def to_json(self) -> dict[str, Any]:
        """The JSON object of the metadata key `ivit.preprocess`."""
        return {
            "size": self.size,
            "crop": self.crop_pct,
            "interpolation": self.interpolation,
            "mean": list(self.mean),
            "std": list(self.std),
            "layout": "NCHW",
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Preprocess:
        """The reverse of `to_json`; IvitError when a key is missing or a value impossible."""
        try:
            return cls(
                size=data["size"],
                crop_pct=float(data["crop"]),
                interpolation=data["interpolation"],
                mean=tuple(float(value) for value in data["mean"]),
                std=tuple(float(value) for value in data["std"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise IvitError(f"damaged preprocessing description ({type(error).__name__}: {error})") from None


def timm_preprocess(name: str, size: int) -> Preprocess | None:
    """timm's own preprocessing for a name with a tag, or None when timm is absent or does not know the tag."""
    if importlib.util.find_spec("timm") is None:
        return None
    from timm.models import get_pretrained_cfg

    try:
        config = get_pretrained_cfg(name)
    except RuntimeError:  # what timm raises for an unknown tag
        return None
    if config is None:
        return None
    return Preprocess(size, float(config.crop_pct), str(config.interpolation), tuple(config.mean), tuple(config.std))


def timm_module(name: str) -> str | None:
    """The module of timm that makes the network of that name, None when timm is absent or does not know the name."""
    if importlib.util.find_spec("timm") is None:
        return None
    from timm.models import is_model, model_entrypoint

    return str(model_entrypoint(name).__module__).rpartition(".")[2] if is_model(name) else None
