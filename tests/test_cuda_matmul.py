"""The matrix product of the GPU part by itself, on the emulator: every tile, whatever the shape."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


@pytest.mark.parametrize("seed", [1, 2])
def test_every_tile_equals_plain_loops(seed: int) -> None:
    library = os.environ.get("IVIT_EMULATED_LIBRARY", "")
    program = Path(library).with_name("matmul_test")
    if not library or not program.is_file():
        pytest.skip("IVIT_EMULATED_LIBRARY names no library beside a program matmul_test: make emulator builds both")
    environment = {**os.environ, "IVIT_EMULATOR_SEED": str(seed)}
    result = subprocess.run([program], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
