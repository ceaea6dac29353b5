"""Data sets of Hugging Face's `datasets`: from its hub, or from a folder that `save_to_disk` wrote."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from PIL import Image

from ivit_onnx.budgets import CLASSES
from ivit_onnx.datasets.dataset import ImageDataset, Split
from ivit_onnx.datasets.order import natural_key
from ivit_onnx.decoding import decode_rgb, open_rgb, to_rgb
from ivit_onnx.errors import ImageError, MissingExtraError

__all__ = ["HuggingFaceDataset"]

_NAMES = {"train": ("train",), "val": ("validation", "val", "test")}


class HuggingFaceDataset(ImageDataset):
    """A column of images and one of class labels.

    `name` is NAME, NAME:CONFIG or a folder: one that `save_to_disk` wrote, or one with parquet or image files as
    `load_dataset` takes it. The columns are, unless named, the first of images and the first of class labels. A named
    column of labels may hold plain numbers.
    """

    def __init__(
        self, name: str, split: Split, image_column: str | None = None, label_column: str | None = None
    ) -> None:
        try:
            import datasets
        except ImportError:
            raise MissingExtraError("hf: needs the package datasets: pip install 'ivit-onnx[eval]'") from None
        self._data = _load(name, split)
        self._image = self._column(datasets.Image, "images", image_column)
        self._fingerprint = str(self._data._fingerprint)
        if isinstance(self._data.features[self._image], datasets.Image):
            # Files as they are: the library would decode formats that start other programs.
            self._data = self._data.cast_column(self._image, datasets.Image(decode=False))
        self._label = self._column(datasets.ClassLabel, "class labels", label_column)
        self.classes = self._names()
        if self.classes == sorted(self.classes) != sorted(self.classes, key=natural_key):
            self.order_note = (
                f"the data set numbers its classes in the order of text ({', '.join(self.classes[:3])}, ...), timm in "
                "natural order; --classes names them in the model's order"
            )

    def _column(self, kind: type, what: str, name: str | None) -> str:
        features = self._data.features
        if name is not None and name in features:
            return name
        column: str | None = next((own for own, feature in features.items() if isinstance(feature, kind)), None)
        if name is not None or column is None:
            wanted = f"a column of {what}" if name is None else f"the column {name!r} of {what}"
            raise ImageError(f"expected {wanted}, found the columns {', '.join(features)}")
        return column

    def _names(self) -> list[str]:
        """Names of the classes; numbers where the column of labels has no names."""
        feature = self._data.features[self._label]
        if hasattr(feature, "names"):
            return list(feature.names)
        labels = self._data[self._label][:] if len(self._data) else []
        if not labels or not all(isinstance(label, int) and label >= 0 for label in labels):
            raise ImageError(f"expected class labels or numbers from 0 in the column {self._label!r}, found {feature}")
        CLASSES.check(max(labels) + 1, f"the column {self._label!r}", ImageError)
        return [str(number) for number in range(max(labels) + 1)]

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        try:
            row = self._data[int(index)]
            return _decoded(row[self._image]), int(row[self._label])
        except Exception as error:  # decoders raise many types on damaged images
            reason = " ".join(str(error).split())
            raise ImageError(f"cannot read image {index} of the data set: {reason}") from None

    def contents(self, unread: Collection[int] = ()) -> list[str]:
        return [self._fingerprint, self._image, self._label]


def _decoded(found: Any) -> Image.Image:
    """The image of a column: an encoded file, in the set or beside it, or what the library made of it."""
    if not isinstance(found, dict):
        return to_rgb(found)
    return open_rgb(found["path"]) if found["bytes"] is None else decode_rgb(found["bytes"])


def _load(name: str, split: Split) -> Any:
    import datasets

    folder = Path(name)
    try:
        if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
            splits: Any = datasets.load_from_disk(name)
        elif folder.is_dir():
            splits = datasets.load_dataset(name)
        else:
            path, _, config = name.partition(":")
            splits = datasets.load_dataset(path, config or None)
    except Exception as error:
        raise ImageError(f"cannot load the data set {name!r}: {' '.join(str(error).split())}") from None
    if isinstance(splits, datasets.Dataset):  # saved alone
        return splits
    found = next((own for own in _NAMES[split] if own in splits), None)
    if found is None:
        raise ImageError(f"expected a split {' or '.join(_NAMES[split])} in {name!r}, found {', '.join(splits)}")
    return splits[found]
