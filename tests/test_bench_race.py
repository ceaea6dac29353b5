"""Rounds of measurements, and failures among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ivit_onnx.bench import race
from ivit_onnx.bench.client import WorkerError
from ivit_onnx.bench.race import Contestant
from ivit_onnx.errors import IvitError


class Turns:
    """Contestants whose turns fail in a given round."""

    def __init__(self, failing: dict[str, int]) -> None:
        self.failing, self.order = failing, []

    def start(self, contestant: Contestant, stack: Any) -> Any:
        if self.failing.get(contestant.name) == 0:
            raise WorkerError("does not start")
        return contestant.name

    def turn(self, contestant: Contestant, started: Any, warmup: int) -> None:
        assert started == contestant.name
        contestant.rounds.append([1.0])
        self.order.append((contestant.name, warmup))
        if self.failing.get(contestant.name) == len(contestant.rounds):
            raise WorkerError("out of memory")


def entrants() -> list[Contestant]:
    return [Contestant(name, name.upper(), "r", Path(name), {}, ours=name == "ivit") for name in ("ivit", "a", "b")]


def test_turns_rotate() -> None:
    turns = Turns({})
    race.race(entrants(), [], turns.start, turns.turn, rounds=2, label="m", say=lambda text: None)
    assert turns.order == [("ivit", 4), ("a", 4), ("b", 4), ("a", 2), ("b", 2), ("ivit", 2)]


@pytest.mark.parametrize("when", [0, 1, 2])
def test_a_peer_that_fails_is_skipped(when: int) -> None:
    turns = Turns({"a": when})
    field, skipped = entrants(), []
    race.race(field, skipped, turns.start, turns.turn, rounds=3, label="m", say=lambda text: None)
    assert [contestant.name for contestant in field] == ["ivit", "b"]
    assert skipped == [
        {"name": "a", "title": "A", "reason": f"failed: {'out of memory' if when else 'does not start'}"}
    ]
    assert all(len(contestant.rounds) == 3 for contestant in field)


@pytest.mark.parametrize("when", [0, 2])
def test_our_own_failure_ends_the_race(when: int) -> None:
    turns = Turns({"ivit": when})
    with pytest.raises(IvitError, match="IVIT failed: "):
        race.race(entrants(), [], turns.start, turns.turn, rounds=3, label="m", say=lambda text: None)
