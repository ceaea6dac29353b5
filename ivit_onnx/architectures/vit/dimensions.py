"""ViT, DeiT and their relatives of timm's VisionTransformer: dimensions, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ivit_onnx.architectures.architecture import Architecture
from ivit_onnx.architectures.costs import (
    AttentionShape,
    Macs,
    MlpShape,
    NormShape,
    OperatorShape,
    linear_shapes,
)
from ivit_onnx.budgets import SCORES
from ivit_onnx.errors import CheckpointError
from ivit_onnx.options.choices import ACTIVATIONS

__all__ = ["VitArchitecture"]


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

    def macs(self) -> Macs:
        """With T tokens and width C, a block has 3 C C (qkv) + C C (projection) + 2 C H (feed-forward) products per
        token and T C per token in each of the two products of attention. The heads see one token each.
        """
        tokens, width = self.tokens, self.width
        patches = self.patches * self.in_channels * self.patch_size**2 * width
        block = tokens * (4 * width * width + 2 * width * self.mlp_width)
        heads = self.head_tokens * width * self.classes
        return Macs(linear=patches + self.depth * block + heads, attention=self.depth * 2 * tokens * tokens * width)

    def operator_shapes(self) -> list[OperatorShape]:
        tokens, width, hidden = self.tokens, self.width, self.mlp_width
        return [
            *linear_shapes(tokens, width, hidden),
            AttentionShape(tokens, width, self.heads),
            MlpShape(tokens, width, hidden),
            NormShape(tokens, width),
        ]
