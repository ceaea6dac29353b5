"""In which order named classes are numbered: what timm and torchvision do differently."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal, get_args

__all__ = ["CLASS_ORDERS", "ClassOrder", "natural_key", "order_classes"]

ClassOrder = Literal["natural", "text"]
CLASS_ORDERS: tuple[ClassOrder, ...] = get_args(ClassOrder)

_WHOSE = {"natural": "natural order, as timm does it", "text": "the order of text, as torchvision does it"}


def natural_key(name: str) -> tuple[list[str | int], str]:
    """What to sort names by, so that numbers in them count as numbers: 2 before 10, and without regard to case.

    The order is that of `timm.data.readers.reader_image_folder`; names that it does not tell apart are sorted as text.
    """
    parts = re.split(r"(\d{1,1000})", name.lower())  # Python reads no longer numbers
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name


def order_classes(names: Collection[str], order: ClassOrder) -> tuple[list[str], str | None]:
    """The names in the order of their numbers, and a note where natural order and the order of text differ."""
    sorts: dict[ClassOrder, list[str]] = {"natural": sorted(names, key=natural_key), "text": sorted(names)}
    chosen, other = sorts[order], sorts["text" if order == "natural" else "natural"]
    if chosen == other:
        return chosen, None
    place = next(place for place, pair in enumerate(zip(chosen, other, strict=True)) if pair[0] != pair[1])
    return chosen, (
        f"classes are numbered in {_WHOSE[order]}: class {place} is {chosen[place]!r}; in "
        f"{_WHOSE['text' if order == 'natural' else 'natural']}, it would be {other[place]!r} (--class-order)"
    )
