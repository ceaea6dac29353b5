"""Rounds of measurements, and failures among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ivit_onnx.bench.client import WorkerError
from ivit_onnx.bench.rounds import Candidate, run_rounds
from ivit_onnx.errors import IvitError


class Workers:
    """Workers that fail in a given round."""

    def __init__(self, failing: dict[str, int]) -> None:
        self.failing, self.order = failing, []

    def start(self, candidate: Candidate, stack: Any) -> Any:
        if self.failing.get(candidate.name) == 0:
            raise WorkerError("does not start")
        return candidate.name

    def time_round(self, candidate: Candidate, started: Any, warmup: int) -> None:
        assert started == candidate.name
        candidate.rounds.append([1.0])
        self.order.append((candidate.name, warmup))
        if self.failing.get(candidate.name) == len(candidate.rounds):
            raise WorkerError("out of memory")


def candidates() -> list[Candidate]:
    return [Candidate(name, name.upper(), "r", Path(name), {}, ours=name == "ivit") for name in ("ivit", "a", "b")]


def test_the_order_rotates() -> None:
    workers = Workers({})
    run_rounds(candidates(), [], workers.start, workers.time_round, rounds=2, label="m", say=lambda text: None)
    assert workers.order == [("ivit", 4), ("a", 4), ("b", 4), ("a", 2), ("b", 2), ("ivit", 2)]


@pytest.mark.parametrize("when", [0, 1, 2])
def test_a_baseline_that_fails_is_skipped(when: int) -> None:
    workers = Workers({"a": when})
    field, skipped = candidates(), []
    run_rounds(field, skipped, workers.start, workers.time_round, rounds=3, label="m", say=lambda text: None)
    assert [candidate.name for candidate in field] == ["ivit", "b"]
    assert skipped == [
        {"name": "a", "title": "A", "reason": f"failed: {'out of memory' if when else 'does not start'}"}
    ]
    assert all(len(candidate.rounds) == 3 for candidate in field)


@pytest.mark.parametrize("when", [0, 2])
def test_our_own_failure_ends_the_comparison(when: int) -> None:
    workers = Workers({"ivit": when})
    with pytest.raises(IvitError, match="IVIT failed: "):
        run_rounds(candidates(), [], workers.start, workers.time_round, rounds=3, label="m", say=lambda text: None)
