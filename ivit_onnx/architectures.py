"""Vision transformer architectures and their preprocessing: records, the table of known timm models. No torch here."""

from __future__ import annotations

import difflib
import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ivit_onnx.errors import CheckpointError, IvitError

__all__ = [
    "HALF",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "INTERPOLATIONS",
    "KNOWN",
    "Preprocess",
    "VitArchitecture",
    "default_preprocess",
    "known_architecture",
    "matching_names",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")


@dataclass(frozen=True)
class VitArchitecture:
    """Dimensions of a ViT or DeiT: everything that shapes the graph.

    Raises CheckpointError when the numbers do not fit together; the message names the flag to pass.
    """

    name: str
    image_size: int
    patch_size: int
    in_channels: int
    width: int
    depth: int
    heads: int
    mlp_width: int
    classes: int
    distilled: bool

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "int" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                flag = {"image_size": "; pass --img-size", "heads": "; pass --num-heads"}.get(field.name, "")
                raise CheckpointError(f"{field.name} must be a positive integer, found {value!r}{flag}")
        if self.width % self.heads:
            raise CheckpointError(
                f"{self.heads} heads do not divide the width {self.width}; pass --num-heads with one of its divisors"
            )
        if self.image_size % self.patch_size:
            raise CheckpointError(
                f"patches of {self.patch_size} pixels do not divide an image of {self.image_size}; pass --img-size"
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
        """Length of the token sequence."""
        return self.prefix_tokens + self.patches

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.width // self.heads

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> VitArchitecture:
        """The reverse of `to_json`; CheckpointError when a field is missing or of another type."""
        missing = [field.name for field in fields(cls) if field.name not in data]
        if missing:
            raise CheckpointError(f"architecture description without {', '.join(missing)}")
        if not isinstance(data["name"], str) or not isinstance(data["distilled"], bool):
            raise CheckpointError("architecture description: name must be a string and distilled true or false")
        return cls(**{field.name: data[field.name] for field in fields(cls)})


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


def _family(
    family: str, width: int, depth: int, heads: int, mlp_width: int, forms: Sequence[tuple[int, int]]
) -> dict[str, VitArchitecture]:
    """Known models of one family and size, e.g. "deit_tiny" in the (patch, image) `forms`, with 1000 classes."""
    models = {}
    for patch, image in forms:
        name = f"{family}_patch{patch}_{image}"
        models[name] = VitArchitecture(
            name, image, patch, 3, width, depth, heads, mlp_width, 1000, distilled=family.endswith("_distilled")
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


def known_architecture(name: str) -> VitArchitecture:
    """The known architecture of that name; a timm tag as in "vit_base_patch16_224.augreg_in21k" is allowed.

    Raises CheckpointError with close matches when the name is unknown.
    """
    base = name.partition(".")[0]
    if base in KNOWN:
        return replace(KNOWN[base], name=name)
    matches = difflib.get_close_matches(base, KNOWN, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(matches)}?" if matches else f"known are, for example, {', '.join([*KNOWN][:3])}"
    raise CheckpointError(
        f"unknown architecture {name!r}; {hint} (leave --arch out to read the architecture from the file)"
    )


def matching_names(**dimensions: int | bool) -> list[str]:
    """Names of the known models whose fields equal the given ones, in the order of the table."""
    return [
        name
        for name, known in KNOWN.items()
        if all(getattr(known, field) == value for field, value in dimensions.items())
    ]


def default_preprocess(arch: VitArchitecture) -> tuple[Preprocess, list[str]]:
    """Preprocessing of a model by its name, and warnings about what was assumed.

    A name with a timm tag asks timm when it is installed. A plain vit_* or deit_* name of the table has timm's values
    for that name. Anything else gets the mean and standard deviation of ImageNet, with a warning.
    """
    base, _, tag = arch.name.partition(".")
    crop = 1.0 if arch.image_size >= 384 else 0.9
    imagenet = Preprocess(arch.image_size, crop, "bicubic", IMAGENET_MEAN, IMAGENET_STD)
    if base not in KNOWN:
        return imagenet, [
            f"nothing tells the normalisation of {arch.name}: assuming the mean and std of ImageNet; "
            "pass --mean and --std (or --arch) to say otherwise"
        ]
    if tag:
        tagged = _timm_preprocess(arch)
        if tagged is not None:
            return tagged, []
        warnings = [f"timm does not tell the normalisation of {arch.name}: taking that of {base}"]
    else:
        warnings = []
    if base.startswith("deit_") or base == "vit_small_patch8_224":
        return imagenet, warnings
    return replace(imagenet, mean=HALF, std=HALF), warnings


def _timm_preprocess(arch: VitArchitecture) -> Preprocess | None:
    """timm's own preprocessing for a name with a tag, or None when timm is absent or does not know the tag."""
    if importlib.util.find_spec("timm") is None:
        return None
    from timm.models import get_pretrained_cfg

    try:
        config = get_pretrained_cfg(arch.name)
    except RuntimeError:  # what timm raises for an unknown tag
        return None
    if config is None:
        return None
    return Preprocess(
        arch.image_size, float(config.crop_pct), str(config.interpolation), tuple(config.mean), tuple(config.std)
    )
