"""Options of commands that read labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ivit_onnx.cli._choice import choice
from ivit_onnx.datasets import DESCRIPTION, ClassOrder, Split
from ivit_onnx.options.records import CLASS_ORDER

__all__ = ["ClassOrderOption", "Classes", "Data", "ImageColumn", "LabelColumn", "Labels", "SplitOption"]


Data = Annotated[str, typer.Option(metavar="DATA", help=f"Images: {DESCRIPTION}.")]
SplitOption = Annotated[Split, typer.Option(**choice(Split), help="Which part of the data.")]
Labels = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Labels of images that are not in one folder per class: a text file with one name and label per line.",
    ),
]
Classes = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="All classes of the model in order, one name per line, CSV or JSON, for data with some of them or in "
        "another order.",
    ),
]
ClassOrderOption = Annotated[
    ClassOrder | None,
    typer.Option(**choice(ClassOrder), help=f"{CLASS_ORDER.help}  \\[default: {CLASS_ORDER.default}]"),
]
ImageColumn = Annotated[
    str | None, typer.Option(metavar="NAME", help="Column of images of hf:NAME.  \\[default: the first]")
]
LabelColumn = Annotated[
    str | None, typer.Option(metavar="NAME", help="Column of labels of hf:NAME.  \\[default: the first]")
]
