"""Data sets of Hugging Face's `datasets`: from its hub, or from a folder that `save_to_disk` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from ivit_onnx.datasets.base import ImageDataset, Split
from ivit_onnx.errors import ImageError, MissingExtraError

__all__ = ["HuggingFaceDataset"]

_NAMES = {"train": ("train",), "val": ("validation", "val", "test")}


class HuggingFaceDataset(ImageDataset):
    """The first column of images and the first of class labels. `name` is NAME, NAME:CONFIG or a folder."""

    def __init__(self, name: str, split: Split) -> None:
        try:
            import datasets
        except ImportError:
            raise MissingExtraError("hf: needs the package datasets: pip install datasets") from None
        try:
            if (Path(name) / "dataset_dict.json").is_file():
                splits: Any = datasets.load_from_disk(name)
            else:
                path, _, config = name.partition(":")
                splits = datasets.load_dataset(path, config or None)
        except Exception as error:
            raise ImageError(f"cannot load the data set {name!r}: {error}") from None
        found = next((own for own in _NAMES[split] if own in splits), None)
        if found is None:
            raise ImageError(f"expected a split {' or '.join(_NAMES[split])} in {name!r}, found {', '.join(splits)}")
        self._data = splits[found]
        self._image = self._column(datasets.Image, "images")
        self._label = self._column(datasets.ClassLabel, "class labels")
        self.classes = list(self._data.features[self._label].names)

    def _column(self, kind: type, what: str) -> str:
        features = self._data.features
        column: str | None = next((name for name, feature in features.items() if isinstance(feature, kind)), None)
        if column is None:
            raise ImageError(f"expected a column of {what}, found the columns {', '.join(features)}")
        return column

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        row = self._data[int(index)]
        return row[self._image].convert("RGB"), int(row[self._label])
