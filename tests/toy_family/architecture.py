"""A family of its own: blocks that normalise once for attention and feed-forward network, and no class token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ivit_onnx.architectures.architecture import Architecture
from ivit_onnx.architectures.costs import AttentionShape, Macs, MlpShape, NormShape, OperatorShape, linear_shapes
from ivit_onnx.architectures.family import Family
from ivit_onnx.architectures.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from ivit_onnx.architectures.size import Size

if TYPE_CHECKING:
    import torch

__all__ = ["FAMILY", "ToyArchitecture"]


@dataclass(frozen=True, kw_only=True)
class ToyArchitecture(Architecture):
    """`heads` follow from the width: 16 channels each."""

    family: ClassVar[str] = "toy"

    width: int
    depth: int
    mlp_width: int

    @property
    def heads(self) -> int:
        return self.width // 16

    @property
    def blocks(self) -> int:
        return self.depth

    @property
    def tokens(self) -> int:
        return self.grid.area

    def summary(self) -> str:
        return f"{self.depth} toy blocks of width {self.width}"

    def macs(self) -> Macs:
        tokens, width = self.tokens, self.width
        block = tokens * (4 * width * width + 2 * width * self.mlp_width)
        linear = tokens * self.in_channels * self.patch_size**2 * width + self.depth * block + width * self.classes
        return Macs(linear, self.depth * 2 * tokens * tokens * width)

    def operator_shapes(self) -> list[OperatorShape]:
        tokens, width, hidden = self.tokens, self.width, self.mlp_width
        attention, mlp = AttentionShape(tokens, width, self.heads), MlpShape(tokens, width, hidden)
        return [*linear_shapes(tokens, width, hidden), attention, mlp, NormShape(tokens, width)]


def _counterpart(arch: ToyArchitecture) -> torch.nn.Module:
    from ivit_onnx.models.toy import FloatToy

    return FloatToy(arch)


_SIZE = Size(32, 32)
_TINY = ToyArchitecture(
    name="toy_tiny", image_size=_SIZE, patch_size=8, in_channels=3, classes=7, width=32, depth=2, mlp_width=64
)

FAMILY = Family(
    architecture=ToyArchitecture,
    reader="ivit_onnx.checkpoints.toy:READER",
    twin="ivit_onnx.models.toy:ToyTransformer",
    counterpart=_counterpart,
    known={_TINY.name: _TINY},
    preprocess={_TINY.name: Preprocess(_SIZE, 0.9, "bicubic", IMAGENET_MEAN, IMAGENET_STD)},
)
