"""The emulator of the GPU: that it shows mistakes of kernels, and tests of kernels that are no operators."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

# The program with the tests; `make test` builds it.
PROGRAM = os.environ.get("IVIT_EMULATOR_TEST", "")

pytestmark = pytest.mark.skipif(
    not Path(PROGRAM).is_file(), reason="IVIT_EMULATOR_TEST names no program: make test builds it"
)


def names() -> list[str]:
    """The tests of the program, if it is there."""
    if not Path(PROGRAM).is_file():
        return []
    return subprocess.run([PROGRAM, "--list"], capture_output=True, text=True, check=True).stdout.split()


def run(name: str, seed: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "IVIT_EMULATOR_SEED": str(seed)}
    return subprocess.run([PROGRAM, name], capture_output=True, text=True, env=environment, timeout=300)


@pytest.mark.parametrize("seed", [1, 1000])
@pytest.mark.parametrize("name", [name for name in names() if not name.startswith("crash_")])
def test_program(name: str, seed: int) -> None:
    result = run(name, seed)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", [name for name in names() if name.startswith("crash_")])
def test_mistakes_that_end_the_process(name: str) -> None:
    # A signal: SIGSEGV for memory behind a buffer, SIGILL for undefined behaviour.
    assert run(name, 1).returncode < 0


def test_unknown_names_are_an_error() -> None:
    assert run("no_such_test", 1).returncode == 1
