"""A round robin over contestants, each in a long-lived process of its own, and what it shows.

Only one process computes at a time. Every round gives each contestant one turn, starting with another one than the
round before; a turn begins with uncounted runs, since the others have used the caches meanwhile.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ivit_onnx.bench.client import Worker, WorkerError, ask
from ivit_onnx.bench.contestants import HINT, Peer, missing_packages
from ivit_onnx.bench.machine import choose_cpus
from ivit_onnx.bench.macs import count_macs
from ivit_onnx.bench.models import Model
from ivit_onnx.bench.products import Subject, product_path
from ivit_onnx.bench.timing import summarise
from ivit_onnx.errors import IvitError

__all__ = ["Plan", "compare", "export_variants"]

#: Pause between turns in seconds; threads of ONNX Runtime were seen to spin for 40 ms after their last run.
PAUSE = 0.15
WARM_UP = 2

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How to measure: `rounds` turns of `seconds` and at least `repeat` batches each, `starts` session starts."""

    rounds: int = 5
    seconds: float = 1.0
    repeat: int = 3
    starts: int = 3
    spinning: bool = True


@dataclass
class _Contestant:
    """One contestant and what has been measured of it."""

    name: str
    title: str
    runner: str
    path: Path
    notes: dict[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)
    ours: bool = False
    starts: list[dict[str, Any]] = field(default_factory=list)
    rounds: list[list[float]] = field(default_factory=list)
    memory: dict[str, float] = field(default_factory=dict)


def compare(
    model: Model, peers: Sequence[Peer], *, batch: int, threads: int, plan: Plan, peak: float | None, say: Say
) -> dict[str, Any]:
    """Measure a model, beside peers if any. `peak` is the int8 peak of one core in GMAC/s, None when unknown.

    Returns the case as a JSON object. Raises IvitError when our own model fails; a peer that fails is listed as
    skipped, with the reason.
    """
    cpus = choose_cpus(threads)
    skipped: list[dict[str, str]] = []
    export_variants(model, say)
    contestants = [*_ours(model), *_prepared(model.subject, peers, skipped, say)]
    with ExitStack() as stack:
        workers = {}
        for contestant in list(contestants):
            say(f"{model.label}, batch {batch}, {threads} threads: starting {contestant.title}")
            try:
                workers[contestant.name] = _start(contestant, model.subject, cpus, batch, threads, plan, stack)
            except WorkerError as error:
                if contestant.ours:
                    raise IvitError(f"{contestant.title} failed: {error}") from None
                contestants.remove(contestant)
                skipped.append(_skipped(contestant.name, contestant.title, error))
        for number in range(plan.rounds):
            say(f"{model.label}, batch {batch}, {threads} threads: round {number + 1} of {plan.rounds}")
            first = number % len(contestants)
            for contestant in contestants[first:] + contestants[:first]:
                _take_turn(contestant, workers[contestant.name], plan, warmup=WARM_UP if number else 2 * WARM_UP)
    arch, macs = model.subject.arch, count_macs(model.subject.arch)
    ours = summarise(contestants[0].rounds).median_ms
    return {
        "model": model.label,
        "arch": arch.to_json(),
        "weights": "random" if model.subject.checkpoint is None else model.subject.checkpoint.name,
        "tokens": arch.tokens,
        "batch": batch,
        "threads": threads,
        "cpus": cpus,
        "macs_per_image": {**asdict(macs), "total": macs.total},
        "contestants": [_result(contestant, batch, threads, macs.total, ours, peak) for contestant in contestants],
        "skipped": skipped,
    }


def export_variants(model: Model, say: Say) -> None:
    """Make the files of our model that are not in the cache yet. Raises IvitError when the export fails."""
    for variant in model.variants:
        if variant.product is None or variant.path.is_file():
            continue
        say(f"{model.label}: exporting with {variant.notes['softmax_bits']} softmax bits")
        try:
            ask("make", subject=model.subject.to_json(), product=variant.product)
        except WorkerError as error:
            hint = f": {HINT}" if error.missing else ""
            raise IvitError(f"cannot export {model.label}: {error}{hint}") from None


def _ours(model: Model) -> list[_Contestant]:
    return [
        _Contestant(
            variant.name, variant.title, "ivit", variant.path, dict(variant.notes), variant.environment, ours=True
        )
        for variant in model.variants
    ]


def _prepared(subject: Subject, peers: Sequence[Peer], skipped: list[dict[str, str]], say: Say) -> list[_Contestant]:
    """The peers whose packages are there and whose files could be made."""
    contestants = []
    for peer in peers:
        missing = missing_packages(peer.packages)
        if missing:
            reason = f"needs {' and '.join(missing)}: {HINT}"
            skipped.append({"name": peer.name, "title": peer.title, "reason": reason})
            continue
        path = product_path(subject, peer.product)
        if not path.is_file():
            say(f"{subject.arch.name}: preparing {peer.title}")
            try:
                ask("make", subject=subject.to_json(), product=peer.product)
            except WorkerError as error:
                skipped.append(_skipped(peer.name, peer.title, error))
                continue
        contestants.append(_Contestant(peer.name, peer.title, peer.runner, path, {}, {}, peer.config))
    return contestants


def _start(
    contestant: _Contestant,
    subject: Subject,
    cpus: Sequence[int],
    batch: int,
    threads: int,
    plan: Plan,
    stack: ExitStack,
) -> Worker:
    """Start the contestant as often as planned, each time in a new process; the last one stays."""
    job = {
        "path": str(contestant.path),
        "arch": subject.arch.to_json(),
        "batch": batch,
        "threads": threads,
        "spinning": plan.spinning,
        "config": dict(contestant.config),
    }
    environment = {"OMP_NUM_THREADS": str(threads), **contestant.environment}
    for number in range(plan.starts):
        worker = Worker(cpus, environment)
        stack.callback(worker.close)
        contestant.starts.append(worker.ask("start", runner=contestant.runner, job=job))
        if number < plan.starts - 1:
            worker.close()
    contestant.notes.update(contestant.starts[-1]["notes"])
    return worker


def _take_turn(contestant: _Contestant, worker: Worker, plan: Plan, warmup: int) -> None:
    time.sleep(PAUSE)
    try:
        reply = worker.ask("turn", seconds=plan.seconds, repeat=plan.repeat, warmup=warmup)
    except WorkerError as error:
        raise IvitError(f"{contestant.title} failed while it was measured: {error}") from None
    contestant.rounds.append(reply["durations"])
    contestant.memory = reply["memory_mib"]


def _result(
    contestant: _Contestant, batch: int, threads: int, macs: int, ours: float, peak: float | None
) -> dict[str, Any]:
    """What is reported of one contestant. Memory is in MiB, beyond what the process had before the session."""
    summary = summarise(contestant.rounds)
    images_per_second = batch / summary.median_ms * 1e3
    gmacs = images_per_second * macs / 1e9
    start = contestant.starts[-1]["memory_mib"]
    memory = {
        "process_before": start["before"],
        "session": start["loaded"] - start["before"],
        "start_peak": start["start_peak"] - start["before"],
        "running": contestant.memory["now"] - start["before"],
        "peak": contestant.memory["peak"] - start["before"],
    }
    return {
        "name": contestant.name,
        "title": contestant.title,
        "notes": contestant.notes,
        **summary.to_json(),
        "ratio": round(summary.median_ms / ours, 4),
        "images_per_second": round(images_per_second, 3),
        "gmacs_per_second": round(gmacs, 2),
        "int8_peak_fraction": None if peak is None else round(gmacs / (peak * threads), 4),
        "start_seconds": round(statistics.median(entry["start_seconds"] for entry in contestant.starts), 4),
        "start_samples": len(contestant.starts),
        "first_run_ms": round(contestant.starts[-1]["first_run_ms"], 3),
        "memory_mib": {key: round(value, 1) for key, value in memory.items()},
    }


def _skipped(name: str, title: str, error: WorkerError) -> dict[str, str]:
    reason = f"needs {error.missing}: {HINT}" if error.missing else f"failed: {error}"
    return {"name": name, "title": title, "reason": reason}
