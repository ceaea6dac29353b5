"""Options of commands that read checkpoints: what cannot be inferred from tensors, and which tensors are taken."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

__all__ = ["Act", "Key", "Plain", "Pooling", "Prefix", "WeightsOption"]

Act = Annotated[
    Literal["gelu", "gelu_tanh", "quick_gelu"] | None,
    typer.Option(
        help="Activation function of the floating-point network, where the file does not determine it.  "
        "\\[default: the architecture's]"
    ),
]
Pooling = Annotated[
    Literal["token", "avg"] | None,
    typer.Option(
        help="What the head reads, where the file does not determine it: the class token, or the mean of the patches.  "
        "\\[default: the architecture's]"
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
    Literal["auto", "ema", "raw"],
    typer.Option(help="Averaged or last weights, of a file that has both; auto takes averaged ones."),
]
Key = Annotated[str, typer.Option(metavar="NAME", help="Where in the file the weights are, as model.state_dict.")]
Prefix = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="What the names of the network begin with, as visual., of a file with several networks."
    ),
]
