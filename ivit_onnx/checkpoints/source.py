"""A checkpoint after reading: tensors by the names of their maker, and what stands beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ivit_onnx.checkpoints.facts import Facts
from ivit_onnx.checkpoints.trained import Trained
from ivit_onnx.options.choices import Weights

__all__ = ["AUTO", "Choice", "Source"]


@dataclass(frozen=True)
class Choice:
    """Which tensors of a file to take, where it has more than those of one network.

    `key`: where in the file they are, as "model.state_dict" ("" lets the reader look). `prefix`: what the names of the
    network begin with, as "visual." (None lets the reader look). `weights`: averaged ("ema") or last ("raw") ones;
    "auto" takes averaged ones where there are any, and says so.
    """

    key: str = ""
    prefix: str | None = None
    weights: Weights = "auto"


#: The reader looks.
AUTO = Choice()


@dataclass(frozen=True)
class Source:
    """A checkpoint as it was read.

    `title` names it in messages. `tensors`: by the names of their maker. `facts`: what stands beside them and needs no
    knowledge of the layout of tensors. `config`: the content of a `config.json` of Hugging Face transformers, which the
    layout reads, {} where there is none. `notes`: sentences about what was chosen and left out. `trained`: what a
    checkpoint of `ivit-train` says, None for any other.
    """

    title: str
    tensors: dict[str, torch.Tensor]
    facts: Facts = field(default_factory=Facts)
    config: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    trained: Trained | None = None
