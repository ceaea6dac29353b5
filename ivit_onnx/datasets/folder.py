"""Folders of images, one folder per class: the layout of ImageNet."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from PIL import Image

from ivit_onnx.datasets.dataset import ImageDataset, Split, listed
from ivit_onnx.datasets.order import ClassOrder, order_classes
from ivit_onnx.decoding import find_images, is_hidden, open_rgb
from ivit_onnx.errors import ImageError

__all__ = ["FolderDataset"]

_NAMES = {"train": ("train", "training"), "val": ("val", "validation", "test")}


class FolderDataset(ImageDataset):
    """Every image below `folder`/CLASS, or below `folder`/train/CLASS and `folder`/val/CLASS.

    Classes are numbered in the `order` of their folders' names.
    """

    def __init__(self, folder: str | os.PathLike[str], split: Split, order: ClassOrder = "natural") -> None:
        self._root = root = _split_folder(Path(folder), split)
        found = [entry.name for entry in root.iterdir() if entry.is_dir() and not is_hidden(entry.name)]
        names, self.order_note = order_classes(found, order)
        if not names:
            raise ImageError(
                f"expected a folder of images for each class in {root}, found no folders; "
                "images without folders need a file of their labels (--labels)"
            )
        self.classes = names
        self.files: list[Path] = []
        self.labels: list[int] = []
        for label, name in enumerate(names):
            files = find_images(root / name)
            self.files += files
            self.labels += [label] * len(files)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return open_rgb(self.files[index]), self.labels[index]

    def contents(self, unread: Collection[int] = ()) -> list[str]:
        return listed(self._root, self.files, unread)


def _split_folder(folder: Path, split: Split) -> Path:
    """The folder of the split: its own if there is one, else the whole, unless only the other split is there."""
    for name in _NAMES[split]:
        if (folder / name).is_dir():
            return folder / name
    others = [name for names in _NAMES.values() for name in names if (folder / name).is_dir()]
    if others:
        raise ImageError(f"expected {' or '.join(_NAMES[split])} in {folder}, found {', '.join(others)}")
    return folder
