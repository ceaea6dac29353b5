"""Height and width of images in pixels, and of grids in tokens. No torch here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from ivit_onnx.errors import IvitError, OptionError
from ivit_onnx.numbers import RANGES

__all__ = ["Size", "SizeLike"]

#: The side of a square, or height and width.
SizeLike: TypeAlias = int | Sequence[int]


class Size(NamedTuple):
    """Height and width: of an image in pixels, of a grid in tokens.

    As text it is what --img-size takes: 224 for a square, 64x256 for an image 64 pixels high and 256 wide.
    """

    height: int
    width: int

    @classmethod
    def of(cls, value: SizeLike) -> Size:
        """A size from the side of a square or a pair (height, width). Raises IvitError unless they are positive."""
        pair = value if isinstance(value, tuple | list) else (value, value)
        if len(pair) != 2 or not all(RANGES["img_size"].has(side) for side in pair):
            raise OptionError(
                f"img_size: expected {RANGES['img_size']}, or a pair of them for height and width, found {value!r}"
            )
        return cls(*pair)

    @classmethod
    def parse(cls, text: str) -> Size:
        """A size from text: 224, or 64x256 for height and width. Raises IvitError for anything else."""
        match = re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", text, re.ASCII)
        if match is None:
            raise IvitError(f"expected an image size such as 224, or 64x256 for height and width, found {text!r}")
        return cls.of((int(match[1]), int(match[2] or match[1])))

    @property
    def square(self) -> bool:
        return self.height == self.width

    @property
    def area(self) -> int:
        """Pixels of an image, tokens of a grid."""
        return self.height * self.width

    @property
    def sides(self) -> str:
        """Both sides in words for people: "64 x 256"."""
        return f"{self.height} x {self.width}"

    def to_json(self) -> int | list[int]:
        """The side of a square, [height, width] of a rectangle: what `of` takes."""
        return self.height if self.square else [self.height, self.width]

    def __str__(self) -> str:
        return f"{self.height}" if self.square else f"{self.height}x{self.width}"
