"""Images of a data set as batches of pixels, read ahead by threads: Pillow works without Python's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image

from ivit_onnx.architectures import Preprocess
from ivit_onnx.datasets import ImageDataset
from ivit_onnx.errors import ImageError
from ivit_onnx.images import read_pixels

__all__ = ["chosen", "load_batches", "pixels_of", "takes_whole"]

Array = np.ndarray[Any, Any]


def chosen(total: int, limit: int | None) -> list[int]:
    """Indices of `limit` evenly spaced images out of `total`; all of them when there are fewer."""
    count = total if limit is None else min(limit, total)
    return [index * total // count for index in range(count)]


def takes_whole(data: ImageDataset, preprocess: Preprocess) -> bool:
    """Whether the images have the model's size, all of them: then they are neither resized nor cropped."""
    return data.size == preprocess.size


def pixels_of(image: Image.Image, preprocess: Preprocess, *, whole: bool) -> Array:
    """uint8 pixels [3, height, width] of an image; `whole`: it has this size."""
    if whole:
        return np.ascontiguousarray(np.asarray(image.convert("RGB"), np.uint8).transpose(2, 0, 1))
    return read_pixels(image, preprocess)


def load_batches(
    data: ImageDataset, preprocess: Preprocess, indices: Sequence[int], batch: int, workers: int
) -> Iterator[tuple[Array, Array]]:
    """Yield uint8 pixels [n, 3, height, width] and labels int64 [n] of the images at `indices`, in order, n <= batch.

    `workers` threads read ahead by two batches at most. Raises ImageError when an image is not readable.
    """
    whole = takes_whole(data, preprocess)

    def load(index: int) -> tuple[Array, int]:
        image, label = data[index]
        try:
            return pixels_of(image, preprocess, whole=whole), label
        except ImageError as error:
            raise ImageError(f"image {index} of the data set: {error}") from None

    ahead: deque[Future[tuple[Array, int]]] = deque()
    remaining = iter(indices)
    executor = ThreadPoolExecutor(workers)
    try:
        ahead.extend(executor.submit(load, index) for index in islice(remaining, 2 * batch))
        while ahead:
            loaded: list[tuple[Array, int]] = []
            while ahead and len(loaded) < batch:
                loaded.append(ahead.popleft().result())
                ahead.extend(executor.submit(load, index) for index in islice(remaining, 1))
            yield np.stack([pixels for pixels, _ in loaded]), np.array([label for _, label in loaded], np.int64)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
