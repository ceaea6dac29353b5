"""Interleaved rounds over candidates, each in a long-lived process of its own; the same on every device.

Only one process computes at a time. Every round measures each candidate once, starting with another one than the
round before; a measurement begins with uncounted runs, since the others have used the caches meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ivit_onnx.bench.baselines import HINT, Baseline, what_is_missing
from ivit_onnx.bench.client import Worker, WorkerError, ask
from ivit_onnx.bench.models import Model
from ivit_onnx.bench.products import Subject, product_path
from ivit_onnx.bench.settings import Settings
from ivit_onnx.errors import IvitError

__all__ = ["Candidate", "Plan", "Say", "export_variants", "our_candidates", "prepared", "run_rounds"]

WARM_UP = 2

Say = Callable[[str], None]
#: Starts a candidate's worker, to be closed with the stack.
Start = Callable[["Candidate", ExitStack], Worker]
#: Measures a candidate in one round, which begins with so many uncounted runs.
TimeRound = Callable[["Candidate", Worker, int], None]


@dataclass(frozen=True)
class Plan:
    """How to measure: `rounds` of `seconds` and at least `repeat` batches each, `starts` session starts."""

    rounds: int = 5
    seconds: float = 1.0
    repeat: int = 3
    starts: int = 3
    spinning: bool = True


@dataclass
class Candidate:
    """One way to run a model, ours or a baseline, and what has been measured of it."""

    name: str
    title: str
    runner: str
    path: Path
    notes: dict[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)
    hint: str = HINT
    ours: bool = False
    starts: list[dict[str, Any]] = field(default_factory=list)
    rounds: list[list[float]] = field(default_factory=list)
    latencies: list[list[float]] = field(default_factory=list)
    memory: dict[str, float] = field(default_factory=dict)


def export_variants(model: Model, say: Say, hint: str = HINT) -> None:
    """Make the files of our model that are not in the cache yet. Raises IvitError when the export fails."""
    for variant in model.variants:
        if variant.product is None or variant.path.is_file():
            continue
        say(f"{model.label}: exporting, {Settings.of(variant.notes)}")
        try:
            ask("make", subject=model.subject.to_json(), product=variant.product)
        except WorkerError as error:
            advice = f": {hint}" if error.missing else ""
            raise IvitError(f"cannot export {model.label}: {error}{advice}") from None


def our_candidates(model: Model) -> list[Candidate]:
    """Each way to run our model."""
    return [
        Candidate(
            variant.name,
            variant.title,
            "ivit",
            variant.path,
            dict(variant.notes),
            variant.environment,
            variant.config,
            ours=True,
        )
        for variant in model.variants
    ]


def prepared(
    subject: Subject, baselines: Sequence[Baseline], batch: int, skipped: list[dict[str, str]], say: Say
) -> list[Candidate]:
    """The baselines whose packages are there and whose files could be made; the others are added to `skipped`."""
    candidates = []
    for baseline in baselines:
        reason = what_is_missing(baseline)
        if reason is not None:
            skipped.append({"name": baseline.name, "title": baseline.title, "reason": reason})
            continue
        product = baseline.product.format(batch=batch)
        path = product_path(subject, product)
        candidate = Candidate(
            baseline.name,
            baseline.title,
            baseline.runner,
            path,
            {},
            baseline.environment,
            baseline.config,
            baseline.hint,
        )
        if not path.is_file():
            say(f"{subject.arch.name}: preparing {baseline.title}")
            try:
                ask("make", subject=subject.to_json(), product=product)
            except WorkerError as error:
                skipped.append(_skipped(candidate, error))
                continue
        candidates.append(candidate)
    return candidates


def run_rounds(
    candidates: list[Candidate],
    skipped: list[dict[str, str]],
    start: Start,
    time_round: TimeRound,
    *,
    rounds: int,
    label: str,
    say: Say,
) -> None:
    """Start every candidate, then measure them in so many interleaved rounds.

    A baseline that fails moves to `skipped`, with the reason. Raises IvitError when our own model fails.
    """
    with ExitStack() as stack:
        workers = {}
        for candidate in list(candidates):
            say(f"{label}: starting {candidate.title}")
            try:
                workers[candidate.name] = start(candidate, stack)
            except WorkerError as error:
                _give_up(candidate, error, candidates, skipped)
        for number in range(rounds):
            say(f"{label}: round {number + 1} of {rounds}")
            first = number % len(candidates)
            for candidate in candidates[first:] + candidates[:first]:
                try:
                    time_round(candidate, workers[candidate.name], WARM_UP if number else 2 * WARM_UP)
                except WorkerError as error:
                    _give_up(candidate, error, candidates, skipped)


def _give_up(
    candidate: Candidate, error: WorkerError, candidates: list[Candidate], skipped: list[dict[str, str]]
) -> None:
    """Go on without a baseline that failed; without our own model there is nothing to measure."""
    if candidate.ours:
        raise IvitError(f"{candidate.title} failed: {error}") from None
    candidates.remove(candidate)
    skipped.append(_skipped(candidate, error))


def _skipped(candidate: Candidate, error: WorkerError) -> dict[str, str]:
    reason = f"needs {error.missing}: {candidate.hint}" if error.missing else f"failed: {error}"
    return {"name": candidate.name, "title": candidate.title, "reason": reason}
