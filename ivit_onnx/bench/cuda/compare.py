"""A comparison on the GPU: candidates in interleaved rounds, and what it shows."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from ivit_onnx.bench.baselines import CUDA_HINT, Baseline
from ivit_onnx.bench.client import Worker
from ivit_onnx.bench.models import Model
from ivit_onnx.bench.rounds import Candidate, Plan, Say, export_variants, our_candidates, prepared, run_rounds
from ivit_onnx.bench.timing import summarise

__all__ = ["compare_on_cuda", "job_of", "result_of"]


def compare_on_cuda(
    model: Model, baselines: Sequence[Baseline], *, batch: int, plan: Plan, peak: float | None, say: Say
) -> dict[str, Any]:
    """Measure a model, beside baselines if any. `peak` is the device's int8 peak in GMAC/s, None when unknown.

    Returns the case as a JSON object. Raises IvitError when our own model fails; a baseline that fails is listed as
    skipped, with the reason.
    """
    skipped: list[dict[str, str]] = []
    export_variants(model, say, CUDA_HINT)
    candidates = [*our_candidates(model), *prepared(model.subject, baselines, batch, skipped, say)]

    def start(candidate: Candidate, stack: ExitStack) -> Worker:
        return _start(candidate, job_of(candidate, model, batch), plan, stack)

    def time_round(candidate: Candidate, worker: Worker, warmup: int) -> None:
        reply = worker.ask("cuda_round", seconds=plan.seconds, repeat=plan.repeat, warmup=warmup)
        candidate.rounds.append(reply["durations"])
        candidate.latencies.append(reply["latencies"])
        candidate.memory = {"held": reply["held_mib"]}

    run_rounds(
        candidates, skipped, start, time_round, rounds=plan.rounds, label=f"{model.label}, batch {batch}", say=say
    )
    arch, macs = model.subject.arch, model.subject.arch.macs()
    ours = summarise(candidates[0].rounds).median_ms
    return {
        "model": model.label,
        "arch": arch.to_json(),
        "weights": "random" if model.subject.checkpoint is None else model.subject.checkpoint.name,
        "tokens": arch.tokens,
        "batch": batch,
        "macs_per_image": {**asdict(macs), "total": macs.total},
        "contestants": [result_of(candidate, batch, macs.total, ours, peak) for candidate in candidates],
        "skipped": skipped,
    }


def job_of(candidate: Candidate, model: Model, batch: int) -> dict[str, Any]:
    """What a worker is told to run."""
    return {
        "path": str(candidate.path),
        "arch": model.subject.arch.to_json(),
        "batch": batch,
        "threads": 1,
        "config": dict(candidate.config),
    }


def result_of(candidate: Candidate, batch: int, macs: int, ours: float, peak: float | None) -> dict[str, Any]:
    """What is reported of one candidate.

    Times are of batches in a stream, `latency` of single ones. Memory is that of the device in MiB, beyond what an
    empty CUDA context takes: after the start, and after all rounds, which is the peak since pools do not shrink.
    """
    summary, latency = summarise(candidate.rounds), summarise(candidate.latencies)
    images_per_second = batch / summary.median_ms * 1e3
    gmacs = images_per_second * macs / 1e9
    last = candidate.starts[-1]
    return {
        "name": candidate.name,
        "title": candidate.title,
        "notes": candidate.notes,
        **summary.to_json(),
        "latency": {"median_ms": latency.median_ms, "min_ms": latency.min_ms, "p99_ms": latency.p99_ms},
        "ratio": round(summary.median_ms / ours, 4),
        "images_per_second": round(images_per_second, 3),
        "gmacs_per_second": round(gmacs, 2),
        "int8_peak_fraction": None if peak is None else round(gmacs / peak, 4),
        "start_seconds": round(statistics.median(entry["start_seconds"] for entry in candidate.starts), 4),
        "start_samples": len(candidate.starts),
        "first_run_ms": round(last["first_run_ms"], 3),
        "memory_mib": {
            "session": round(last["held_mib"], 1),
            "peak": round(candidate.memory["held"], 1),
        },
    }


def _start(candidate: Candidate, job: dict[str, Any], plan: Plan, stack: ExitStack) -> Worker:
    """Start the candidate as often as planned, each time in a new process; the last one stays."""
    for number in range(plan.starts):
        worker = Worker((), candidate.environment)
        stack.callback(worker.close)
        candidate.starts.append(worker.ask("cuda_start", runner=candidate.runner, job=job))
        if number < plan.starts - 1:
            worker.close()
    candidate.notes.update(candidate.starts[-1]["notes"])
    return worker
