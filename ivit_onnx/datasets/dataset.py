"""What a labelled data set is, and one that is held in memory."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from ivit_onnx.architectures import Size

__all__ = ["SPLITS", "ArrayDataset", "ImageDataset", "Split", "listed"]

Split = Literal["train", "val"]
SPLITS: tuple[Split, ...] = get_args(Split)


class ImageDataset(ABC):
    """A sequence of (Pillow image in upright RGB, label), label in 0..len(classes)-1.

    Attributes: `classes` the names in order of their labels; `size` that of the images where all are alike, for which
    a network of this size takes them whole, without resizing and cropping; None otherwise; `notes` what was assumed
    when the set was opened; `order_note` says so where the order of the classes was one of two.
    """

    classes: list[str]
    size: Size | None = None
    notes: Sequence[str] = ()
    order_note: str | None = None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """Raises ImageError, which names the image, when it is not readable."""

    @abstractmethod
    def contents(self, unread: Collection[int] = ()) -> list[str]:
        """What is in the set, without reading image files: names, sizes of files and labels, or a hash of all.

        Files numbered in `unread` are there by name alone: one that is damaged may be mended.
        """

    def fingerprint(self, unread: Collection[int] = ()) -> str:
        """Identifies the set: its images by name and size in bytes, or by content in memory, their labels and order.

        Of images numbered in `unread` the size plays no part.
        """
        lines = [type(self).__name__, str(len(self)), *self.classes, *self.contents(frozenset(unread))]
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def listed(folder: Path, files: Sequence[Path], unread: Collection[int]) -> list[str]:
    """Names of files below the folder, each with its size in bytes, save those numbered in `unread`."""
    return [f"{file.relative_to(folder)} {'' if index in unread else _size(file)}" for index, file in enumerate(files)]


def _size(file: Path) -> str:
    try:
        return str(file.stat().st_size)
    except OSError:
        return ""


class ArrayDataset(ImageDataset):
    """Pixels uint8 [N, height, width, 3] and labels int64 [N] in memory."""

    def __init__(self, pixels: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], classes: list[str]) -> None:
        self.pixels, self.labels, self.classes = pixels, labels, classes
        self.size = Size(*map(int, pixels.shape[1:3]))

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.pixels[index]), int(self.labels[index])

    def contents(self, unread: Collection[int] = ()) -> list[str]:
        content = hashlib.sha256(self.pixels.tobytes())
        content.update(self.labels.tobytes())
        return [content.hexdigest()]
