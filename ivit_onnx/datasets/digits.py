"""scikit-learn's handwritten digits, 8x8 grey levels, enlarged to 32x32 colour images."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ivit_onnx.datasets.dataset import ArrayDataset, Split
from ivit_onnx.errors import MissingExtraError

__all__ = ["digits"]

SIZE = 32
VAL_IMAGES = 360


def digits(split: Split) -> ArrayDataset:
    """1437 images to train, 360 to evaluate: the tail of PyTorch's random permutation of seed 0.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    pixels, labels = _all()
    order = _permutation(len(pixels))
    part = order[:-VAL_IMAGES] if split == "train" else order[-VAL_IMAGES:]
    return ArrayDataset(pixels[part], labels[part], [str(digit) for digit in range(10)])


@lru_cache(maxsize=1)
def _all() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingExtraError("the digits come with scikit-learn: pip install scikit-learn") from None
    data = load_digits()
    grey = np.einsum("ij,njk,lk->nil", _enlarge(8), data.images / 16.0, _enlarge(8))
    pixels = np.rint(grey * 255).astype(np.uint8)
    return np.repeat(pixels[..., None], 3, axis=3), data.target.astype(np.int64)


def _enlarge(side: int) -> np.ndarray[Any, Any]:
    """Weights [SIZE, side] of bilinear interpolation between the centres of pixels."""
    centres = np.clip((np.arange(SIZE) + 0.5) * side / SIZE - 0.5, 0, side - 1)
    weights: np.ndarray[Any, Any] = np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(side)))
    return weights


def _permutation(count: int) -> np.ndarray[Any, Any]:
    """torch.randperm(count) of seed 0, without torch: a Fisher-Yates shuffle by the raw numbers of MT19937."""
    raw = np.random.RandomState(0).randint(0, 2**32, size=count - 1, dtype=np.uint32).tolist()
    order = list(range(count))
    for place, number in enumerate(raw):
        other = place + number % (count - place)
        order[place], order[other] = order[other], order[place]
    return np.array(order)
