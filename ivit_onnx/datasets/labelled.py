"""Images in one folder with a file of their labels, and classes in the order of a list."""

from __future__ import annotations

import csv
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from PIL import Image

from ivit_onnx.budgets import CLASSES
from ivit_onnx.class_names import read_class_names
from ivit_onnx.datasets.dataset import ImageDataset, listed
from ivit_onnx.datasets.order import ClassOrder, order_classes
from ivit_onnx.decoding import find_images, open_rgb
from ivit_onnx.errors import ImageError, IvitError
from ivit_onnx.files import read_text

__all__ = ["LabelledFolder", "Renumbered", "read_classes"]

#: What a column of images is called, in lower case.
_HEADERS = frozenset(
    {"imageid", "image_id", "id", "image", "images", "img", "file", "filename", "file_name", "name", "path"}
)


class LabelledFolder(ImageDataset):
    """Every image in `folder` and below, with the label that a text file gives to its name.

    A line of the file is `NAME LABEL`, apart by blanks, a comma or a tab; more behind the label is ignored. NAME
    is the file's, with or without folders and suffix: `val.txt` of Caffe and `LOC_val_solution.csv` of Kaggle are
    of this kind. LABEL is the number of the class, or its name; named classes are numbered in `order`.
    """

    def __init__(
        self, folder: str | os.PathLike[str], labels: str | os.PathLike[str], order: ClassOrder = "natural"
    ) -> None:
        self.files = find_images(folder)
        self._folder = Path(folder)
        given, self.notes = _read_labels(Path(labels), {file.stem for file in self.files})
        found = [given.get(_stem(file.name)) for file in self.files]
        unlabelled = [file for file, label in zip(self.files, found, strict=True) if label is None]
        if unlabelled:
            raise ImageError(
                f"{labels} has no label for {len(unlabelled)} of {len(found)} images in {folder}, "
                f"the first is {unlabelled[0].name}"
            )
        names = [label for label in found if label is not None]
        if all(name.isdecimal() for name in names):
            self.labels = [_class_number(name, labels) for name in names]
            self.classes = [str(number) for number in range(max(self.labels) + 1)]
        else:
            self.classes, self.order_note = order_classes(set(given.values()), order)
            numbers = {name: number for number, name in enumerate(self.classes)}
            self.labels = [numbers[name] for name in names]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return open_rgb(self.files[index]), self.labels[index]

    def contents(self, unread: Collection[int] = ()) -> list[str]:
        names = listed(self._folder, self.files, unread)
        return [f"{name} {label}" for name, label in zip(names, self.labels, strict=True)]


class Renumbered(ImageDataset):
    """`data` with its classes, by their names, at their places in `classes`: for a part of the classes of a model.

    `notes`: what was assumed about `classes`.
    """

    def __init__(self, data: ImageDataset, classes: list[str], notes: Sequence[str] = ()) -> None:
        places = {name: place for place, name in enumerate(classes)}
        absent = [name for name in data.classes if name not in places]
        if absent:
            raise ImageError(
                f"{len(absent)} of {len(data.classes)} classes are not in the list of {len(classes)} classes, "
                f"the first is {absent[0]!r}"
            )
        self._data, self._places = data, [places[name] for name in data.classes]
        self.classes, self.size, self.notes = list(classes), data.size, [*data.notes, *notes]

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        image, label = self._data[index]
        return image, self._places[label]

    def contents(self, unread: Collection[int] = ()) -> list[str]:
        return [*map(str, self._places), *self._data.contents(unread)]


def read_classes(path: str | os.PathLike[str], wanted: Sequence[str]) -> tuple[list[str], list[str]]:
    """Class names in order of their numbers, and notes on what was assumed. The file is one of `read_class_names`.

    Of a class that has several names, the one by which all classes in `wanted` are found: the first word, as in
    `LOC_synset_mapping.txt`, else the first or the last name.

    Raises:
        ImageError: the file is unreadable, empty or names a class twice.
    """
    try:
        rows, note = read_class_names(path)
    except IvitError as error:
        raise ImageError(str(error)) from None
    lists = [[(row[0].split() or [""])[0] for row in rows], [row[0] for row in rows], [row[-1] for row in rows]]
    unique = [names for names in lists if len(set(names)) == len(names)]
    if not unique:
        twice = next(name for name in lists[0] if lists[0].count(name) > 1)
        raise ImageError(f"{path}: expected every class once, found {twice} twice")
    names = next((names for names in unique if set(wanted) <= set(names)), unique[0])
    return names, [] if note is None else [note]


def _read_labels(path: Path, stems: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """Label by the name of the image, without folders and suffix, and notes on what was assumed.

    A first line that names none of the images in `stems` and looks like a header is left out.
    """
    try:
        text, note = read_text(path)
    except (OSError, ValueError) as error:
        raise ImageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    rows = [(number, _cells(line.strip())) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if rows and all(len(row) == 1 for _, row in rows):
        raise ImageError(
            f"{path}: expected an image and its label in each line, found one word; the numbers of the devkit's "
            "ground truth are in another order than classes have, use LOC_val_solution.csv or a val.txt instead"
        )
    if rows and rows[0][1][0].lower() in _HEADERS and _stem(rows[0][1][0]) not in stems:
        rows = rows[1:]
    labels: dict[str, str] = {}
    for number, row in rows:
        if len(row) < 2:
            raise ImageError(f"{path}, line {number}: expected an image and its label, found {row[0]!r}")
        if labels.setdefault(_stem(row[0]), row[1]) != row[1]:
            raise ImageError(f"{path}, line {number}: {row[0]} has another label before, {labels[_stem(row[0])]}")
    return labels, [] if note is None else [note]


def _cells(line: str) -> list[str]:
    """The cells of a line of CSV or TSV; without a comma or a tab the words."""
    delimiter = "\t" if "\t" in line else ","
    if delimiter not in line:
        return line.split()
    cells = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
    # Kaggle's labels have boxes behind them: the synset and four numbers, for each object.
    words = cells[1].split()
    boxes = len(words) > 1 and len(words) % 5 == 0 and all(word.isdecimal() for word in words[1:5])
    return [cells[0], words[0]] if boxes else [cell for cell in cells[:2] if cell]


def _class_number(text: str, labels: str | os.PathLike[str]) -> int:
    """The number of a class. A list of all classes up to the largest is made from them."""
    number = int(text) if len(text) < 19 else 10**18
    CLASSES.check(number + 1, labels, ImageError)
    return number


def _stem(name: str) -> str:
    return Path(name.replace("\\", "/")).stem
