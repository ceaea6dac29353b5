"""Drawn images in 24 classes: eight outlines, each with three fillings, on cluttered grounds.

Place, size, tilt, colours, ground, clutter and noise are random. The numbers come from one seed per image, so that any
image can be drawn without the others.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from ivit_onnx.datasets.dataset import ArrayDataset, Split

__all__ = ["FILLINGS", "OUTLINES", "SIZE", "generated"]

Array: TypeAlias = np.ndarray[Any, Any]

SIZE = 64
IMAGES = {"train": 9600, "val": 2400}
_FIRST_SEED = {"train": 0, "val": 10_000_000}


def _polygon(u: Array, v: Array, corners: int, inner: float) -> Array:
    """The distance to the sides of a star of corners at 1 and dents at `inner`; below 0 inside."""
    angle = np.abs((np.arctan2(v, u) * corners / (2 * np.pi)) % 1.0 - 0.5) * (2 * np.pi / corners)
    radius = np.hypot(u, v)
    # The straight line from the corner, at angle pi / corners, to the middle of the side, at angle 0.
    half = np.pi / corners
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    along, across = np.cos(half) - inner, np.sin(half)
    distance: Array = ((x - inner) * across - y * along) / np.hypot(along, across)
    return distance


#: Outlines as functions of u, v: below 0 inside, in about [-1, 1].
OUTLINES: dict[str, Callable[[Array, Array], Array]] = {
    "disc": lambda u, v: np.hypot(u, v) - 0.8,
    "square": lambda u, v: np.maximum(np.abs(u), np.abs(v)) - 0.7,
    "triangle": lambda u, v: _polygon(u, v, 3, 0.5),
    "pentagon": lambda u, v: _polygon(u, v, 5, 0.81),
    "star": lambda u, v: _polygon(u, v, 5, 0.42),
    "cross": lambda u, v: np.minimum(np.maximum(np.abs(u), 3 * np.abs(v)), np.maximum(3 * np.abs(u), np.abs(v))) - 0.85,
    "ring": lambda u, v: np.abs(np.hypot(u, v) - 0.62) - 0.22,
    "crescent": lambda u, v: np.maximum(np.hypot(u, v) - 0.85, 0.65 - np.hypot(u - 0.4, v)),
}

#: Fillings as functions of place in pixels: above 0 in the first colour, below in the second.
FILLINGS: dict[str, Callable[[Array, Array], Array]] = {
    "plain": lambda x, y: np.ones_like(x),
    "stripes": lambda x, y: np.sin(2 * np.pi * x / 5.0),
    "checks": lambda x, y: np.sin(2 * np.pi * x / 6.5) * np.sin(2 * np.pi * y / 6.5),
}


def generated(split: Split) -> ArrayDataset:
    """9600 images to train, 2400 to evaluate; classes in turn."""
    return ArrayDataset(*_draw_all(split), classes=_classes())


def _classes() -> list[str]:
    return [f"{filling} {outline}" for outline in OUTLINES for filling in FILLINGS]


@lru_cache(maxsize=2)
def _draw_all(split: Split) -> tuple[Array, Array]:
    labels = np.arange(IMAGES[split], dtype=np.int64) % len(_classes())
    pixels = np.stack([draw(int(label), _FIRST_SEED[split] + index) for index, label in enumerate(labels)])
    return pixels, labels


def draw(label: int, seed: int) -> Array:
    """One image of a class, uint8 [64, 64, 3]."""
    random = np.random.default_rng(seed)
    outline = list(OUTLINES.values())[label // len(FILLINGS)]
    filling = list(FILLINGS.values())[label % len(FILLINGS)]
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64)
    image = _ground(random, x, y)
    for _ in range(random.integers(2, 6)):
        image = _clutter(random, image, x, y)
    radius = random.uniform(18, 27)
    centre = SIZE / 2 + random.uniform(-4, 4, 2)
    u, v = _turn(x - centre[0], y - centre[1], random.normal(0, 0.25))
    inside = np.clip(0.5 - outline(u / radius, v / radius) * radius, 0, 1)
    s, t = _turn(x, y, random.normal(0, 0.25))
    shift = random.uniform(0, 6.5, 2)
    first = np.clip(0.5 + 1.5 * filling(s + shift[0], t + shift[1]), 0, 1)
    light, dark = random.uniform(0.6, 1.0, 3), random.uniform(0.0, 0.4, 3)
    painted = first[..., None] * light + (1 - first[..., None]) * dark
    image = image * (1 - inside[..., None]) + painted * inside[..., None]
    image = image + random.normal(0, random.uniform(0.02, 0.12), image.shape)
    pixels: Array = np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
    return pixels


def _turn(x: Array, y: Array, angle: float) -> tuple[Array, Array]:
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _ground(random: np.random.Generator, x: Array, y: Array) -> Array:
    """A slope between two darker colours, with a faint wave."""
    colours = random.uniform(0, 0.5, (2, 3))
    s, t = _turn(x / SIZE - 0.5, y / SIZE - 0.5, random.uniform(0, 2 * np.pi))
    slope = np.clip(0.5 + s, 0, 1)[..., None]
    wave = 0.05 * np.sin(2 * np.pi * t * random.uniform(1, 8))[..., None]
    ground: Array = slope * colours[0] + (1 - slope) * colours[1] + wave
    return ground


def _clutter(random: np.random.Generator, image: Array, x: Array, y: Array) -> Array:
    """A half-transparent blot or bar, of no class."""
    centre, angle = random.uniform(0, SIZE, 2), random.uniform(0, np.pi)
    u, v = _turn(x - centre[0], y - centre[1], angle)
    long, short = random.uniform(4, 30), random.uniform(1, 5)
    cover = np.clip(1.5 - np.hypot(u / long, v / short), 0, 1)[..., None] * random.uniform(0.3, 0.8)
    covered: Array = image * (1 - cover) + random.uniform(0, 0.8, 3) * cover
    return covered
