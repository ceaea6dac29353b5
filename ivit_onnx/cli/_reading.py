"""Options of commands that read checkpoints: what tensors do not tell, and which tensors are taken."""

from __future__ import annotations

from typing import Annotated

import typer

from ivit_onnx.cli._choice import choice
from ivit_onnx.options import choices

__all__ = ["Act", "Key", "Plain", "Pooling", "Prefix", "WeightsOption"]

Act = Annotated[
    choices.Act | None,
    typer.Option(
        **choice(choices.Act),
        help="Activation function of the floating-point network, when the file cannot tell.  "
        "\\[default: that of the architecture]",
    ),
]
Pooling = Annotated[
    choices.Pool | None,
    typer.Option(
        **choice(choices.Pool),
        help="What the head reads, when the file cannot tell: the class token, or the mean of the patches.  "
        "\\[default: that of the architecture]",
    ),
]
Plain = Annotated[
    bool,
    typer.Option(
        "--plain",
        help="Say that blocks are normalised before each branch and have no rotary embedding, where another network "
        "has the same tensors.",
    ),
]
WeightsOption = Annotated[
    choices.Weights,
    typer.Option(
        **choice(choices.Weights), help="Averaged or last weights, of a file that has both; auto takes averaged ones."
    ),
]
Key = Annotated[str, typer.Option(metavar="NAME", help="Where in the file the weights are, as model.state_dict.")]
Prefix = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="What the names of the network begin with, as visual., of a file with several networks."
    ),
]
