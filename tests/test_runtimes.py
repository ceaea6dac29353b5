"""The oldest supported ONNX Runtime gives the integers of the installed one, with and without the library."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import ivit_onnx
from ivit_onnx.api import export
from ivit_onnx.options.choices import NONLINEAR, Nonlinear
from networks import images, pixels, save_checkpoint, timm_network

OLDEST = "1.23.2"
#: The last one that the library refuses.
TOO_OLD = "1.22.1"
CACHE = Path(__file__).parents[1] / ".cache"

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

#: The same, compiled by the provider.
PROVIDER_SCRIPT = """
import sys
import numpy as np
import onnxruntime
model, library, threads, image, output, version = sys.argv[1:]
assert onnxruntime.__version__ == version, onnxruntime.__version__
onnxruntime.register_execution_provider_library("ivit", library)
devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == "IVitExecutionProvider"]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(threads)
options.add_provider_for_devices(devices[:1], {"threads": threads})
session = onnxruntime.InferenceSession(model, options)
np.save(output, session.run(None, {"image": np.load(image)})[0])
"""

#: Calls the library's entry point with the C interface of an ONNX Runtime, and writes the message of the status.
ENTRY_SCRIPT = """
import ctypes, sys
runtime, library = (ctypes.CDLL(path) for path in sys.argv[1:])
runtime.OrtGetApiBase.restype = ctypes.POINTER(ctypes.c_void_p)
base = runtime.OrtGetApiBase()
library.CreateEpFactories.restype = ctypes.c_void_p
library.CreateEpFactories.argtypes = [ctypes.c_char_p] + [ctypes.c_void_p] * 3 + [ctypes.c_size_t, ctypes.c_void_p]
factories, count = (ctypes.c_void_p * 4)(), ctypes.c_size_t(0)
status = library.CreateEpFactories(b"ivit", base, None, factories, 4, ctypes.byref(count))
get_api = ctypes.CFUNCTYPE(ctypes.POINTER(ctypes.c_void_p), ctypes.c_uint32)(base[0])
get_message = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p)(get_api(1)[2])
print(count.value, get_message(status).decode() if status else "")
"""


def installed(version: str) -> Path:
    """A folder with an onnxruntime, installed once beside the environment's own."""
    folder = CACHE / f"onnxruntime-{version}"
    if not folder.is_dir():
        CACHE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as new:
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", f"{new}/packages"]
            done = subprocess.run([*command, f"onnxruntime=={version}"], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"onnxruntime {version} cannot be installed here: {done.stderr.strip().splitlines()[-1:]}")
            with contextlib.suppress(OSError):  # another process was first
                Path(new, "packages").rename(folder)
    return folder


@pytest.fixture(scope="module")
def oldest() -> Path:
    """The oldest supported onnxruntime."""
    return installed(OLDEST)


@pytest.mark.parametrize("nonlinear", NONLINEAR)
def test_the_oldest_runtime_gives_the_same_integers(oldest: Path, tmp_path: Path, nonlinear: Nonlinear) -> None:
    checkpoint = save_checkpoint(timm_network(distilled=True), tmp_path / "model.pt")
    expected: dict[int, np.ndarray] = {}
    for flat in (False, True):
        export(checkpoint, tmp_path / f"{flat}.onnx", calib=images(8), num_heads=3, flat=flat, nonlinear=nonlinear)
    for batch in (1, 3, 8):
        np.save(tmp_path / f"{batch}.npy", pixels(batch, seed=batch))
        session = ivit_onnx.create_session(str(tmp_path / "False.onnx"))
        (expected[batch],) = session.run(None, {"image": pixels(batch, seed=batch)})
    environment = {**os.environ, "PYTHONPATH": str(oldest)}
    library = ivit_onnx.library_path()
    combinations = [*itertools.product((SCRIPT,), (False, True), ("", library), (1, 2), (3,))]
    combinations += [(SCRIPT, False, library, 2, batch) for batch in (1, 8)]
    combinations += [(PROVIDER_SCRIPT, flat, library, 2, batch) for flat in (False, True) for batch in (1, 3)]
    for script, flat, library, threads, batch in combinations:
        output = tmp_path / "found.npy"
        arguments = [tmp_path / f"{flat}.onnx", library, threads, tmp_path / f"{batch}.npy", output, OLDEST]
        done = subprocess.run(
            [sys.executable, "-c", script, *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        np.testing.assert_array_equal(np.load(output), expected[batch], err_msg=str(arguments))


@pytest.mark.parametrize("version", [TOO_OLD, OLDEST])
def test_a_runtime_that_is_too_old_is_refused_with_a_message(version: str) -> None:
    """By the provider's entry point, whoever calls it: ONNX Runtime for Python had no call for it at the time."""
    (runtime,) = (installed(version) / "onnxruntime" / "capi").glob("libonnxruntime.so.*")
    command = [sys.executable, "-c", ENTRY_SCRIPT, str(runtime), ivit_onnx.library_path()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    refused = f"0 ivit: this library needs ONNX Runtime 1.23 or newer, found {TOO_OLD}"
    assert done.stdout.strip() == (refused if version == TOO_OLD else "1")
