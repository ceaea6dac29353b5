"""Folders of images, one folder a class: the layout of ImageNet."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image

from ivit_onnx.datasets.base import ImageDataset, Split
from ivit_onnx.errors import ImageError
from ivit_onnx.images import find_images

__all__ = ["FolderDataset"]

_NAMES = {"train": ("train", "training"), "val": ("val", "validation", "test")}


class FolderDataset(ImageDataset):
    """Every image below `folder`/CLASS, or below `folder`/train/CLASS and `folder`/val/CLASS."""

    def __init__(self, folder: str | os.PathLike[str], split: Split) -> None:
        root = _split_folder(Path(folder), split)
        names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        if not names:
            raise ImageError(f"expected a folder of images for each class in {root}, found no folders")
        self.classes = names
        self.files: list[Path] = []
        self.labels: list[int] = []
        for label, name in enumerate(names):
            found = find_images(root / name)
            self.files += found
            self.labels += [label] * len(found)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        try:
            with Image.open(self.files[index]) as image:
                return image.convert("RGB"), self.labels[index]
        except OSError as error:
            raise ImageError(f"cannot read image {self.files[index]}: {error}") from None


def _split_folder(folder: Path, split: Split) -> Path:
    """The folder of the split: its own if there is one, else the whole, unless only the other split is there."""
    for name in _NAMES[split]:
        if (folder / name).is_dir():
            return folder / name
    others = [name for names in _NAMES.values() for name in names if (folder / name).is_dir()]
    if others:
        raise ImageError(f"expected {' or '.join(_NAMES[split])} in {folder}, found {', '.join(others)}")
    return folder
