"""Implementations of one model, run on the same images and compared bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ivit_onnx.errors import ModelError

__all__ = ["REFERENCE", "Comparison", "Implementation", "compare", "reference_logits"]

Array = np.ndarray[Any, Any]
#: Model inputs [N, 3, H, W] to integer logits [N, classes].
Implementation = Callable[[Array], Array]

#: Batch sizes that every implementation is run with.
BATCHES = (1, 3)
REFERENCE = "function bodies"


@dataclass(frozen=True)
class Comparison:
    """One implementation against the function bodies on one set of images.

    `equal` of `total` images have the same logits, bit for bit; `elements` logits differ; `first` describes the first
    difference (image, class, expected, found).
    """

    implementation: str
    batch: int
    images: str
    equal: int
    total: int
    elements: int = 0
    first: dict[str, int] | None = None


def reference_logits(implementations: Mapping[str, Implementation], inputs: Array) -> Array:
    """The logits [N, classes] of the function bodies, one image at a time."""
    return _in_batches(implementations[REFERENCE], inputs, 1)


def compare(
    implementations: Mapping[str, Implementation],
    inputs: Array,
    expected: Array,
    kind: str,
    stage: Callable[[str], None],
) -> Iterator[Comparison]:
    """Every implementation and batch size against `reference_logits`; `stage` is told what is being done."""
    for name, run in implementations.items():
        for batch in BATCHES:
            if name != REFERENCE or batch != 1:
                stage(f"{name}, {len(inputs)} {kind} images, batch {batch}")
                yield _comparison(name, batch, kind, expected, _in_batches(run, inputs, batch))


def _in_batches(run: Implementation, inputs: Array, batch: int) -> Array:
    """Logits [N, classes] of inputs [N, ..], always `batch` at a time; the last batch is filled up by repetition."""
    outputs: list[Array] = []
    for start in range(0, len(inputs), batch):
        chunk = inputs[start : start + batch]
        filled = np.concatenate([chunk, np.repeat(chunk[-1:], batch - len(chunk), axis=0)])
        outputs.append(run(filled)[: len(chunk)])
    return np.concatenate(outputs)


def _comparison(name: str, batch: int, kind: str, expected: Array, found: Array) -> Comparison:
    if expected.shape != found.shape or not np.issubdtype(found.dtype, np.integer):
        raise ModelError(
            f"expected logits {expected.dtype} {list(expected.shape)} as from the function bodies, "
            f"found {found.dtype} {list(found.shape)} from {name}"
        )
    different = expected.astype(np.int64) != found.astype(np.int64)
    equal = int((~different.any(axis=1)).sum())
    if equal == len(expected):
        return Comparison(name, batch, kind, equal, len(expected))
    image, position = (int(index) for index in np.argwhere(different)[0])
    first = {
        "image": image,
        "class": position,
        "expected": int(expected[image, position]),
        "found": int(found[image, position]),
    }
    return Comparison(name, batch, kind, equal, len(expected), int(different.sum()), first)
