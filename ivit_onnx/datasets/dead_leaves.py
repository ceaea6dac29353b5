"""Drawn images to calibrate with where there are no photographs: dead leaves.

Overlapping ellipses and rectangles of random place, size, tilt, colour, slope and texture, the nearest drawn last. With the
radii r distributed as r^-3, edges, areas and spectrum come near to those of photographs:

* A. B. Lee, D. Mumford, J. Huang. Occlusion models for natural images: a statistical study of a scale-invariant dead
  leaves model. International Journal of Computer Vision 41, 2001.
* M. Baradad, J. Wulff, T. Wang, P. Isola, A. Torralba. Learning to see by looking at noise. NeurIPS 2021.

Brightness, contrast, saturation, number of leaves, sharpness and noise differ from image to image. Every image has a seed
of its own. Pixels follow from uniform random numbers by + - * /, square roots and rounding alone, which IEEE 754 fixes
to the last bit: they are the same on every machine.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from typing import Any, TypeAlias

import numpy as np

__all__ = ["dead_leaves", "draw"]

Array: TypeAlias = np.ndarray[Any, Any]

#: Most leaves in an image, for time.
_MOST = 300
#: Cells along a side of the random grids that make a cloud, from coarse to fine.
_OCTAVES = (3, 6, 12, 24, 48)


@dataclass(frozen=True)
class _Scene:
    """What the leaves of an image have in common. Lengths in parts of the side, colours in 0..1."""

    smallest: float
    largest: float
    cover: float
    light: float
    contrast: float
    saturation: float
    tint: Array
    texture: float
    softness: float


def dead_leaves(size: int, seed: int = 0) -> Iterator[Array]:
    """Images uint8 [3, size, size] without end; the one numbered i is `draw(size, seed + i)`."""
    return (draw(size, number) for number in itertools.count(seed))


def draw(size: int, seed: int) -> Array:
    """One image, uint8 [3, size, size]."""
    random = np.random.default_rng(seed)
    scene = _scene(random)
    clouds, grain = _clouds(random, size), random.random((size, size), np.float32) - np.float32(0.5)
    image = _ground(random, scene, clouds)
    if random.random() < 0.15:
        _object(random, scene, image, clouds, grain)
    else:
        for radius in _radii(random, scene):
            _leaf(random, scene, image, radius, random.random(2) * size, clouds, grain)
    image = _light(random, image)
    for _ in range(int(random.random() * 3)):
        image = _blur(image)
    image += grain * np.float32(_between(random, 0, 0.04))
    pixels: Array = np.rint(np.clip(image, 0, 1) * np.float32(255)).astype(np.uint8)
    return pixels


def _between(random: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(random.random())


def _scene(random: np.random.Generator) -> _Scene:
    smallest = _between(random, 0.015, 0.08)
    return _Scene(
        smallest=smallest,
        largest=_between(random, 0.25, 0.6),
        cover=_between(random, 0.5, 4),
        light=_between(random, 0.2, 0.75),
        contrast=_between(random, 0.1, 0.6),
        saturation=_between(random, 0, 1) ** 2 * 0.6,
        tint=_colour(random) * np.float32(_between(random, 0, 0.3)),
        texture=_between(random, 0, 0.5),
        softness=1 if random.random() < 0.7 else _between(random, 1, 6),
    )


def _colour(random: np.random.Generator) -> Array:
    """Three numbers in -0.5..0.5, float32 [3, 1, 1]."""
    return random.random((3, 1, 1), np.float32) - np.float32(0.5)


def _paint(random: np.random.Generator, scene: _Scene) -> Array:
    """A colour of the scene, float32 [3, 1, 1]."""
    grey = scene.light + scene.contrast * (2 * float(random.random()) - 1)
    return np.float32(grey) + scene.tint + _colour(random) * np.float32(scene.saturation)


def _clouds(random: np.random.Generator, size: int) -> Array:
    """Smooth noise of several sizes, the coarse ones strongest: float32 [size, size] in -1..1."""
    total = np.zeros((size, size), np.float32)
    for cells in _OCTAVES:
        grid = random.random((cells + 1, cells + 1), np.float32) * np.float32(2) - np.float32(1)
        place = np.arange(size, dtype=np.float32) * np.float32(cells / size)
        index = place.astype(np.int64)
        part = place - index.astype(np.float32)
        rows = grid[index] + (grid[index + 1] - grid[index]) * part[:, None]
        total += (rows[:, index] + (rows[:, index + 1] - rows[:, index]) * part) * np.float32(1.5 / cells)
    return total


def _ground(random: np.random.Generator, scene: _Scene, clouds: Array) -> Array:
    """What is behind all leaves, float32 [3, size, size]: a slope between two colours, sometimes nearly white or black."""
    kind = float(random.random())
    if kind < 0.15:
        end = np.float32(0.03 if kind < 0.06 else 0.97)
        return end + _colour(random) * np.float32(0.06) + clouds * np.float32(0.02)
    first, second = _paint(random, scene), _paint(random, scene)
    steps = (np.arange(clouds.shape[0], dtype=np.float32) + np.float32(0.5)) / np.float32(clouds.shape[0])
    slope = steps[:, None] if random.random() < 0.7 else steps[None]
    return first + (second - first) * slope + clouds * np.float32(scene.texture * float(random.random()) ** 2)


def _radii(random: np.random.Generator, scene: _Scene) -> list[float]:
    """Radii with density r^-3 between the scene's limits, until their discs have `cover` times the area of the image."""
    rest = 1 - (scene.smallest / scene.largest) ** 2
    radii, area = [], 0.0
    while area < scene.cover and len(radii) < _MOST:
        radii.append(scene.smallest / sqrt(1 - rest * float(random.random())))
        area += 3.14 * radii[-1] ** 2
    return radii


def _object(random: np.random.Generator, scene: _Scene, image: Array, clouds: Array, grain: Array) -> None:
    """One large leaf near the middle, and a few on it."""
    size = image.shape[1]
    centre = size * (0.35 + 0.3 * random.random(2))
    radius = _between(random, 0.15, 0.4)
    _leaf(random, scene, image, radius, centre, clouds, grain)
    for _ in range(int(random.random() * 8)):
        place = centre + size * radius * (random.random(2) - 0.5)
        _leaf(random, scene, image, radius * _between(random, 0.05, 0.5), place, clouds, grain)


def _leaf(
    random: np.random.Generator, scene: _Scene, image: Array, radius: float, centre: Array, clouds: Array, grain: Array
) -> None:
    """Draw one leaf into the image, within the box around it."""
    size = image.shape[1]
    aspect = _between(random, 0.35, 1)
    long, short = max(radius * size / sqrt(aspect), 0.5), max(radius * size * sqrt(aspect), 0.5)
    across, down = _direction(random)
    is_round = random.random() < 0.6
    if is_round:
        width, height = sqrt((long * across) ** 2 + (short * down) ** 2), sqrt((long * down) ** 2 + (short * across) ** 2)
    else:
        width, height = long * abs(across) + short * abs(down), long * abs(down) + short * abs(across)
    x, y = float(centre[0]), float(centre[1])
    soft = min(scene.softness, short)
    left, right = max(int(x - width - soft), 0), min(int(x + width + soft) + 2, size)
    top, bottom = max(int(y - height - soft), 0), min(int(y + height + soft) + 2, size)
    colour, slope = _paint(random, scene), _colour(random) * np.float32(0.1) + np.float32(_between(random, -0.2, 0.2))
    filling, strength = float(random.random()), np.float32(scene.texture * float(random.random()))
    frequency, shift = np.float32(1 / _between(random, 2.5, 16)), random.random(2)
    if left >= right or top >= bottom:
        return
    dx = np.arange(left, right, dtype=np.float32) - np.float32(x)
    dy = (np.arange(top, bottom, dtype=np.float32) - np.float32(y))[:, None]
    u = dx * np.float32(across) + dy * np.float32(down)
    v = dy * np.float32(across) - dx * np.float32(down)
    if is_round:
        far, near = u * np.float32(1 / long), v * np.float32(1 / short)
        distance = (np.sqrt(far * far + near * near) - np.float32(1)) * np.float32(short)
    else:
        distance = np.maximum(np.abs(u) - np.float32(long), np.abs(v) - np.float32(short))
    cover = np.clip(np.float32(0.5) - distance * np.float32(1 / soft), 0, 1)
    shade = u * np.float32(1 / long)
    box = image[:, top:bottom, left:right]
    paint = colour + slope * shade
    if filling > 0.4:
        paint += _filling(filling, u * frequency, shift, clouds, grain, box.shape[1:]) * strength
    box += cover * (paint - box)


def _filling(kind: float, waves: Array, shift: Array, clouds: Array, grain: Array, shape: tuple[int, ...]) -> Array:
    """Stripes, clouds or grain of the shape of a box, in -1..1."""
    if kind > 0.8:
        return np.abs(waves - np.rint(waves)) * np.float32(4) - np.float32(1)
    field = clouds if kind < 0.65 else grain
    top, left = (int(part * (whole - side + 1)) for part, whole, side in zip(shift, field.shape, shape, strict=True))
    return field[top : top + shape[0], left : left + shape[1]]


def _direction(random: np.random.Generator) -> tuple[float, float]:
    """A unit vector, upright or level half of the time."""
    if random.random() < 0.5:
        return (1.0, 0.0) if random.random() < 0.5 else (0.0, 1.0)
    while True:
        x, y = _between(random, -1, 1), _between(random, -1, 1)
        length = sqrt(x * x + y * y)
        if 0.1 < length < 1:
            return x / length, y / length


def _light(random: np.random.Generator, image: Array) -> Array:
    """Light that falls from one side."""
    steps = np.arange(image.shape[1], dtype=np.float32) * np.float32(1 / image.shape[1]) - np.float32(0.5)
    across, down = np.float32(_between(random, -0.5, 0.5)), np.float32(_between(random, -0.5, 0.5))
    return image * (np.float32(1) + steps * across + (steps * down)[:, None])


def _blur(image: Array) -> Array:
    """Each pixel with its neighbours, 1 2 1 both ways; edges are repeated."""
    for axis in (1, 2):
        padded = np.concatenate([image.take([0], axis), image, image.take([-1], axis)], axis)
        before, after = (slice(None),) * axis + (slice(None, -2),), (slice(None),) * axis + (slice(2, None),)
        image = (padded[before] + padded[after]) * np.float32(0.25) + image * np.float32(0.5)
    return image
