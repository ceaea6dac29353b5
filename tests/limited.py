"""Reads files with little memory and little time: `python limited.py < CASES`.

CASES are a JSON list of groups, each an object of [reader, path] by name. Each group runs in a fork with limits of its
own: MEGABYTES more of data than the process has, SECONDS of processor time, and SECONDS of waiting for each file.
Prints a JSON object of what became of each: the error's type and text, what was read, or how the process ended.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

MEGABYTES = 400
SECONDS = 60


def readers() -> dict[str, Callable[[Path], object]]:
    """Everything that reads a file of somebody else, by name."""
    import torch

    import ivit_onnx
    from ivit_onnx.api import load_twin, read_metadata
    from ivit_onnx.architectures import Preprocess
    from ivit_onnx.calibration import load_calibration
    from ivit_onnx.checkpoints import load_checkpoint
    from ivit_onnx.class_names import read_class_names
    from ivit_onnx.cli import verify_main
    from ivit_onnx.datasets import open_dataset
    from ivit_onnx.datasets.labelled import read_classes
    from ivit_onnx.decoding import open_rgb
    from ivit_onnx.evaluation.state import State
    from ivit_onnx.images import count_images, read_images
    from ivit_onnx.metadata import describe
    from ivit_onnx.model_files import load_graph, load_with_weights
    from ivit_onnx.training.metrics import Metrics
    from ivit_onnx.training.state import load_state

    torch.set_num_threads(1)

    def described(path: Path) -> object:
        return describe(ivit_onnx.create_session(path, kernels=False, threads=1), path)

    return {
        "graph": load_graph,
        "weights": load_with_weights,
        "metadata": read_metadata,
        "verify": lambda path: verify_main([str(path)]),
        "describe": described,
        "session": ivit_onnx.create_session,
        "twin": lambda path: load_twin(path, path.with_name("checkpoint")),
        "checkpoint": lambda path: load_checkpoint(path, heads=2),
        "cache": lambda path: load_calibration(path, "fingerprint"),
        "image": open_rgb,
        "images": lambda path: sum(1 for _ in read_images(path, Preprocess(32))),
        "count": count_images,
        "labels": read_class_names,
        "classes": lambda path: read_classes(path, []),
        "dataset": lambda path: open_dataset(str(path.parent / "images"), "val", labels=path),
        "state": lambda path: State(path, {}, lambda unread: ""),
        "training": lambda path: load_state(path.parent),
        "metrics": lambda path: Metrics(path.parent, 1),
    }


def limited(group: dict[str, tuple[Callable[[Path], object], Path]]) -> dict[str, Any]:
    """What becomes of the files of a group, one after the other in one process, by name."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        limit()
        for name, (read, path) in group.items():
            signal.alarm(SECONDS)
            os.write(theirs, (json.dumps({name: outcome(read, path)}) + "\n").encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, encoding="utf-8") as answers:
        found = {name: result for line in answers for name, result in json.loads(line).items()}
    _, status, used = os.wait4(child, 0)
    print(f"{[*group]}: {used.ru_utime + used.ru_stime:.1f} s, {used.ru_maxrss >> 10} MB", file=sys.stderr)
    how = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"status {status}"
    return {name: found.get(name, {"ended": how}) for name in group}


def limit() -> None:
    """Sets the limits of this process."""
    has = int(Path("/proc/self/status").read_text(encoding="ascii").split("VmData:")[1].split()[0]) << 10
    resource.setrlimit(resource.RLIMIT_DATA, (has + (MEGABYTES << 20),) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def outcome(read: Callable[[Path], object], path: Path) -> dict[str, Any]:
    """What a reader makes of a file."""
    try:
        return {"read": str(read(path))[:200]}
    except BaseException as error:
        return {
            "error": type(error).__name__,
            "text": str(error),
            "ours": type(error).__module__ == "ivit_onnx.errors",
            "trace": traceback.format_exc()[-1500:],
        }


if __name__ == "__main__":
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    known = readers()
    results: dict[str, Any] = {}
    for group in json.load(sys.stdin):
        results |= limited({name: (known[reader], Path(path)) for name, (reader, path) in group.items()})
    json.dump(results, out)
