"""Images in one folder with a file of their labels, and classes in the order of a list."""

from __future__ import annotations

import os
import re
from pathlib import Path

from PIL import Image

from ivit_onnx.datasets.base import ImageDataset
from ivit_onnx.datasets.folder import open_rgb
from ivit_onnx.errors import ImageError
from ivit_onnx.images import find_images

__all__ = ["LabelledFolder", "Renumbered", "read_classes"]


class LabelledFolder(ImageDataset):
    """Every image in `folder` and below, with the label that a text file gives to its name.

    A line of the file is `NAME LABEL`, apart by blanks, a comma or a tab; more after the label is ignored. NAME is the
    file's, with or without folders and suffix: `val.txt` of Caffe and `LOC_val_solution.csv` of Kaggle are of this
    kind. LABEL is the number of the class, or its name; named classes are numbered in sorted order.
    """

    def __init__(self, folder: str | os.PathLike[str], labels: str | os.PathLike[str]) -> None:
        self.files = find_images(folder)
        self._folder = Path(folder)
        given = _read_labels(Path(labels))
        found = [given.get(_stem(file.name)) for file in self.files]
        unlabelled = [file for file, label in zip(self.files, found, strict=True) if label is None]
        if unlabelled:
            raise ImageError(
                f"{labels} has no label for {len(unlabelled)} of {len(found)} images in {folder}, "
                f"the first is {unlabelled[0].name}"
            )
        names = [label for label in found if label is not None]
        if all(name.isdecimal() for name in names):
            self.labels = [int(name) for name in names]
            self.classes = [str(number) for number in range(max(self.labels) + 1)]
        else:
            self.classes = sorted(set(given.values()))
            numbers = {name: number for number, name in enumerate(self.classes)}
            self.labels = [numbers[name] for name in names]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return open_rgb(self.files[index]), self.labels[index]

    def contents(self) -> list[str]:
        return [
            f"{file.relative_to(self._folder)} {label}" for file, label in zip(self.files, self.labels, strict=True)
        ]


class Renumbered(ImageDataset):
    """`data` with its classes, by their names, at their places in `classes`: for a part of the classes of a model."""

    def __init__(self, data: ImageDataset, classes: list[str]) -> None:
        places = {name: place for place, name in enumerate(classes)}
        absent = [name for name in data.classes if name not in places]
        if absent:
            raise ImageError(
                f"{len(absent)} of {len(data.classes)} classes are not in the list of {len(classes)} classes, "
                f"the first is {absent[0]!r}"
            )
        self._data, self._places = data, [places[name] for name in data.classes]
        self.classes, self.size = list(classes), data.size

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        image, label = self._data[index]
        return image, self._places[label]

    def contents(self) -> list[str]:
        return [*map(str, self._places), *self._data.contents()]


def read_classes(path: str | os.PathLike[str]) -> list[str]:
    """Class names in order of their numbers: the first word of each line, as in `LOC_synset_mapping.txt`.

    Raises:
        ImageError: the file is unreadable, empty or names a class twice.
    """
    names = [line.split()[0] for line in _lines(Path(path)) if line.split()]
    if not names or len(set(names)) != len(names):
        twice = next((name for name in names if names.count(name) > 1), None)
        raise ImageError(f"{path}: expected the name of one class a line, found {'none' if not names else twice}")
    return names


def _read_labels(path: Path) -> dict[str, str]:
    """Label by the name of the image, without folders and suffix."""
    rows = [re.split(r"[,\s]+", line.strip()) for line in _lines(path) if line.strip()]
    if rows and all(len(row) == 1 for row in rows):
        raise ImageError(
            f"{path}: expected an image and its label in each line, found one word; the numbers of the devkit's "
            "ground truth are in another order than classes have, use LOC_val_solution.csv or a val.txt instead"
        )
    labels: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        if len(row) < 2:
            raise ImageError(f"{path}, line {number}: expected an image and its label, found {row[0]!r}")
        if labels.setdefault(_stem(row[0]), row[1]) != row[1]:
            raise ImageError(f"{path}, line {number}: {row[0]} has another label before, {labels[_stem(row[0])]}")
    return {name: label for name, label in labels.items() if (name, label) != ("ImageId", "PredictionString")}


def _stem(name: str) -> str:
    return Path(name.replace("\\", "/")).stem


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise ImageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
