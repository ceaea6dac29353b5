"""Images of a data set as batches of pixels, read ahead by threads: Pillow works without Python's lock."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image

from ivit_onnx.architectures import Preprocess
from ivit_onnx.datasets import ImageDataset
from ivit_onnx.decoding import remarks_of
from ivit_onnx.errors import ImageError
from ivit_onnx.images import read_pixels

__all__ = ["Findings", "chosen", "load_batches", "pixels_of", "takes_whole"]

Array = np.ndarray[Any, Any]


@dataclass
class Findings:
    """What came up while images were read.

    `unreadable`: by index, why an image was left out; `remarks`: the number of images for each of
    `ivit_onnx.decoding.remarks_of`.
    """

    unreadable: dict[int, str] = field(default_factory=dict)
    remarks: Counter[str] = field(default_factory=Counter)

    def notes(self) -> list[str]:
        """A line for each remark."""
        return [f"{count} of the images: {remark}" for remark, count in sorted(self.remarks.items())]


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
    data: ImageDataset,
    preprocess: Preprocess,
    indices: Sequence[int],
    batch: int,
    workers: int,
    findings: Findings | None = None,
) -> Iterator[tuple[Array, Array]]:
    """Yield uint8 pixels [n, 3, height, width] and labels int64 [n] of the images at `indices`, in order, n <= batch.

    `workers` threads read ahead by two batches at most. With `findings`, images that are not readable are left out and
    noted there, before the batch that they would be in is yielded; without, they raise ImageError.
    """
    whole = takes_whole(data, preprocess)

    def load(index: int) -> tuple[Array, int, tuple[str, ...]]:
        image, label = data[index]
        try:
            return pixels_of(image, preprocess, whole=whole), label, remarks_of(image)
        except ImageError as error:
            raise ImageError(f"image {index} of the data set: {error}") from None

    ahead: deque[tuple[int, Future[tuple[Array, int, tuple[str, ...]]]]] = deque()
    remaining = iter(indices)
    executor = ThreadPoolExecutor(workers)

    def read_ahead(count: int) -> None:
        ahead.extend((index, executor.submit(load, index)) for index in islice(remaining, count))

    try:
        read_ahead(2 * batch)
        while ahead:
            loaded: list[tuple[Array, int]] = []
            while ahead and len(loaded) < batch:
                index, future = ahead.popleft()
                read_ahead(1)
                try:
                    pixels, label, remarks = future.result()
                except ImageError as error:
                    if findings is None:
                        raise
                    findings.unreadable[index] = str(error)
                    continue
                loaded.append((pixels, label))
                if findings is not None:
                    findings.remarks.update(remarks)
            if loaded:
                yield np.stack([pixels for pixels, _ in loaded]), np.array([label for _, label in loaded], np.int64)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
