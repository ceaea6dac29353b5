"""Rows of 8-bit values that functions take whole."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from drawing import Array, integers

__all__ = ["row_values"]

#: Rows and channels, with more and longer rows than a tile, a warp or a block has.
_ROWS = ((5, 192), (9, 768), (3, 3072), (2, 5120), (4, 8192), (3, 8208), (7, 1001))


def row_values(rng: np.random.Generator) -> Iterator[Array]:
    """[rows, channels] int8: any values, and such whose row maximum is low."""
    for shape in _ROWS:
        yield integers(rng, shape, np.int8, False)
        yield (rng.integers(-40, 20, shape) - 80).astype(np.int8)
