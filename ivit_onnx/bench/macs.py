"""How many multiply-accumulates an image costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ivit_onnx.architectures import Architecture, SwinArchitecture, VitArchitecture

__all__ = ["Macs", "count_macs"]


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates for one image: `linear` layers (patch embedding and head included) and the two products
    of `attention`, queries by keys and probabilities by values."""

    linear: int
    attention: int

    @property
    def total(self) -> int:
        return self.linear + self.attention


def count_macs(arch: Architecture) -> Macs:
    """The products of matrices for one image; everything else is linear in the activations."""
    return _COUNTERS[arch.family](arch)


def _vit(arch: VitArchitecture) -> Macs:
    """The products of a ViT or DeiT.

    With T tokens and width C, a block has 3 C C (qkv) + C C (projection) + 2 C H (feed-forward) products a token and
    T C a token in each of the two products of attention. The heads see one token each.
    """
    tokens, width = arch.tokens, arch.width
    patches = arch.patches * arch.in_channels * arch.patch_size**2 * width
    block = tokens * (4 * width * width + 2 * width * arch.mlp_width)
    heads = arch.head_tokens * width * arch.classes
    return Macs(linear=patches + arch.depth * block + heads, attention=arch.depth * 2 * tokens * tokens * width)


def _swin(arch: SwinArchitecture) -> Macs:
    """The products of a Swin; padding around the grid is not counted.

    A block of width C has products a token as in a ViT, but attention only inside windows of T tokens. Merging four
    tokens takes 4 C * 2 C products.
    """
    linear = arch.tokens * arch.in_channels * arch.patch_size**2 * arch.width + arch.features * arch.classes
    attention = 0
    for stage in arch.stages:
        tokens, width = stage.tokens, stage.width
        linear += stage.depth * tokens * (4 + 2 * arch.mlp_ratio) * width * width
        linear += tokens * 2 * width * width if stage.index > 0 else 0
        attention += stage.depth * 2 * tokens * stage.window**2 * width
    return Macs(linear, attention)


#: What counts the products of each architecture family.
_COUNTERS: dict[str, Callable[[Any], Macs]] = {"vit": _vit, "swin": _swin}
