"""Time of every kernel that runs on the GPU, as CUPTI reports it.

PyTorch's profiler starts CUPTI, which sees all kernels of the process, those of ONNX Runtime too, also inside CUDA
graphs. What is read is the trace that the profiler writes: its events of category "kernel".
"""

from __future__ import annotations

import json
import re
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ivit_onnx.errors import IvitError

__all__ = ["NoKernelsError", "read_trace", "record", "short_name", "traced"]

WARM_UP = 3

#: Categories of events that are work of the device.
WORK = ("kernel", "gpu_memcpy", "gpu_memset")

Run = Callable[[], object]
Json = Mapping[str, Any]


class NoKernelsError(IvitError):
    """The profiler's trace has no kernel in it."""


def record(start: Callable[[], Run], synchronise: Run, runs: int) -> dict[str, Any]:
    """In a worker: start a session, run it `runs` times under CUPTI, and say what the device did.

    CUPTI starts before the session, since it does not see the kernels of graphs that were recorded without it.
    """
    traced(synchronise)
    run = start()

    def work() -> None:
        for _ in range(runs):
            run()
        synchronise()

    for _ in range(WARM_UP):
        run()
    synchronise()
    return {"runs": runs, **read_trace(traced(work), runs)}


def traced(work: Run) -> list[Json]:
    """The events of the profiler's trace of `work`."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        work()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events: list[Json] = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    return events


def read_trace(events: Sequence[Json], runs: int) -> dict[str, Any]:
    """Kernels by name, the longest first, and the time of a run: from its first kernel's start to its last one's end
    (`run_us`), and the sum of its kernels (`busy_us`). Raises NoKernelsError when there is none."""
    groups: defaultdict[str, list[Json]] = defaultdict(list)
    for event in events:
        if event.get("cat") in WORK:
            groups[event["name"]].append(event)
    if not any(event["cat"] == "kernel" for group in groups.values() for event in group):
        raise NoKernelsError(
            "expected kernels in the profiler's trace, found none: CUPTI is missing, or not allowed to this user"
        )
    everything = [event for group in groups.values() for event in group]
    span = max(event["ts"] + event["dur"] for event in everything) - min(event["ts"] for event in everything)
    busy = sum(event["dur"] for event in everything)
    kernels = [_entry(name, group, runs, busy) for name, group in groups.items()]
    return {
        "run_us": round(span / runs, 2),
        "busy_us": round(busy / runs, 2),
        "kernels": sorted(kernels, key=lambda entry: -entry["total_us"]),
    }


def short_name(name: str) -> str:
    """A kernel's name without return type, parameters and anonymous namespaces; template arguments stay."""
    text = name.replace("(anonymous namespace)::", "").removeprefix("void ")
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter in "<{") - (letter in ">}")
        if letter == "(" and depth == 0 and text[place - 1 : place] != " ":  # "Memset (Device)" has no parameters
            text = text[:place]
            break
    return re.sub(r"\((?:int|bool|unsigned int|long)\)(?=[-\d])", "", text)


def _entry(name: str, group: Sequence[Json], runs: int, busy: float) -> dict[str, Any]:
    """One name: executions in a run, microseconds of one execution and of all in a run, and how it is launched."""
    durations = [float(event["dur"]) for event in group]
    launch = group[0].get("args", {})
    return {
        "name": short_name(name),
        "full_name": name,
        "count": round(len(group) / runs, 2),
        "median_us": round(statistics.median(durations), 2),
        "total_us": round(sum(durations) / runs, 2),
        "share": round(sum(durations) / (busy or 1.0), 4),
        "grid": launch.get("grid"),
        "block": launch.get("block"),
        "registers": launch.get("registers per thread"),
        "shared_bytes": launch.get("shared memory"),
    }
