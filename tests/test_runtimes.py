"""The oldest supported ONNX Runtime gives the integers of the installed one, with and without the library."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ivit_onnx
from ivit_onnx.api import export
from networks import images, pixels, save_checkpoint, timm_network

OLDEST = "1.23.2"
CACHE = Path(__file__).parents[1] / ".cache" / f"onnxruntime-{OLDEST}"

#: Runs in a process of its own: imports the onnxruntime that PYTHONPATH names, writes its logits.
SCRIPT = """
import sys
import numpy as np
import onnxruntime
model, library, threads, image, output, version = sys.argv[1:]
assert onnxruntime.__version__ == version, onnxruntime.__version__
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(threads)
if library:
    options.register_custom_ops_library(library)
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
np.save(output, session.run(None, {"image": np.load(image)})[0])
"""


@pytest.fixture(scope="module")
def oldest() -> Path:
    """A folder with the oldest supported onnxruntime, installed once beside the environment's own."""
    if not (CACHE / "onnxruntime").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(CACHE)]
        done = subprocess.run([*command, f"onnxruntime=={OLDEST}"], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"onnxruntime {OLDEST} cannot be installed here: {done.stderr.strip().splitlines()[-1:]}")
    return CACHE


def test_the_oldest_runtime_gives_the_same_integers(oldest: Path, tmp_path: Path) -> None:
    checkpoint = save_checkpoint(timm_network(distilled=True), tmp_path / "model.pt")
    expected: dict[int, np.ndarray] = {}
    for flat in (False, True):
        export(checkpoint, tmp_path / f"{flat}.onnx", calib=images(8), num_heads=3, flat=flat)
    for batch in (1, 3, 8):
        np.save(tmp_path / f"{batch}.npy", pixels(batch, seed=batch))
        session = ivit_onnx.create_session(str(tmp_path / "False.onnx"))
        (expected[batch],) = session.run(None, {"image": pixels(batch, seed=batch)})
    environment = {**os.environ, "PYTHONPATH": str(oldest)}
    combinations = [*itertools.product((False, True), ("", ivit_onnx.library_path()), (1, 2), (3,))]
    combinations += [(False, ivit_onnx.library_path(), 2, batch) for batch in (1, 8)]
    for flat, library, threads, batch in combinations:
        output = tmp_path / "found.npy"
        arguments = [tmp_path / f"{flat}.onnx", library, threads, tmp_path / f"{batch}.npy", output, OLDEST]
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        np.testing.assert_array_equal(np.load(output), expected[batch], err_msg=str(arguments))
