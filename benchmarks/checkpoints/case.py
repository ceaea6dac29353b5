"""What a case of the catalogue consists of: a checkpoint as somebody would have it, and what is right for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

__all__ = ["Case", "Expect", "Made", "Prepare", "Reference"]

#: The source's own forward: normalised float32 images [N, 3, height, width] to logits or features [N, channels].
Reference = Callable[[torch.Tensor], torch.Tensor]
#: The source's own preparation of a Pillow image: normalised float32 [3, size, size].
Prepare = Callable[[Any], torch.Tensor]
Expect = Literal["accept", "refuse", "accept or refuse, never wrong"]


@dataclass(frozen=True)
class Made:
    """A checkpoint that was made.

    `checkpoint` is what `ivit_onnx.export` is given: a path, which goes through `ivit-export`, or an object. `options`
    are keyword arguments of `export`, which the command has by the same names. `reference` is None for a checkpoint
    that no accepted network can be right for. `size` is the side of the images of the reference, or (height, width).
    """

    checkpoint: Any
    reference: Reference | None = None
    size: int | tuple[int, int] = 32
    options: dict[str, Any] = field(default_factory=dict)
    prepare: Prepare | None = None


@dataclass(frozen=True)
class Case:
    """One checkpoint of the catalogue.

    `make` writes it into an empty folder. `words` is a pattern (re.search, any case) that the answer has to have: the
    message of a refusal without the path, or the sentences (warnings and others) of the report of an export. For
    "accept or refuse, never wrong" an export needs them only if it is of another network than the checkpoint's: without
    them that is silently wrong. `doubt` is the pattern of such a warning for a case that has to be accepted. `needs`
    are modules to import.
    """

    name: str
    kind: str
    make: Callable[[Path], Made]
    expect: Expect = "accept"
    words: str = ""
    doubt: str = ""
    needs: tuple[str, ...] = ()
