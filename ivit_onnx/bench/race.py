"""A round robin over contestants, each in a long-lived process of its own; the same on every device.

Only one process computes at a time. Every round gives each contestant one turn, starting with another one than the
round before; a turn begins with uncounted runs, since the others have used the caches meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ivit_onnx.bench.baselines import HINT, Baseline, missing_packages
from ivit_onnx.bench.client import Worker, WorkerError, ask
from ivit_onnx.bench.models import Model
from ivit_onnx.bench.products import Subject, product_path
from ivit_onnx.bench.settings import Settings
from ivit_onnx.errors import IvitError

__all__ = ["Contestant", "Plan", "Say", "export_variants", "our_contestants", "prepared", "race"]

WARM_UP = 2

Say = Callable[[str], None]
#: Starts a contestant's worker, to be closed with the stack.
Start = Callable[["Contestant", ExitStack], Worker]
#: Gives a contestant one turn that begins with so many uncounted runs.
Turn = Callable[["Contestant", Worker, int], None]


@dataclass(frozen=True)
class Plan:
    """How to measure: `rounds` turns of `seconds` and at least `repeat` batches each, `starts` session starts."""

    rounds: int = 5
    seconds: float = 1.0
    repeat: int = 3
    starts: int = 3
    spinning: bool = True


@dataclass
class Contestant:
    """One contestant and what has been measured of it."""

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


def our_contestants(model: Model) -> list[Contestant]:
    """Each way to run our model."""
    return [
        Contestant(
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
    subject: Subject, baselines: Sequence[Baseline], skipped: list[dict[str, str]], say: Say
) -> list[Contestant]:
    """The baselines whose packages are there and whose files could be made; the others are added to `skipped`."""
    contestants = []
    for baseline in baselines:
        missing = missing_packages(baseline.packages)
        if missing:
            reason = f"needs {' and '.join(missing)}: {baseline.hint}"
            skipped.append({"name": baseline.name, "title": baseline.title, "reason": reason})
            continue
        path = product_path(subject, baseline.product)
        contestant = Contestant(
            baseline.name, baseline.title, baseline.runner, path, {}, {}, baseline.config, baseline.hint
        )
        if not path.is_file():
            say(f"{subject.arch.name}: preparing {baseline.title}")
            try:
                ask("make", subject=subject.to_json(), product=baseline.product)
            except WorkerError as error:
                skipped.append(_skipped(contestant, error))
                continue
        contestants.append(contestant)
    return contestants


def race(
    contestants: list[Contestant],
    skipped: list[dict[str, str]],
    start: Start,
    turn: Turn,
    *,
    rounds: int,
    label: str,
    say: Say,
) -> None:
    """Start every contestant, then give turns for so many rounds.

    A baseline that fails moves to `skipped`, with the reason. Raises IvitError when our own model fails.
    """
    with ExitStack() as stack:
        workers = {}
        for contestant in list(contestants):
            say(f"{label}: starting {contestant.title}")
            try:
                workers[contestant.name] = start(contestant, stack)
            except WorkerError as error:
                _give_up(contestant, error, contestants, skipped)
        for number in range(rounds):
            say(f"{label}: round {number + 1} of {rounds}")
            first = number % len(contestants)
            for contestant in contestants[first:] + contestants[:first]:
                try:
                    turn(contestant, workers[contestant.name], WARM_UP if number else 2 * WARM_UP)
                except WorkerError as error:
                    _give_up(contestant, error, contestants, skipped)


def _give_up(
    contestant: Contestant, error: WorkerError, contestants: list[Contestant], skipped: list[dict[str, str]]
) -> None:
    """Go on without a baseline that failed; without our own model there is nothing to measure."""
    if contestant.ours:
        raise IvitError(f"{contestant.title} failed: {error}") from None
    contestants.remove(contestant)
    skipped.append(_skipped(contestant, error))


def _skipped(contestant: Contestant, error: WorkerError) -> dict[str, str]:
    reason = f"needs {error.missing}: {contestant.hint}" if error.missing else f"failed: {error}"
    return {"name": contestant.name, "title": contestant.title, "reason": reason}
