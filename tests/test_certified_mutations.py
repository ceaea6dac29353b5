"""Models that a reader could take for something else than what runs are refused, and the random search would see them.

The search (fuzz/certified_mutations.py) judges a file by the checks of `ivit-verify`, and then by ONNX Runtime and the
exact interpreter. Here the second half is shown each kind as if the checks had passed it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from fuzz import certified_mutations
from fuzz.certified_mutations import BrokenPromiseError
from ivit_onnx.errors import IvitError
from ivit_onnx.float_audit import audit
from ivit_onnx.model_files import load_graph
from ivit_onnx.verification import prove_file
from misread import FLOATS, MISREAD

#: Sets of inputs that are tried on one model.
_TRIES = 60
#: First and last of the cases that are searched here: exports of two kinds, operators, plain graphs.
_SEEDS = range(28)


def test_search_finds_nothing(tmp_path: Path) -> None:
    """A few cases of the search, each of which follows from its seed."""
    results = Counter(certified_mutations.check(seed, tmp_path).partition(" @ ")[0] for seed in _SEEDS)
    assert sum(count for result, count in results.items() if result.endswith("equal")) >= len(_SEEDS) // 6, results


@pytest.fixture
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The file of one kind, by its name."""
    file = tmp_path / "model.onnx"
    onnx.save({**MISREAD, **FLOATS}[request.param](), file)
    return file


def refused(path: Path, *, prove: bool) -> bool:
    """Whether the checks of `ivit-verify` do not pass a file."""
    try:
        return bool(audit(load_graph(path)).findings) or (prove and not prove_file(path).report.proven)
    except IvitError:
        return True


@pytest.mark.parametrize("path", MISREAD, indirect=True)
def test_not_proven(path: Path) -> None:
    assert refused(path, prove=True)


@pytest.mark.parametrize("path", FLOATS, indirect=True)
def test_not_called_integer_only(path: Path) -> None:
    assert refused(path, prove=False)


def search(path: Path, *, proven: bool) -> None:
    """What the random search does with a file that the checks have passed."""
    rng = np.random.default_rng(0)
    sessions = certified_mutations.loaded(path, rng)
    assert sessions
    for _ in range(_TRIES):
        certified_mutations.run(sessions, onnx.load(path), rng, proven=proven)


@pytest.mark.parametrize("path", MISREAD, indirect=True)
def test_seen_where_it_leaves_its_type(path: Path) -> None:
    with pytest.raises(BrokenPromiseError):
        search(path, proven=True)


@pytest.mark.parametrize("path", FLOATS, indirect=True)
def test_seen_where_it_is_no_integer(path: Path) -> None:
    with pytest.raises(BrokenPromiseError):
        search(path, proven=False)
