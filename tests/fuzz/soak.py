"""`python -P -m fuzz.soak [--minutes N]`: many threads on one session, then many sessions at once, answers compared.

Half of the time goes to each; both run half of their sessions with the custom operators and half with the execution
provider. Prints what was run, and ends with status 1 on the first wrong answer.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import ivit_onnx
from fuzz.hostile_models import prepare

BATCHES = (1, 2, 3, 5)


def expected(model: Path) -> dict[int, tuple[Any, Any]]:
    """Images of every batch size, and what the function bodies make of them."""
    rng = np.random.default_rng(0)
    bodies = ivit_onnx.create_session(model, kernels=False)
    images = {count: rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8) for count in BATCHES}
    return {count: (image, bodies.run(None, {"image": image})[0]) for count, image in images.items()}


def hammer(sessions: Sequence[Any], threads: int, answers: dict[int, tuple[Any, Any]], seconds: float) -> int:
    """`threads` threads, each on one of the sessions, for some seconds. Returns the number of runs.

    Raises AssertionError with the first wrong answer, and whatever a run raised.
    """
    end = time.monotonic() + seconds
    runs = [0] * threads
    errors: list[BaseException] = []

    def work(index: int) -> None:
        session, rng = sessions[index % len(sessions)], np.random.default_rng(index)
        try:
            while time.monotonic() < end and not errors:
                image, wanted = answers[int(rng.choice(BATCHES))]
                np.testing.assert_array_equal(session.run(None, {"image": image})[0], wanted)
                runs[index] += 1
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(index,)) for index in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]
    return sum(runs)


def soak(folder: Path, seconds: float) -> None:
    prepare(folder)
    model = folder / "swin.onnx"
    answers = expected(model)
    for provider in ("cpu", "ivit-cpu"):
        sessions = [ivit_onnx.create_session(model, provider=provider, threads=2)]
        runs = hammer(sessions, 16, answers, seconds / 4)
        print(f"{provider}: 16 threads on one session, {runs} runs in {seconds / 4:.0f} s, all equal", flush=True)
    for provider in ("cpu", "ivit-cpu"):
        sessions = [ivit_onnx.create_session(model, provider=provider, threads=1 + i % 2) for i in range(32)]
        runs = hammer(sessions, 32, answers, seconds / 4)
        print(f"{provider}: 32 sessions at once, {runs} runs in {seconds / 4:.0f} s, all equal", flush=True)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MB")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -P -m fuzz.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20, help="in all")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        soak(Path(folder), 60 * options.minutes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
