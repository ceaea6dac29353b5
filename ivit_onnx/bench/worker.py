"""The worker process: pins itself, then answers one JSON request a line until its input ends.

It computes only between a request and its answer. Whatever libraries print goes to standard error.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ivit_onnx.errors import IvitError
from ivit_onnx.files import is_file

__all__ = ["main"]


class _Worker:
    """The state between requests: the model that was started."""

    def __init__(self) -> None:
        self.run: Callable[[], object] | None = None
        self.held_mib = 0.0  # of the GPU's memory

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to one request, by its `do`; the other keys are arguments."""
        arguments = dict(request)
        method = getattr(self, f"do_{arguments.pop('do')}")
        reply: dict[str, Any] = method(**arguments)
        return reply

    def do_make(self, subject: dict[str, Any], product: str) -> dict[str, Any]:
        from ivit_onnx.bench.products import Subject, make

        return {"path": str(make(Subject.from_json(subject), product))}

    def do_start(self, runner: str, job: dict[str, Any]) -> dict[str, Any]:
        """Start a session: seconds, memory in MiB before and after, milliseconds of the first batch."""
        from ivit_onnx.bench.job import Job
        from ivit_onnx.bench.machine import memory, reset_peak
        from ivit_onnx.bench.runners import RUNNERS

        work = Job.from_json(job)
        start = RUNNERS[runner](work)
        _read_once(Path(work.path))
        gc.collect()
        gc.disable()
        before = memory()["now"]
        reset_peak()
        begin = time.perf_counter()
        self.run = start()
        started = time.perf_counter()
        loaded = memory()
        self.run()
        first = time.perf_counter()
        return {
            "start_seconds": started - begin,
            "first_run_ms": (first - started) * 1e3,
            "memory_mib": {"before": before, "loaded": loaded["now"], "start_peak": loaded["peak"]},
            "notes": work.notes,
        }

    def do_round(self, **options: Any) -> dict[str, Any]:
        from ivit_onnx.bench.machine import memory
        from ivit_onnx.bench.timing import time_round

        assert self.run is not None
        durations = time_round(self.run, **options)
        return {"durations": durations, "memory_mib": memory()}

    def do_peak(self, seconds: float) -> dict[str, Any]:
        from ivit_onnx.bench.machine import cpu_variant, cpu_variants, int8_peak

        variants = cpu_variants()
        return {"variants": variants, "active": cpu_variant(), "peaks": int8_peak(variants, seconds)}

    def do_kernels(self, **options: Any) -> dict[str, Any]:
        from ivit_onnx.bench.kernels import time_kernels

        return {"kernels": [asdict(timing) for timing in time_kernels(**options)]}

    def do_profile(self, job: dict[str, Any], runs: int) -> dict[str, Any]:
        from ivit_onnx.bench.job import Job
        from ivit_onnx.bench.profile import record

        return record(Job.from_json(job), runs)

    def do_cuda_device(self, peak: bool) -> dict[str, Any]:
        """The GPU, and its int8 peak if wanted."""
        from ivit_onnx.bench.cuda import device

        device.require()
        return {"device": device.describe(), "int8_peak": device.int8_peak() if peak else None}

    def do_cuda_start(self, runner: str, job: dict[str, Any]) -> dict[str, Any]:
        """Start a session on the GPU: seconds, memory of the GPU in MiB that it holds, milliseconds of a batch."""
        from ivit_onnx.bench.cuda.device import synchronise, used_mib
        from ivit_onnx.bench.cuda.runners import CUDA_RUNNERS
        from ivit_onnx.bench.job import Job

        work = Job.from_json(job)
        synchronise()  # makes the context, which every candidate needs
        start = CUDA_RUNNERS[runner](work)
        _read_once(Path(work.path))
        gc.collect()
        gc.disable()
        before = used_mib()
        begin = time.perf_counter()
        self.run = start()
        synchronise()
        started = time.perf_counter()
        self.held_mib = used_mib() - before
        begin_first = time.perf_counter()
        self.run()
        synchronise()
        first = time.perf_counter()
        return {
            "start_seconds": started - begin,
            "first_run_ms": (first - begin_first) * 1e3,
            "held_mib": self.held_mib,
            "notes": work.notes,
        }

    def do_cuda_round(self, **options: Any) -> dict[str, Any]:
        from ivit_onnx.bench.cuda.device import synchronise, used_mib
        from ivit_onnx.bench.cuda.timing import time_round

        assert self.run is not None
        before = used_mib()
        durations, latencies = time_round(self.run, synchronise, **options)
        self.held_mib += used_mib() - before
        return {"durations": durations, "latencies": latencies, "held_mib": self.held_mib}

    def do_cuda_profile(self, job: dict[str, Any], runs: int) -> dict[str, Any]:
        from ivit_onnx.bench.cuda.device import synchronise
        from ivit_onnx.bench.cuda.kernels import NoKernelsError, record
        from ivit_onnx.bench.cuda.runners import start_ivit
        from ivit_onnx.bench.job import Job

        synchronise()
        work = Job.from_json(job)
        try:
            return {**record(start_ivit(work), synchronise, runs), "notes": work.notes}
        except NoKernelsError:  # some versions of CUPTI do not look into graphs
            work = Job.from_json({**job, "config": {"graphs": "off"}})
            return {**record(start_ivit(work), synchronise, runs), "notes": work.notes}


def main() -> int:
    """Serve until standard input ends. The one argument is the list of processors to pin to, empty for all."""
    if sys.argv[1]:
        os.sched_setaffinity(0, [int(cpu) for cpu in sys.argv[1].split(",")])
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = _Worker()
    for line in sys.stdin:
        try:
            reply = {"reply": worker.answer(json.loads(line))}
        except IvitError as error:
            reply = {"error": {"kind": "ivit", "message": str(error)}}
        except ModuleNotFoundError as error:
            reply = {"error": {"kind": "missing", "message": str(error.name)}}
        except Exception as error:  # a runtime may fail in any way of its own; the parent decides what that means
            message = " ".join(str(error).split())
            reply = {"error": {"kind": "other", "message": f"{type(error).__name__}: {message}"}}
        print(json.dumps(reply), file=replies, flush=True)
    return 0


def _read_once(path: Path) -> None:
    """Bring the model and its companion into the system's file cache, so that a start is not a test of the disk."""
    for file in (path, Path(f"{path}.data"), path.with_suffix(".bin")):
        if is_file(file):
            with file.open("rb") as stream:
                while stream.read(1 << 20):
                    pass


if __name__ == "__main__":
    sys.exit(main())
