"""Calibration methods: how the range of an 8-bit activation follows from the histogram of its absolute values.

A method is a function of

    counts   int64 [B], how often a value was seen in each of B bins of equal width over [0, limit)
    limit    > 0, in real units
    maximum  the largest absolute value seen, at most `limit`
    levels   how many positive steps the range will have, 127 for int8

and returns the largest absolute value to represent, in real units. docs/accuracy.md has the equations; CONTRIBUTING.md
says how to add one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

__all__ = ["METHODS", "Method", "RangeMethod"]

Counts = np.ndarray[Any, Any]
RangeMethod = Callable[[Counts, float, float, int], float]

#: By name. Commands, the Python interface and the recipes of calibration take their choices from here.
METHODS: dict[str, RangeMethod] = {}

PERCENTILE = 99.99


def method(function: RangeMethod) -> RangeMethod:
    """Add a method under the name of its function."""
    METHODS[function.__name__] = function
    return function


@method
def minmax(counts: Counts, limit: float, maximum: float, levels: int) -> float:
    """The largest value: nothing is clipped."""
    return maximum


@method
def percentile(counts: Counts, limit: float, maximum: float, levels: int) -> float:
    """The range of 99.99 % of the values."""
    cumulative = np.cumsum(counts) / counts.sum()
    index = int(np.searchsorted(cumulative, PERCENTILE / 100))
    return min(maximum, limit * (index + 1) / len(counts))


@method
def mse(counts: Counts, limit: float, maximum: float, levels: int) -> float:
    """The range with the least expected squared error of rounding and clipping."""
    centers = (np.arange(len(counts)) + 0.5) * (limit / len(counts))
    candidates = maximum * np.linspace(0.2, 1.0, 161)
    steps = candidates[:, None] / levels
    rounding = np.minimum(steps**2 / 12, centers**2)
    clipping = np.maximum(centers - candidates[:, None], 0.0) ** 2
    error = (np.where(centers > candidates[:, None], clipping, rounding) * counts).sum(1)
    return float(candidates[int(np.argmin(error))])


@method
def entropy(counts: Counts, limit: float, maximum: float, levels: int) -> float:
    """The range whose quantised distribution is nearest to the clipped one (Migacz, 2017).

    The distance is the Kullback-Leibler divergence of the histogram, clipped values counted in its last bin, from
    the same with the counts of each step spread evenly over its non-empty bins.
    """
    bins = len(counts)
    counts = counts.astype(np.float64)
    used = min(bins, int(np.ceil(maximum / limit * bins)))
    best, best_divergence = maximum, np.inf
    for edge in np.unique(np.linspace(min(levels, used), used, 128).astype(int)):
        inside = counts[:edge]
        p = inside.copy()
        p[-1] += counts[edge:].sum()
        step = np.arange(edge) * levels // edge
        filled = inside > 0
        totals = np.bincount(step, inside, levels)
        width = np.bincount(step, filled, levels)
        q = np.where(filled, (totals / np.maximum(width, 1))[step], 0.0)
        both = (p > 0) & (q > 0)
        missing = p[(p > 0) & ~both].sum() / p.sum()
        p, q = p / p.sum(), q / max(q.sum(), 1.0)
        # Clipped values that fall on an empty bin have no counterpart: they are as bad as one in a million.
        divergence = float((p[both] * np.log(p[both] / q[both])).sum()) + missing * np.log(1e6)
        if divergence < best_divergence:
            best, best_divergence = min(maximum, limit * float(edge) / bins), divergence
    return best


# The choices are those that are registered above; type checkers cannot count them.
if TYPE_CHECKING:
    Method = str
else:
    Method = Literal[tuple(METHODS)]
