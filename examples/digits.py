"""The demo's data: scikit-learn's handwritten digits as 32x32 colour images, split into training and test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

CHECKPOINT = Path(__file__).with_name("digits_vit.pt")
IMAGE_SIZE = 32
TEST_COUNT = 360
#: Mean and standard deviation of the training split's pixels, on the scale 0..1; the three channels are equal.
MEAN, STD = (0.306, 0.306, 0.306), (0.324, 0.324, 0.324)
#: Arguments of timm's VisionTransformer.
MODEL: dict[str, Any] = {
    "img_size": IMAGE_SIZE,
    "patch_size": 4,
    "embed_dim": 64,
    "depth": 3,
    "num_heads": 4,
    "num_classes": 10,
}


@dataclass(frozen=True)
class Digits:
    """uint8 images [N, 3, 32, 32] and int64 labels [N] of both splits."""

    train_images: Array
    train_labels: Array
    test_images: Array
    test_labels: Array


def load() -> Digits:
    """1437 training and 360 test images, stratified by digit with a fixed seed."""
    from PIL import Image
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    size = (IMAGE_SIZE, IMAGE_SIZE)
    grey = np.stack([np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)) for image in pixels])
    images = np.repeat(grey[:, None], 3, axis=1)
    train, test, train_labels, test_labels = train_test_split(
        images, digits.target.astype(np.int64), test_size=TEST_COUNT, random_state=0, stratify=digits.target
    )
    return Digits(train, train_labels, test, test_labels)


def normalise(images: Any) -> Any:
    """The float model's input: (pixel / 255 - mean) / std of a uint8 torch tensor [N, 3, H, W]."""
    import torch

    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (images.float() / 255 - mean) / std


def accuracy(logits: Array, labels: Array) -> float:
    """Share of the rows whose largest logit is at the label."""
    return float((logits.argmax(1) == labels).mean())
