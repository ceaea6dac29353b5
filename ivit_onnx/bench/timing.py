"""What a list of durations says."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Summary", "summarise", "time_round"]


@dataclass(frozen=True)
class Summary:
    """Durations in milliseconds: over all rounds, and the median of each round."""

    samples: int
    median_ms: float
    min_ms: float
    p99_ms: float
    round_medians_ms: list[float]

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


def summarise(rounds: Sequence[Sequence[float]]) -> Summary:
    """Median, minimum and 99th percentile over all rounds, of durations in seconds."""
    pooled = np.concatenate([np.asarray(durations, np.float64) for durations in rounds]) * 1e3
    return Summary(
        samples=len(pooled),
        median_ms=_rounded(np.median(pooled)),
        min_ms=_rounded(pooled.min()),
        p99_ms=_rounded(np.percentile(pooled, 99)),
        round_medians_ms=[_rounded(np.median(durations) * 1e3) for durations in rounds],
    )


def time_round(run: Callable[[], object], *, seconds: float, repeat: int, warmup: int) -> list[float]:
    """Durations in seconds of calls of `run`, after `warmup` uncounted ones: `repeat` at least, for `seconds`."""
    for _ in range(warmup):
        run()
    durations: list[float] = []
    begin = before = time.perf_counter()
    while len(durations) < repeat or before - begin < seconds:
        run()
        after = time.perf_counter()
        durations.append(after - before)
        before = after
    return durations


def _rounded(milliseconds: Any) -> float:
    """To a tenth of a microsecond: less is noise."""
    return round(float(milliseconds), 4)
