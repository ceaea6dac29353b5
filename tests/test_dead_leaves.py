"""Drawn calibration images: the same everywhere, of every size, and as varied as photographs."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivit_onnx.datasets.dead_leaves import dead_leaves, draw


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 97), seed=st.integers(0, 2**63))
def test_every_size_and_seed_gives_an_image(size: int, seed: int) -> None:
    image = draw(size, seed)
    assert image.dtype == np.uint8
    assert image.shape == (3, size, size)
    assert np.array_equal(image, draw(size, seed))


@pytest.mark.parametrize(
    ("size", "digest"),
    [(32, "918428372031c547"), (37, "80a23a43bdb88f08"), (224, "1c51d1e0a5c25f9c")],
)
def test_pixels_are_the_same_everywhere(size: int, digest: str) -> None:
    """No function with a rounding of its own, no order of summation: one hash for all machines."""
    pixels = np.stack(list(itertools.islice(dead_leaves(size), 8)))
    assert hashlib.sha256(pixels.tobytes()).hexdigest()[:16] == digest


def test_images_are_numbered_by_seed() -> None:
    drawn = dead_leaves(40, seed=5)
    for seed in (5, 6, 7):
        assert np.array_equal(next(drawn), draw(40, seed))


def test_images_vary_as_photographs_do() -> None:
    images = np.stack([draw(64, seed) for seed in range(128)]).astype(np.float32) / 255
    light, contrast = images.mean((1, 2, 3)), images.std((1, 2, 3))
    assert light.min() < 0.2 < 0.8 < light.max()
    assert 0.4 < light.mean() < 0.6
    assert contrast.min() < 0.12 < 0.3 < contrast.max()
    colour = (images.max(1) - images.min(1)).mean((1, 2))
    assert colour.min() < 0.05 < 0.3 < colour.max()
    detail = np.abs(np.diff(images, axis=3)).mean((1, 2, 3))
    assert detail.max() > 8 * detail.min()


def test_neighbours_are_alike_as_in_photographs() -> None:
    """The correlation of pixels falls slowly with their distance."""
    near, far = [], []
    for seed in range(64):
        grey = draw(96, seed).astype(np.float64).mean(0)
        grey -= grey.mean()
        near.append((grey[:, 1:] * grey[:, :-1]).mean() / grey.var())
        far.append((grey[:, 24:] * grey[:, :-24]).mean() / grey.var())
    assert np.mean(near) > 0.85
    assert 0 < np.mean(far) < 0.6
