"""Options of commands that read labelled images."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ivit_onnx.datasets import DESCRIPTION

__all__ = ["Classes", "Data", "ImageColumn", "LabelColumn", "Labels", "SplitName", "SplitOption"]


class SplitName(StrEnum):
    """The values of `--split`."""

    TRAIN = "train"
    VAL = "val"


Data = Annotated[str, typer.Option(metavar="DATA", help=f"Images: {DESCRIPTION}.")]
SplitOption = Annotated[SplitName, typer.Option(help="Which part of the data.")]
Labels = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Labels of images that are not in a folder a class: a text file with name and label a line.",
    ),
]
Classes = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="All classes of the model in order, the first word of each line, for data with some of them.",
    ),
]
ImageColumn = Annotated[
    str | None, typer.Option(metavar="NAME", help="Column of images of hf:NAME.  \\[default: the first]")
]
LabelColumn = Annotated[
    str | None, typer.Option(metavar="NAME", help="Column of labels of hf:NAME.  \\[default: the first]")
]
