"""What a network costs: its products, and the shapes at which its operators run."""

from __future__ import annotations

from dataclasses import dataclass

from ivit_onnx.architectures.size import Size

__all__ = [
    "AttentionShape",
    "LinearShape",
    "Macs",
    "MlpShape",
    "NormShape",
    "OperatorShape",
    "PatchMergeShape",
    "WindowAttentionShape",
    "linear_shapes",
]


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates for one image: `linear` layers (patch embedding and head included) and the two products
    of `attention`, queries by keys and probabilities by values."""

    linear: int
    attention: int

    @property
    def total(self) -> int:
        return self.linear + self.attention


@dataclass(frozen=True)
class LinearShape:
    """Tokens [tokens, inputs] by weights [inputs, outputs]."""

    tokens: int
    inputs: int
    outputs: int


@dataclass(frozen=True)
class AttentionShape:
    """Attention of all tokens to all tokens, on queries, keys and values [tokens, 3 * width]."""

    tokens: int
    width: int
    heads: int


@dataclass(frozen=True)
class WindowAttentionShape:
    """Attention inside windows of `window` x `window` tokens, shifted by `shift`, on a grid of tokens."""

    width: int
    heads: int
    grid: Size
    window: int
    shift: int


@dataclass(frozen=True)
class MlpShape:
    """A feed-forward network on tokens [tokens, width] with `hidden` channels inside."""

    tokens: int
    width: int
    hidden: int


@dataclass(frozen=True)
class NormShape:
    """Normalisation of tokens [tokens, width]."""

    tokens: int
    width: int


@dataclass(frozen=True)
class PatchMergeShape:
    """Four tokens of `width` channels on a grid to one of twice as many."""

    width: int
    grid: Size


OperatorShape = LinearShape | AttentionShape | WindowAttentionShape | MlpShape | NormShape | PatchMergeShape


def linear_shapes(tokens: int, width: int, hidden: int) -> list[LinearShape]:
    """The linear layers of a pre-norm block, each shape once: qkv, projection, and both of the feed-forward network."""
    shapes = dict.fromkeys([(width, 3 * width), (width, width), (width, hidden), (hidden, width)])
    return [LinearShape(tokens, inputs, outputs) for inputs, outputs in shapes]
