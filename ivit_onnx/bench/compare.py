"""A comparison on the CPU: candidates in interleaved rounds, each pinned to the same processors, and what it shows."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from ivit_onnx.bench.baselines import Baseline
from ivit_onnx.bench.client import Worker
from ivit_onnx.bench.machine import choose_cpus
from ivit_onnx.bench.models import Model
from ivit_onnx.bench.products import Subject
from ivit_onnx.bench.rounds import Candidate, Plan, Say, export_variants, our_candidates, prepared, run_rounds
from ivit_onnx.bench.timing import summarise

__all__ = ["Plan", "compare", "export_variants"]

#: Pause between measurements in seconds; threads of ONNX Runtime were seen to spin for 40 ms after their last run.
PAUSE = 0.15


def compare(
    model: Model, baselines: Sequence[Baseline], *, batch: int, threads: int, plan: Plan, peak: float | None, say: Say
) -> dict[str, Any]:
    """Measure a model, beside baselines if any. `peak` is the int8 peak of one core in GMAC/s, None when unknown.

    Returns the case as a JSON object. Raises IvitError when our own model fails; a baseline that fails is listed as
    skipped, with the reason.
    """
    cpus = choose_cpus(threads)
    skipped: list[dict[str, str]] = []
    export_variants(model, say)
    candidates = [*our_candidates(model), *prepared(model.subject, baselines, batch, skipped, say)]

    def start(candidate: Candidate, stack: ExitStack) -> Worker:
        return _start(candidate, model.subject, cpus, batch, threads, plan, stack)

    def time_round(candidate: Candidate, worker: Worker, warmup: int) -> None:
        _time_round(candidate, worker, plan, warmup)

    label = f"{model.label}, batch {batch}, {threads} threads"
    run_rounds(candidates, skipped, start, time_round, rounds=plan.rounds, label=label, say=say)
    arch, macs = model.subject.arch, model.subject.arch.macs()
    ours = summarise(candidates[0].rounds).median_ms
    return {
        "model": model.label,
        "arch": arch.to_json(),
        "weights": "random" if model.subject.checkpoint is None else model.subject.checkpoint.name,
        "tokens": arch.tokens,
        "batch": batch,
        "threads": threads,
        "cpus": cpus,
        "macs_per_image": {**asdict(macs), "total": macs.total},
        "contestants": [_result(candidate, batch, threads, macs.total, ours, peak) for candidate in candidates],
        "skipped": skipped,
    }


def _start(
    candidate: Candidate,
    subject: Subject,
    cpus: Sequence[int],
    batch: int,
    threads: int,
    plan: Plan,
    stack: ExitStack,
) -> Worker:
    """Start the candidate as often as planned, each time in a new process; the last one stays."""
    job = {
        "path": str(candidate.path),
        "arch": subject.arch.to_json(),
        "batch": batch,
        "threads": threads,
        "spinning": plan.spinning,
        "config": dict(candidate.config),
    }
    environment = {"OMP_NUM_THREADS": str(threads), **candidate.environment}
    for number in range(plan.starts):
        worker = Worker(cpus, environment)
        stack.callback(worker.close)
        candidate.starts.append(worker.ask("start", runner=candidate.runner, job=job))
        if number < plan.starts - 1:
            worker.close()
    candidate.notes.update(candidate.starts[-1]["notes"])
    return worker


def _time_round(candidate: Candidate, worker: Worker, plan: Plan, warmup: int) -> None:
    time.sleep(PAUSE)
    reply = worker.ask("round", seconds=plan.seconds, repeat=plan.repeat, warmup=warmup)
    candidate.rounds.append(reply["durations"])
    candidate.memory = reply["memory_mib"]


def _result(
    candidate: Candidate, batch: int, threads: int, macs: int, ours: float, peak: float | None
) -> dict[str, Any]:
    """What is reported of one candidate. Memory is in MiB, beyond what the process had before the session."""
    summary = summarise(candidate.rounds)
    images_per_second = batch / summary.median_ms * 1e3
    gmacs = images_per_second * macs / 1e9
    start = candidate.starts[-1]["memory_mib"]
    memory = {
        "process_before": start["before"],
        "session": start["loaded"] - start["before"],
        "start_peak": start["start_peak"] - start["before"],
        "running": candidate.memory["now"] - start["before"],
        "peak": candidate.memory["peak"] - start["before"],
    }
    return {
        "name": candidate.name,
        "title": candidate.title,
        "notes": candidate.notes,
        **summary.to_json(),
        "ratio": round(summary.median_ms / ours, 4),
        "images_per_second": round(images_per_second, 3),
        "gmacs_per_second": round(gmacs, 2),
        "int8_peak_fraction": None if peak is None else round(gmacs / (peak * threads), 4),
        "start_seconds": round(statistics.median(entry["start_seconds"] for entry in candidate.starts), 4),
        "start_samples": len(candidate.starts),
        "first_run_ms": round(candidate.starts[-1]["first_run_ms"], 3),
        "memory_mib": {key: round(value, 1) for key, value in memory.items()},
    }
