"""The images that a report is measured on: labels are not needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ivit_onnx.architectures import Preprocess
from ivit_onnx.datasets import Split, open_dataset
from ivit_onnx.errors import ImageError
from ivit_onnx.evaluation.loading import chosen, pixels_of, takes_whole
from ivit_onnx.images import normalize, read_images

__all__ = ["load_images"]

Array = np.ndarray[Any, Any]


def load_images(
    spec: str, split: Split, preprocess: Preprocess, limit: int, unreadable: list[str] | None = None
) -> Array:
    """Normalised images float32 [N, 3, size, size], N <= limit, evenly spaced.

    With a list for `unreadable`, images that cannot be read are left out, and what is wrong with each is put there.

    `spec` is what `ivit_onnx.datasets.open_dataset` takes, or a folder of images, an image, an .npz or .npy file as
    `ivit_onnx.images.read_images` takes it. Raises ImageError or MissingExtraError as these do.
    """
    path = Path(spec)
    if path.exists() and not _has_folders(path):
        return np.stack(list(read_images(path, preprocess, limit, unreadable)))
    data = open_dataset(spec, split)
    whole = takes_whole(data, preprocess)
    pixels = []
    for index in chosen(len(data), limit):
        try:
            pixels.append(pixels_of(data[index][0], preprocess, whole=whole))
        except ImageError as error:
            if unreadable is None:
                raise
            unreadable.append(str(error))
    if not pixels:
        raise ImageError(f"none of the images of {spec} can be read, the last: {(unreadable or [''])[-1]}")
    return normalize(np.stack(pixels), preprocess)


def _has_folders(path: Path) -> bool:
    return path.is_dir() and any(entry.is_dir() and not entry.name.startswith(".") for entry in path.iterdir())
