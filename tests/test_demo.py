"""The demo's data and its committed checkpoint; `make demo` itself runs the rest."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the [export] extra")
pytest.importorskip("sklearn", reason="needs scikit-learn")

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

import digits  # noqa: E402


@pytest.fixture(scope="module")
def split() -> digits.Digits:
    return digits.load()


def test_split(split: digits.Digits) -> None:
    assert split.train_images.shape == (1437, 3, 32, 32)
    assert split.test_images.shape == (360, 3, 32, 32)
    assert split.train_images.dtype == split.test_images.dtype == np.uint8
    # Stratified: every digit has its share of the test images.
    assert set(np.bincount(split.test_labels, minlength=10)) <= {34, 35, 36, 37}
    # The same every time, whatever the state of numpy's generator.
    np.random.seed(1)
    again = digits.load()
    assert (again.test_images == split.test_images).all()
    assert (again.test_labels == split.test_labels).all()


def test_images_are_grey_and_use_the_whole_range(split: digits.Digits) -> None:
    assert (split.test_images[:, 0] == split.test_images[:, 2]).all()
    assert split.train_images.min() == 0
    assert split.train_images.max() == 255


def test_mean_and_std_are_those_of_the_training_split(split: digits.Digits) -> None:
    scaled = split.train_images / 255
    assert scaled.mean() == pytest.approx(digits.MEAN[0], abs=1e-3)
    assert scaled.std() == pytest.approx(digits.STD[0], abs=1e-3)


def test_checkpoint_is_small_safe_and_accurate(split: digits.Digits) -> None:
    from timm.models.vision_transformer import VisionTransformer

    assert digits.CHECKPOINT.stat().st_size < 1_000_000
    model = VisionTransformer(**digits.MODEL)
    model.load_state_dict(torch.load(digits.CHECKPOINT, weights_only=True))
    with torch.inference_mode():
        logits = model.eval()(digits.normalise(torch.from_numpy(split.test_images))).numpy()
    assert digits.accuracy(logits, split.test_labels) >= 0.98
