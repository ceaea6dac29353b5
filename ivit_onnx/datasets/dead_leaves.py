"""Drawn images to calibrate with where there are no photographs: dead leaves.

Overlapping ellipses and rectangles of random place, size, tilt, colour, slope and texture, the nearest drawn last. With
radii r of density r^-3, edges, areas and spectrum come near to those of photographs:

* A. B. Lee, D. Mumford, J. Huang. Occlusion models for natural images: a statistical study of a scale-invariant dead
  leaves model. International Journal of Computer Vision 41, 2001.
* M. Baradad, J. Wulff, T. Wang, P. Isola, A. Torralba. Learning to see by looking at noise. NeurIPS 2021.

Brightness, contrast, saturation, number of leaves, sharpness and noise differ from image to image. Each image has a
seed of its own. Pixels follow from uniform random numbers by + - * /, square roots and rounding alone, which IEEE 754
fixes to the last bit: they are the same on every machine.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from math import sqrt
from typing import Any, TypeAlias

import numpy as np

from ivit_onnx.architectures import Size, SizeLike

__all__ = ["dead_leaves", "draw"]

Array: TypeAlias = np.ndarray[Any, Any]

#: Most leaves in an image, for time.
_MOST = 700
#: Cells along a side of the random grids that make clouds, from coarse to fine.
_OCTAVES = (3, 6, 12, 24, 48)


def dead_leaves(size: SizeLike, seed: int = 0) -> Iterator[Array]:
    """Images uint8 [3, height, width] without end; the one numbered i is `draw(size, seed + i)`."""
    return (draw(size, number) for number in itertools.count(seed))


def draw(size: SizeLike, seed: int) -> Array:
    """One image, uint8 [3, height, width]; `size` is the side of a square or (height, width)."""
    scene = _Scene(Size.of(size), seed)
    if scene.random() < 0.15:
        scene.draw_object()
    else:
        scene.draw_leaves()
    image = _lit(scene.image, scene.between(-0.5, 0.5), scene.between(-0.5, 0.5))
    for _ in range(int(scene.between(0, 3))):
        image = _blurred(image)
    image = image + scene.grain * _f(scene.between(0, 0.04))
    pixels: Array = np.rint(np.clip(image, 0, 1) * _f(255)).astype(np.uint8)
    return pixels


#: float32 of a number: it keeps arrays in float32 with every version of numpy.
_f = np.float32


class _Scene:
    """An image float32 [3, height, width] in about 0..1, and what its leaves have in common.

    `side` is that of a square with the image's area. `smallest` and `largest` are radii in parts of it, `cover` the
    area of all leaves in images. A colour is float32 [3, 1, 1]. `clouds` and `grain`, float32 [height, width] in about
    -1..1, are the coarse and fine textures.
    """

    def __init__(self, size: Size, seed: int) -> None:
        self.generator = np.random.default_rng(seed)
        self.size, self.side = size, sqrt(size.area)
        self.smallest, self.largest = self.between(0.006, 0.05), self.between(0.25, 0.6)
        self.cover = self.between(0.5, 4)
        self.light, self.contrast = self.between(0.2, 0.75), self.between(0.1, 0.6)
        self.saturation = 0.6 * self.low()
        self.tint = self.hue() * _f(self.between(0, 0.3))
        self.texture = self.between(0, 0.5)
        self.softness = 1.0 if self.random() < 0.7 else self.between(1, 6)
        self.clouds = self._clouds()
        self.grain = self.generator.random(size, _f) - _f(0.5)
        self.image = self._ground()

    def random(self) -> float:
        """A number in 0..1."""
        return float(self.generator.random())

    def low(self) -> float:
        """A number in 0..1, more often a low one."""
        number = self.random()
        return number * number

    def between(self, low: float, high: float) -> float:
        """A number in low..high."""
        return low + (high - low) * self.random()

    def hue(self) -> Array:
        """Three numbers in -0.5..0.5."""
        return self.generator.random((3, 1, 1), _f) - _f(0.5)

    def colour(self) -> Array:
        """A colour of this scene."""
        grey = self.light + self.contrast * self.between(-1, 1)
        return _f(grey) + self.tint + self.hue() * _f(self.saturation)

    def direction(self) -> tuple[float, float]:
        """A unit vector, level or upright half of the time."""
        if self.random() < 0.5:
            return (1.0, 0.0) if self.random() < 0.5 else (0.0, 1.0)
        while True:
            x, y = self.between(-1, 1), self.between(-1, 1)
            length = sqrt(x * x + y * y)
            if 0.1 < length < 1:
                return x / length, y / length

    def draw_leaves(self) -> None:
        """Leaves everywhere, until the discs of their radii have `cover` times the area of the image."""
        rest = 1 - self.smallest * self.smallest / (self.largest * self.largest)
        area, count = 0.0, 0
        while area < self.cover and count < _MOST:
            radius = self.smallest / sqrt(1 - rest * self.random())
            self.leaf(radius, self.random(), self.random())
            area, count = area + 3.14 * radius * radius, count + 1

    def draw_object(self) -> None:
        """One large leaf near the middle, and a few on it."""
        x, y, radius = self.between(0.35, 0.65), self.between(0.35, 0.65), self.between(0.15, 0.4)
        self.leaf(radius, x, y)
        for _ in range(int(self.between(0, 8))):
            beside, below = radius * self.between(-0.5, 0.5), radius * self.between(-0.5, 0.5)
            self.leaf(radius * self.between(0.05, 0.5), x + beside, y + below)

    def leaf(self, radius: float, x: float, y: float) -> None:
        """Draw a leaf into the box around it: radius in parts of `side`, centre in parts of width and height."""
        aspect = sqrt(self.between(0.35, 1))
        long, short = max(radius * self.side / aspect, 0.5), max(radius * self.side * aspect, 0.5)
        across, down = self.direction()
        soft = min(self.softness, short)
        is_round = self.random() < 0.6
        width, height = _extent(long, short, across, down) if is_round else _extent_of_box(long, short, across, down)
        columns, dx = _span(x, width + soft, self.size.width)
        rows, dy = _span(y, height + soft, self.size.height)
        u = dx * _f(across) + dy[:, None] * _f(down)
        v = dy[:, None] * _f(across) - dx * _f(down)
        along = u * _f(1 / long)
        if is_round:
            beside = v * _f(1 / short)
            outside = (np.sqrt(along * along + beside * beside) - _f(1)) * _f(short)
        else:
            outside = np.maximum(np.abs(u) - _f(long), np.abs(v) - _f(short))
        cover = np.clip(_f(0.5) - outside * _f(1 / soft), 0, 1)
        slope = self.hue() * _f(0.1) + _f(self.between(-0.2, 0.2))
        paint = self.colour() + slope * along
        if self.random() < 0.6:
            paint += self._filling(u, rows, columns) * _f(self.texture * self.random())
        box = self.image[:, rows, columns]
        box += cover * (paint - box)

    def _filling(self, u: Array, rows: slice, columns: slice) -> Array:
        """Stripes, clouds or grain for a box of pixels, in about -1..1."""
        kind = self.random()
        if kind < 0.35:
            waves = u * _f(1 / self.between(2.5, 16))
            stripes: Array = np.abs(waves - np.rint(waves)) * _f(4) - _f(1)
            return stripes
        return (self.clouds if kind < 0.75 else self.grain)[rows, columns]

    def _clouds(self) -> Array:
        """Smooth noise of several sizes, the coarse ones strongest."""
        total = np.zeros(self.size, _f)
        for cells in _OCTAVES:
            grid = self.generator.random((cells + 1, cells + 1), _f) * _f(2) - _f(1)
            row, below = _cells(self.size.height, cells)
            column, beside = _cells(self.size.width, cells)
            rows = grid[row] + (grid[row + 1] - grid[row]) * below[:, None]
            total += (rows[:, column] + (rows[:, column + 1] - rows[:, column]) * beside) * _f(1.5 / cells)
        return total

    def _ground(self) -> Array:
        """What is behind all leaves: a slope between two colours, sometimes nearly white or black."""
        kind = self.random()
        if kind < 0.15:
            plain: Array = _f(0.03 if kind < 0.06 else 0.97) + self.hue() * _f(0.06) + self.clouds * _f(0.02)
            return plain
        first, second = self.colour(), self.colour()
        down, across = (np.arange(side, dtype=_f) * _f(1 / side) for side in self.size)
        part = down[:, None] if self.random() < 0.7 else across[None]
        ground: Array = first + (second - first) * part + self.clouds * _f(self.texture * self.low())
        return ground


def _span(centre: float, reach: float, length: int) -> tuple[slice, Array]:
    """The pixels of an axis that are within `reach` of the centre, and their distances to it."""
    place = centre * length
    first, last = max(int(place - reach), 0), min(int(place + reach) + 2, length)
    return slice(first, last), np.arange(first, last, dtype=_f) - _f(place)


def _cells(length: int, cells: int) -> tuple[Array, Array]:
    """For each pixel of an axis the number of its cell, and where it is inside, in 0..1."""
    place = np.arange(length, dtype=_f) * _f(cells / length)
    index = np.minimum(place.astype(np.int64), cells - 1)
    return index, place - index.astype(_f)


def _extent(long: float, short: float, across: float, down: float) -> tuple[float, float]:
    """Half of width and height of an ellipse with these half axes, the long one in the direction (across, down)."""
    a, b, c, d = long * across, short * down, long * down, short * across
    return sqrt(a * a + b * b), sqrt(c * c + d * d)


def _extent_of_box(long: float, short: float, across: float, down: float) -> tuple[float, float]:
    """The same of a rectangle."""
    return long * abs(across) + short * abs(down), long * abs(down) + short * abs(across)


def _lit(image: Array, across: float, down: float) -> Array:
    """The image in light that falls from one side."""
    rows, columns = (np.arange(side, dtype=_f) * _f(1 / side) - _f(0.5) for side in image.shape[1:])
    light = _f(1) + columns * _f(across) + (rows * _f(down))[:, None]
    lit: Array = image * light
    return lit


def _blurred(image: Array) -> Array:
    """Each pixel with its neighbours, weights 1 2 1 both ways; edges are repeated."""
    for axis in (1, 2):
        padded = np.pad(image, [(int(axis == number),) * 2 for number in range(3)], mode="edge")
        before, after = ((slice(None),) * axis + (part,) for part in (slice(None, -2), slice(2, None)))
        image = (padded[before] + padded[after]) * _f(0.25) + image * _f(0.5)
    return image
