"""ViT, DeiT and their relatives of timm's VisionTransformer: the record of a network, the table of known models."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from ivit_onnx.architectures.base import Architecture
from ivit_onnx.architectures.preprocess import HALF, IMAGENET_MEAN, IMAGENET_STD, OPENAI_MEAN, OPENAI_STD, Preprocess
from ivit_onnx.architectures.size import Size
from ivit_onnx.budgets import SCORES
from ivit_onnx.errors import CheckpointError
from ivit_onnx.options.choices import ACTIVATIONS

__all__ = [
    "KNOWN",
    "OTHER_NORMALISATION",
    "PREPROCESS",
    "UNSUPPORTED",
    "VitArchitecture",
]


@dataclass(frozen=True, kw_only=True)
class VitArchitecture(Architecture):
    """A network of timm's VisionTransformer. Words are timm's.

    `distilled` and `reg_tokens` add a distillation token and register tokens to the class token, if there is one.
    With `no_embed_class` these have no entry in the position table. `pre_norm` normalises before the first block.
    `pool` is "token", the class token, or "avg", the mean of the patches, with `fc_norm` before the final
    normalisation, else after it. `layer_scale` multiplies each branch by a vector. `eps` is that of floating-point
    normalisation.
    """

    family: ClassVar[str] = "vit"
    free_fields: ClassVar[tuple[str, ...]] = ("name", "classes", "heads", "act", "eps")

    width: int
    depth: int
    heads: int
    mlp_width: int
    distilled: bool = False
    class_token: bool = True
    reg_tokens: int = 0
    no_embed_class: bool = False
    pre_norm: bool = False
    pool: str = "token"
    fc_norm: bool = False
    layer_scale: bool = False
    act: str = "gelu"
    eps: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.heads:
            raise CheckpointError(
                f"{self.heads} heads do not divide the width {self.width}; pass --num-heads with one of its divisors"
            )
        if self.act not in ACTIVATIONS:
            raise CheckpointError(f"expected an activation of {', '.join(ACTIVATIONS)}, found {self.act!r}; pass --act")
        if self.pool not in ("token", "avg") or (self.pool == "token" and not self.class_token):
            raise CheckpointError(
                f"expected a pooling of avg, or token where there is a class token; found {self.pool!r}"
            )
        SCORES.check(self.heads * self.tokens**2, f"images of {self.image_size.sides} pixels", CheckpointError)

    @property
    def blocks(self) -> int:
        return self.depth

    @property
    def patches(self) -> int:
        """Number of image patches."""
        return self.grid.area

    @property
    def prefix_tokens(self) -> int:
        """Tokens in front of the patches: class token, distillation token, register tokens."""
        return int(self.class_token) + int(self.distilled) + self.reg_tokens

    @property
    def head_tokens(self) -> int:
        """Tokens that the head reads: the class token, a distillation token, or the mean of the patches."""
        return 2 if self.distilled else 1

    @property
    def tokens(self) -> int:
        return self.prefix_tokens + self.patches

    @property
    def positions(self) -> int:
        """Length of the position table."""
        return self.patches if self.no_embed_class else self.tokens

    def summary(self) -> str:
        return f"{self.depth} blocks of width {self.width}, {self.heads} heads"

    def traits(self) -> list[str]:
        found = {
            "distillation token": self.distilled,
            f"register tokens ({self.reg_tokens})": self.reg_tokens > 0,
            "LayerScale": self.layer_scale,
            "pre-norm": self.pre_norm,
            "average pooling": self.pool == "avg",
            self.act: self.act != "gelu",
            "features": self.classes == 0,
        }
        return [trait for trait, present in found.items() if present]

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.width // self.heads


_Features = dict[str, Any]

#: Width, depth, heads, width of the feed-forward network.
_SIZES = {
    "tiny": (192, 12, 3, 768),
    "xsmall": (256, 10, 4, 1024),
    "wee": (256, 14, 4, 1280),
    "little": (320, 14, 5, 1792),
    "small": (384, 12, 6, 1536),
    "medium": (512, 12, 8, 2048),
    "mediumd": (512, 20, 8, 2048),
    "betwixt": (640, 12, 10, 2560),
    "base": (768, 12, 12, 3072),
    "so150m": (896, 18, 14, 2304),
    "so150m2": (832, 21, 13, 2176),
    "large": (1024, 24, 16, 4096),
    "so400m": (1152, 27, 16, 4304),
    "huge": (1280, 32, 16, 5120),
    "giant": (1408, 40, 16, 6144),
    "giantopt": (1536, 40, 16, 6144),
    "gigantic": (1664, 48, 16, 8192),
}
_NAME = re.compile(
    r"[a-z0-9]+_(?P<size>[a-z0-9]+)(_(distilled_)?patch(?P<patch>\d+)(_[a-z0-9_]+?)??(_(?P<image>\d+))?)?"
)

_NORMALISATION = {
    "half": (HALF, HALF),
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "openai": (OPENAI_MEAN, OPENAI_STD),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}

#: Known timm models by name. Those that classify have the 1000 classes of ImageNet here; a checkpoint may have another
#: number, or no head.
KNOWN: dict[str, VitArchitecture] = {}

#: Preprocessing of the known models by name: timm's for the weights that the plain name stands for.
PREPROCESS: dict[str, Preprocess] = {}

#: Tags of timm whose weights normalise images otherwise than those of the plain name, one for each normalisation.
OTHER_NORMALISATION: dict[str, tuple[str, ...]] = {
    "vit_small_patch16_224": ("dino",),
    "vit_base_patch8_224": ("dino",),
    "vit_base_patch16_224": ("mae", "bamboo"),
    "vit_large_patch16_224": ("mae",),
    "vit_huge_patch14_224": ("mae",),
    "vit_large_patch14_clip_224": ("openai",),
    "vit_large_patch14_clip_336": ("openai_ft_in12k_in1k",),
    "eva_giant_patch14_336": ("m30m_ft_in22k_in1k",),
}


def _add(
    names: str,
    normalisation: str = "half",
    *,
    patch: int = 0,
    image: int = 0,
    crop: float = 0.0,
    interpolation: str = "bicubic",
    squash: bool = False,
    classes: int = 1000,
    size: tuple[int, int, int, int] | None = None,
    **features: Any,
) -> None:
    """Add the models of that names; patch and image size are part of a name, as its dimensions are by `_SIZES`."""
    for name in names.split():
        match = _NAME.fullmatch(name)
        assert match is not None, name
        width, depth, heads, mlp_width = size or _SIZES[match["size"]]
        image_size = Size.of(image or int(match["image"]))
        KNOWN[name] = VitArchitecture(
            name=name,
            image_size=image_size,
            patch_size=patch or int(match["patch"]),
            in_channels=3,
            classes=classes,
            width=width,
            depth=depth,
            heads=heads,
            mlp_width=mlp_width,
            **features,
        )
        mean, std = _NORMALISATION[normalisation]
        default_crop = 1.0 if min(image_size) >= 384 else 0.9
        crop_mode = "squash" if squash else "center"
        PREPROCESS[name] = Preprocess(image_size, crop or default_crop, interpolation, mean, std, crop_mode)


_add("vit_tiny_patch16_224 vit_tiny_patch16_384")
_add("vit_small_patch8_224", "imagenet")
_add("vit_small_patch16_224 vit_small_patch16_384 vit_small_patch32_224 vit_small_patch32_384")
_add("vit_base_patch8_224 vit_base_patch16_224 vit_base_patch16_384 vit_base_patch32_224 vit_base_patch32_384")
_add("vit_large_patch14_224 vit_large_patch16_224 vit_large_patch16_384 vit_large_patch32_224 vit_large_patch32_384")
_add("vit_huge_patch14_224 vit_giant_patch14_224 vit_gigantic_patch14_224")
_add("vit_base_patch16_224_miil", "none", image=224, crop=0.875, interpolation="bilinear")
_add("flexivit_small flexivit_base flexivit_large", patch=16, image=240, crop=0.95, no_embed_class=True)
_PLUS: _Features = {"size": (896, 12, 14, 3584)}
_add("vit_base_patch16_plus_240 vit_base_patch32_plus_256", crop=0.95, layer_scale=True, **_PLUS)
_add("vit_small_patch16_36x1_224", size=(384, 36, 6, 1536), layer_scale=True)
_add("deit_tiny_patch16_224 deit_small_patch16_224 deit_base_patch16_224 deit_base_patch16_384", "imagenet")
_add("deit_tiny_distilled_patch16_224 deit_small_distilled_patch16_224", "imagenet", distilled=True)
_add("deit_base_distilled_patch16_224 deit_base_distilled_patch16_384", "imagenet", distilled=True)

_DEIT3: _Features = {"no_embed_class": True, "layer_scale": True}
_add("deit3_small_patch16_224 deit3_small_patch16_384 deit3_medium_patch16_224", "imagenet", **_DEIT3)
_add("deit3_base_patch16_224 deit3_base_patch16_384", "imagenet", **_DEIT3)
_add("deit3_large_patch16_224 deit3_large_patch16_384 deit3_huge_patch14_224", "imagenet", **_DEIT3)

_DINO2: _Features = {"image": 518, "classes": 0, "layer_scale": True}
_add("vit_small_patch14_dinov2 vit_base_patch14_dinov2 vit_large_patch14_dinov2", "imagenet", **_DINO2)
_REG4: _Features = {"reg_tokens": 4, "no_embed_class": True}
_add("vit_small_patch14_reg4_dinov2 vit_base_patch14_reg4_dinov2", "imagenet", **_DINO2, **_REG4)
_add("vit_large_patch14_reg4_dinov2", "imagenet", **_DINO2, **_REG4)
_TIPS2: _Features = {"image": 448, "classes": 0, "layer_scale": True, "reg_tokens": 1, "no_embed_class": True}
_add("vit_base_patch14_reg1_tipsv2 vit_large_patch14_reg1_tipsv2 vit_so400m_patch14_reg1_tipsv2", "none", **_TIPS2)

_CLIP: _Features = {"pre_norm": True, "eps": 1e-5}
_add("vit_xsmall_patch16_clip_224 vit_medium_patch16_clip_224 vit_medium_patch32_clip_224", "openai", **_CLIP)
_add("vit_betwixt_patch32_clip_224 vit_base_patch32_clip_224", "openai", **_CLIP)
_add("vit_base_patch16_clip_224", "openai", crop=0.95, **_CLIP)
_add("vit_base_patch32_clip_256 vit_base_patch32_clip_384 vit_base_patch32_clip_448", "openai", crop=1.0, **_CLIP)
_add("vit_base_patch16_clip_384", "openai", squash=True, **_CLIP)
_add("vit_base_patch16_plus_clip_240", "openai", crop=1.0, **_PLUS, **_CLIP)
_add("vit_large_patch14_clip_224", crop=1.0, **_CLIP)
_add("vit_huge_patch14_clip_336 vit_gigantic_patch14_clip_378", "openai", crop=1.0, squash=True, **_CLIP)
_add("vit_huge_patch14_clip_224 vit_huge_patch14_clip_378", "openai", crop=1.0, **_CLIP)
_add("vit_giant_patch14_clip_224 vit_gigantic_patch14_clip_224", "openai", crop=1.0, **_CLIP)
_QUICK: _Features = {**_CLIP, "act": "quick_gelu"}
_add("vit_base_patch32_clip_quickgelu_224", "openai", **_QUICK)
_add("vit_base_patch16_clip_quickgelu_224 vit_large_patch14_clip_quickgelu_224", "openai", crop=1.0, **_QUICK)
_add("vit_large_patch14_clip_quickgelu_336 vit_huge_patch14_clip_quickgelu_224", "openai", crop=1.0, **_QUICK)
_add("vit_large_patch14_clip_336", crop=1.0, squash=True, **_CLIP)
_add("vit_huge_patch14_clip_quickgelu_378 vit_gigantic_patch14_clip_quickgelu_224", "openai", crop=1.0, **_QUICK)

_GAP: _Features = {"class_token": False, "pool": "avg"}
_add("vit_base_patch16_siglip_gap_224 vit_base_patch16_siglip_gap_256", classes=0, **_GAP)
_add("vit_base_patch16_siglip_gap_384 vit_base_patch16_siglip_gap_512", classes=0, crop=0.9, **_GAP)
_add("vit_large_patch16_siglip_gap_256 vit_large_patch16_siglip_gap_384", classes=0, crop=0.9, **_GAP)
_add("vit_so400m_patch14_siglip_gap_224 vit_so400m_patch14_siglip_gap_378", classes=0, crop=0.9, **_GAP)
# For images of 384 pixels, of which patches of 14 never reach the last 6.
_add("vit_so400m_patch14_siglip_gap_384", classes=0, image=378, crop=1.0, **_GAP)
_add("vit_so400m_patch14_siglip_gap_448 vit_so400m_patch14_siglip_gap_896", classes=0, **_GAP)
_TANH: _Features = {**_GAP, "act": "gelu_tanh"}
_add("vit_base_patch32_siglip_gap_256", classes=0, **_TANH)
_add("vit_large_patch16_siglip_gap_512 vit_so400m_patch16_siglip_gap_256", classes=0, crop=0.9, **_TANH)
_add("vit_giantopt_patch16_siglip_gap_256 vit_giantopt_patch16_siglip_gap_384", classes=0, crop=0.9, **_TANH)
_add("vit_so400m_patch16_siglip_gap_384 vit_so400m_patch16_siglip_gap_512", classes=0, crop=0.9, **_TANH)
_add("vit_base_patch16_gap_224", size=(768, 12, 16, 3072), **_GAP)
_add("vit_huge_patch14_gap_224 vit_huge_patch16_gap_448 vit_giant_patch16_gap_224", "imagenet", **_GAP)
_add("vit_medium_patch16_gap_240 vit_medium_patch16_gap_256", crop=0.95, layer_scale=True, **_GAP)
_add("vit_medium_patch16_gap_384", crop=0.95, squash=True, layer_scale=True, **_GAP)
_add("vit_betwixt_patch16_gap_256", crop=0.95, layer_scale=True, **_GAP)
_add("vit_so150m_patch16_reg4_gap_256", crop=0.95, reg_tokens=4, **_GAP)
_add("vit_so150m_patch16_reg4_gap_384", reg_tokens=4, **_GAP)
_FC: _Features = {**_GAP, "fc_norm": True}
_add(
    "vit_so150m2_patch16_reg1_gap_256 vit_so150m2_patch16_reg1_gap_384", crop=1.0, reg_tokens=1, layer_scale=True, **_FC
)
_add("vit_so150m2_patch16_reg1_gap_448", crop=1.0, squash=True, reg_tokens=1, layer_scale=True, **_FC)
_add("vit_base_patch16_reg4_gap_256", **_REG4, **_FC)
_REG_GAP: _Features = {**_FC, "no_embed_class": True, "layer_scale": True, "crop": 0.95}
_add("vit_wee_patch16_reg1_gap_256 vit_little_patch16_reg1_gap_256", reg_tokens=1, **_REG_GAP)
_add("vit_medium_patch16_reg1_gap_256 vit_betwixt_patch16_reg1_gap_256", reg_tokens=1, **_REG_GAP)
_add("vit_little_patch16_reg4_gap_256 vit_medium_patch16_reg4_gap_256", reg_tokens=4, **_REG_GAP)
_add("vit_mediumd_patch16_reg4_gap_256 vit_betwixt_patch16_reg4_gap_256", reg_tokens=4, **_REG_GAP)
_add("vit_mediumd_patch16_reg4_gap_384 vit_betwixt_patch16_reg4_gap_384", reg_tokens=4, **{**_REG_GAP, "crop": 1.0})
_EVA: _Features = {"pool": "avg", "fc_norm": True}
_add("eva_large_patch14_196", "openai", crop=1.0, **_EVA)
_add("eva_large_patch14_336", "openai", crop=1.0, squash=True, **_EVA)
_add("eva_giant_patch14_224", "openai", **_EVA)
_add("eva_giant_patch14_336", "openai", crop=1.0, squash=True, **_EVA)
_add("eva_giant_patch14_560", "imagenet", crop=1.0, squash=True, **_EVA)
_add("eva_giant_patch14_clip_224", "openai")

#: What a name that is not known stands for, where that is a feature that is not supported; the first one that fits.
UNSUPPORTED: dict[str, str] = {
    r"_rpn_|^eva02_enormous": "normalisation after each branch (res-post-norm)",
    r"siglip(?!_gap)|reg4_map|test_vit3": "attention pooling",
    r"^test_vit4": "normalisation without bias (RMSNorm)",
    r"_xp_|18x2|_d?pwee_": "parallel blocks",
    r"_dwee_|_dlittle_": "differential attention",
    r"giant_patch14_(reg\d_)?(dinov2|tipsv2)": "gated MLP (SwiGLU)",
    r"^aimv2": "gated MLP (SwiGLU) and RMSNorm",
    r"^beit3": "normalisation inside attention or MLP",
    r"_radio_|_intern300m_": "networks without final normalisation",
    r"^vit_pe_|^eva02|_rope_|^vit_.*(dinov3|lingbot|sapiens)": "rotary position embedding (rope)",
    r"^samvit": "relative position bias that depends on queries (SAM)",
    r"^beit|^beitv2|relpos": "relative position bias",
    r"^swinv2": "cosine attention (Swin V2)",
    r"^vit_.*_(r26|r50|resnet)|^vit_\w+_r_s|^vitamin": "convolutional stems",
    r"^naflexvit": "images of any number of patches (NaFlex)",
    r"^hiera": "pooling of queries (Hiera)",
    r"^mvitv2": "pooling of queries and keys (MViT)",
    r"^(maxvit|maxxvit|coatnet|coatnext|coat_|mobilevit|levit|pvt|convit|tiny_vit|efficientvit|fastvit|davit)": (
        "convolutions between or before its blocks"
    ),
}
