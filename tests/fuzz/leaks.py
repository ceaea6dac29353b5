"""`python -P -m fuzz.leaks [--sessions N]`: memory after creating and running many sessions, for both ways to run.

Resident memory is compared after a warm-up and after N more sessions; also after as many runs of one session, and after
as many sessions that are refused. Ends with status 1 when it grew by more than a kilobyte per session.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

import ivit_onnx
from fuzz.hostile_models import prepare
from ivit_onnx.errors import ModelError

#: The allocator keeps a little; a leak of any object of a session is larger than this.
MOST_BYTES = 1024
WARM_UP = 100


def resident() -> int:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def growth(once: Callable[[], object], count: int) -> float:
    """Bytes of resident memory for each of `count` calls, after a warm-up."""
    for _ in range(WARM_UP):
        once()
    before = resident()
    for _ in range(count):
        once()
    return (resident() - before) / count


def workloads(folder: Path) -> dict[str, Callable[[], object]]:
    """What is done again and again, by name: sessions made and run, runs of one session, and models refused."""
    prepare(folder)
    image = {"image": np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)}
    good, bad = folder / "swin.onnx", folder / "bad.onnx"
    spoiled = onnx.load(good)
    shift = next(tensor for tensor in spoiled.graph.initializer if tensor.name.endswith("shift"))
    shift.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(shift) * 0 + 63, shift.name))
    onnx.save(spoiled, bad)

    def session(path: Path, provider: str) -> Any:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        return ivit_onnx.create_session(path, provider=provider, session_options=options)

    def made(provider: str) -> None:
        session(good, provider).run(None, image)

    def refused(provider: str) -> None:
        try:
            session(bad, provider)
        except ModelError:
            return
        raise AssertionError("a shift of 63 was accepted")

    found: dict[str, Callable[[], object]] = {}
    for provider in ("cpu", "ivit-cpu"):
        found[f"{provider}: sessions created and run"] = partial(made, provider)
        found[f"{provider}: runs of one session"] = partial(session(good, provider).run, None, image)
        found[f"{provider}: sessions refused"] = partial(refused, provider)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -P -m fuzz.leaks", description=__doc__)
    parser.add_argument("--sessions", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = {name: growth(once, options.sessions) for name, once in workloads(Path(folder)).items()}
    for name, size in result.items():
        print(f"{name}: {size:+.0f} bytes each of {options.sessions}")
    return 0 if max(result.values()) <= MOST_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
