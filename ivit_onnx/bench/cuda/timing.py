"""Timing of work that a device does after the call that enqueued it has returned."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["GROUP", "fastest", "time_round"]

#: Batches enqueued one after another between two waits for the device.
GROUP = 10

Run = Callable[[], object]
Clock = Callable[[], float]


def time_round(
    run: Run,
    synchronise: Run,
    *,
    seconds: float,
    repeat: int,
    warmup: int,
    group: int = GROUP,
    clock: Clock = time.perf_counter,
) -> tuple[list[float], list[float]]:
    """Seconds a batch, measured in two ways that alternate, after `warmup` uncounted runs.

    First of groups: `group` runs are enqueued, then the device is waited for, and the time is divided by `group`. This
    is the throughput of a stream of batches. Second of single runs with a wait after each: the latency of a batch.
    There are `repeat` of each at least, and as many as `seconds` hold.
    """
    for _ in range(warmup):
        run()
    synchronise()
    grouped: list[float] = []
    single: list[float] = []
    begin = before = clock()
    while len(grouped) < repeat or before - begin < seconds:
        for _ in range(group):
            run()
        synchronise()
        between = clock()
        run()
        synchronise()
        after = clock()
        grouped.append((between - before) / group)
        single.append(after - between)
        before = after
    return grouped, single


def fastest(run: Run, synchronise: Run, *, runs: int, rounds: int, clock: Clock = time.perf_counter) -> float:
    """Seconds of one run, in the fastest of `rounds` groups of `runs`, after one uncounted group."""
    best = float("inf")
    for number in range(rounds + 1):
        synchronise()
        begin = clock()
        for _ in range(runs):
            run()
        synchronise()
        if number > 0:
            best = min(best, (clock() - begin) / runs)
    return best
