"""An allocation that fails is an error of ONNX Runtime, and the process goes on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz import hostile_models

#: One allocation of so many fails: all of them take a minute.
STEP = 7


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_allocations_may_fail(tmp_path: Path) -> None:
    folder = Path(__file__).parent
    shim = tmp_path / "failing_malloc.so"
    compiler = ["cc", "-O1", "-shared", "-fPIC", "-Wall", "-Werror", "-o", shim, folder / "failing_malloc.c"]
    compiler += ["-Wl,--no-as-needed", "-lstdc++", "-ldl"]  # the operators that the shim goes on to
    subprocess.run(compiler, check=True)
    hostile_models.prepare(tmp_path)
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "LD_PRELOAD": str(shim), "PYTHONPATH": path}
    command = [sys.executable, str(folder / "out_of_memory.py"), str(tmp_path / "vit.onnx"), str(STEP)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    errors = [int(number) for number in re.findall(r": (\d+) errors", done.stdout)]
    assert len(errors) == 2
    assert min(errors) > 10
