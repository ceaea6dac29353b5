"""Swin: its dimensions, what follows from them, and the table of known timm models. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ivit_onnx.architectures.architecture import Architecture
from ivit_onnx.architectures.costs import (
    Macs,
    MlpShape,
    NormShape,
    OperatorShape,
    PatchMergeShape,
    WindowAttentionShape,
    linear_shapes,
)
from ivit_onnx.architectures.family import Family
from ivit_onnx.architectures.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from ivit_onnx.architectures.size import Size
from ivit_onnx.budgets import SCORES
from ivit_onnx.errors import CheckpointError

if TYPE_CHECKING:
    import torch

__all__ = ["FAMILY", "Stage", "SwinArchitecture"]


@dataclass(frozen=True)
class Stage:
    """One stage: `depth` blocks of `width` channels on a grid of tokens, `grid` its rows and columns.

    Windows have `window` x `window` tokens; every second block shifts them by `shift` tokens.
    """

    index: int
    depth: int
    width: int
    heads: int
    grid: Size
    window: int

    @property
    def shift(self) -> int:
        """0 where one window is the whole grid."""
        return self.window // 2 if self.window < min(self.grid) else 0

    @property
    def tokens(self) -> int:
        """Tokens of the grid."""
        return self.grid.area

    @property
    def padded(self) -> bool:
        """Whether windows reach beyond the grid."""
        return any(side % self.window for side in self.grid)


@dataclass(frozen=True, kw_only=True)
class SwinArchitecture(Architecture):
    """Dimensions of a Swin: one number per stage in `depths`, `heads`, `windows`; `width` is that of the first stage.

    A window that would be larger than the grid of its stage is the whole grid, which must be square then.
    """

    family: ClassVar[str] = "swin"
    free_fields: ClassVar[tuple[str, ...]] = ("name", "classes", "image_size")

    width: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    windows: tuple[int, ...]
    mlp_ratio: int

    def __post_init__(self) -> None:
        for name in ("depths", "heads", "windows"):
            values = getattr(self, name)
            if not isinstance(values, tuple) or len(values) != len(self.depths) or not values:
                raise CheckpointError(f"{name} must have one number per stage, found {values!r}")
            if not all(isinstance(value, int) and not isinstance(value, bool) and value > 0 for value in values):
                raise CheckpointError(f"{name} must be positive integers, found {list(values)}")
        super().__post_init__()
        for stage, asked in zip(self.stages, self.windows, strict=True):
            if not stage.grid.square and min(stage.grid) <= asked:
                raise CheckpointError(
                    f"not supported yet: windows that are not square, or are shifted along one side only; windows of "
                    f"{asked} tokens per side need more than {asked} rows and columns, found a grid of "
                    f"{stage.grid.sides} in stage {stage.index} for images of {self.image_size.sides} pixels"
                )
            if stage.width % stage.heads:
                raise CheckpointError(f"{stage.heads} heads do not divide width {stage.width} of stage {stage.index}")
            scores = stage.heads * max(stage.tokens, stage.window**2) * stage.window**2
            SCORES.check(scores, f"stage {stage.index} for images of {self.image_size.sides} pixels", CheckpointError)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages in order; each but the first has half the grid, rounded up, and twice the width."""
        stages, grid = [], self.grid
        for index, (depth, heads, window) in enumerate(zip(self.depths, self.heads, self.windows, strict=True)):
            if index > 0:
                grid = Size(*(-(-side // 2) for side in grid))
            stages.append(Stage(index, depth, self.width * 2**index, heads, grid, min(window, *grid)))
        return tuple(stages)

    @property
    def blocks(self) -> int:
        return sum(self.depths)

    @property
    def tokens(self) -> int:
        return self.stages[0].tokens

    @property
    def features(self) -> int:
        """Channels of the last stage, the input of the head."""
        return self.stages[-1].width

    def summary(self) -> str:
        depths = "-".join(map(str, self.depths))
        windows = "-".join(map(str, dict.fromkeys(self.windows)))
        return f"{depths} blocks of width {self.width} to {self.features}, windows of {windows}"

    def macs(self) -> Macs:
        """Padding around the grid is not counted.

        A block of width C has products per token as in a ViT, but attention only inside windows of T tokens. Merging
        four tokens takes 4 C * 2 C products.
        """
        linear = self.tokens * self.in_channels * self.patch_size**2 * self.width + self.features * self.classes
        attention = 0
        for stage in self.stages:
            tokens, width = stage.tokens, stage.width
            linear += stage.depth * tokens * (4 + 2 * self.mlp_ratio) * width * width
            linear += tokens * 2 * width * width if stage.index > 0 else 0
            attention += stage.depth * 2 * tokens * stage.window**2 * width
        return Macs(linear, attention)

    def operator_shapes(self) -> list[OperatorShape]:
        """Those of the second block of each stage, whose windows are shifted, and of the step to the stage."""
        shapes: list[OperatorShape] = []
        before = (None, *self.stages)
        for stage, previous in zip(self.stages, before, strict=False):
            tokens, width, hidden = stage.tokens, stage.width, self.mlp_ratio * stage.width
            if previous is not None:
                shapes.append(PatchMergeShape(previous.width, previous.grid))
            shapes += linear_shapes(tokens, width, hidden)
            shapes += [
                WindowAttentionShape(width, stage.heads, stage.grid, stage.window, stage.shift),
                MlpShape(tokens, width, hidden),
                NormShape(tokens, width),
            ]
        return shapes


def _known(
    name: str, image: int, windows: int | tuple[int, ...], width: int, depths: str, heads: int
) -> SwinArchitecture:
    """A model with 1000 classes; each stage has twice the heads of the one before."""
    stages = tuple(map(int, depths.split("-")))
    return SwinArchitecture(
        name=name,
        image_size=Size.of(image),
        patch_size=4,
        in_channels=3,
        classes=1000,
        width=width,
        depths=stages,
        heads=tuple(heads * 2**index for index in range(len(stages))),
        windows=(windows,) * len(stages) if isinstance(windows, int) else windows,
        mlp_ratio=4,
    )


_KNOWN: dict[str, SwinArchitecture] = {
    known.name: known
    for known in (
        _known("swin_tiny_patch4_window7_224", 224, 7, 96, "2-2-6-2", 3),
        _known("swin_small_patch4_window7_224", 224, 7, 96, "2-2-18-2", 3),
        _known("swin_base_patch4_window7_224", 224, 7, 128, "2-2-18-2", 4),
        _known("swin_base_patch4_window12_384", 384, 12, 128, "2-2-18-2", 4),
        _known("swin_large_patch4_window7_224", 224, 7, 192, "2-2-18-2", 6),
        _known("swin_large_patch4_window12_384", 384, 12, 192, "2-2-18-2", 6),
        _known("swin_s3_tiny_224", 224, (7, 7, 14, 7), 96, "2-2-6-2", 3),
        _known("swin_s3_small_224", 224, (14, 14, 14, 7), 96, "2-2-18-2", 3),
        _known("swin_s3_base_224", 224, (7, 7, 14, 7), 96, "2-2-30-2", 3),
    )
}

_PREPROCESS: dict[str, Preprocess] = {
    name: Preprocess(
        arch.image_size, 1.0 if min(arch.image_size) >= 384 else 0.9, "bicubic", IMAGENET_MEAN, IMAGENET_STD
    )
    for name, arch in _KNOWN.items()
}


def _counterpart(arch: SwinArchitecture) -> torch.nn.Module:
    """timm's SwinTransformer, with timm's random initialisation."""
    from timm.models.swin_transformer import SwinTransformer

    network: torch.nn.Module = SwinTransformer(
        img_size=arch.image_size,
        patch_size=arch.patch_size,
        in_chans=arch.in_channels,
        num_classes=arch.classes,
        embed_dim=arch.width,
        depths=arch.depths,
        num_heads=arch.heads,
        window_size=[(window, window) for window in arch.windows],  # type: ignore[arg-type]
        mlp_ratio=arch.mlp_ratio,
    )
    return network


FAMILY = Family(
    architecture=SwinArchitecture,
    reader="ivit_onnx.checkpoints.swin:READER",
    twin="ivit_onnx.models.swin:SwinTransformer",
    counterpart=_counterpart,
    known=_KNOWN,
    preprocess=_PREPROCESS,
    timm_modules=("swin_transformer",),
)
