"""How images are prepared: the record that travels in a model's metadata, and timm's values for a name with a tag."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ivit_onnx.architectures.size import Size
from ivit_onnx.budgets import INPUT_PIXELS, PIXELS
from ivit_onnx.errors import IvitError
from ivit_onnx.numbers import RANGES

__all__ = [
    "CROP_MODES",
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

#: How an image of another form than the network's becomes one of its form.
CROP_MODES = ("center", "squash")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")


@dataclass(frozen=True)
class Preprocess:
    """How an image becomes a network input, as timm does it for evaluation.

    The image is resized to floor(size / crop_pct), the centre of `size` is cut out, pixels are divided by 255, and
    `mean` and `std` (one number per channel) normalise them. `crop_mode` says what is resized: "center" the side that
    is shorter in comparison with the network's, so that the other one reaches beyond it and is cut; "squash" each side
    for itself, which changes the proportions and, with a `crop_pct` of 1, cuts nothing. `size` is made of a number, the
    side of a square, or of a pair (height, width). Raises IvitError on impossible values.
    """

    size: Size
    crop_pct: float = 0.9
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    crop_mode: str = "center"

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", Size.of(self.size))
        if not 0 < self.crop_pct <= 1:
            raise IvitError(f"crop must be above 0 and at most 1, found {self.crop_pct}")
        INPUT_PIXELS.check(self.size.area, f"size {self.size.sides}", IvitError)
        # crop_pct may be the least number that there is
        resized = math.prod(min(side / self.crop_pct, 2.0**32) for side in self.size)
        PIXELS.check(int(resized), f"size {self.size.sides} with a crop of {self.crop_pct:g}, resized", IvitError)
        if self.interpolation not in INTERPOLATIONS:
            raise IvitError(f"interpolation must be one of {', '.join(INTERPOLATIONS)}, found {self.interpolation!r}")
        if self.crop_mode not in CROP_MODES:
            raise IvitError(f"crop mode must be one of {', '.join(CROP_MODES)}, found {self.crop_mode!r}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != 3 or not all(RANGES[name].has(value) for value in values):
                raise IvitError(
                    f"{name} must be three numbers in {RANGES[name].bounds}, found {list(values)}; pass --{name} R,G,B"
                )

    @property
    def resize(self) -> Size:
        """What the image is resized to, or with "center" one of its sides, before the centre is cut out."""
        return Size(*(math.floor(side / self.crop_pct) for side in self.size))

    def to_json(self) -> dict[str, Any]:
        """The JSON object of the metadata key `ivit.preprocess`; without a crop mode it is "center"."""
        return {
            "size": self.size.to_json(),
            "crop": self.crop_pct,
            **({} if self.crop_mode == "center" else {"crop_mode": self.crop_mode}),
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
                crop_mode=data.get("crop_mode", "center"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise IvitError(f"damaged preprocessing description ({type(error).__name__}: {error})") from None


def timm_preprocess(name: str, size: Size) -> Preprocess | None:
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
    return Preprocess(
        size,
        float(config.crop_pct),
        str(config.interpolation),
        tuple(config.mean),
        tuple(config.std),
        str(config.crop_mode),
    )


def timm_module(name: str) -> str | None:
    """The module of timm that makes the network of that name, None when timm is absent or does not know the name."""
    if importlib.util.find_spec("timm") is None:
        return None
    from timm.models import is_model, model_entrypoint

    return str(model_entrypoint(name).__module__).rpartition(".")[2] if is_model(name) else None
