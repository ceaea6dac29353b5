"""No file keeps a reader busy for ever, or takes more memory than it may: what it asks for is counted first.

Every case is read with 400 MB and a minute of processor time; without the budgets these need gigabytes, or never end.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bombs import CHECKPOINTS, IMAGES, TEXTS
from commands import MICRO
from ivit_onnx.api import export
from model_bombs import GRAPHS, METADATA, SPECIAL, sparse_file

#: Readers, the name that a file has to have for them, and whether a folder there is something that they read.
FILES = {
    "graph": ("model.onnx", False),
    "weights": ("model.onnx", False),
    "metadata": ("model.onnx", False),
    "verify": ("model.onnx", False),
    "session": ("model.onnx", False),
    "twin": ("model.onnx", False),
    "checkpoint": ("model.pth", True),
    "cache": ("cache", False),
    "image": ("image.png", False),
    "images": ("image.npz", True),
    "count": ("image.npy", True),
    "labels": ("labels.json", False),
    "classes": ("classes.txt", False),
    "dataset": ("labels.txt", False),
    "state": ("state.json", False),
    "training": ("state.pt", False),
    "metrics": ("metrics.csv", False),
}
#: Readers that say it in other words: an evaluation could not write its state there either.
WORDS = {"verify": "status 2", "state": "not a regular file|is a folder|is not the state of an evaluation"}


def read(cases: dict[str, tuple[str, Path]]) -> dict[str, dict[str, Any]]:
    """What becomes of files, each by a reader of tests/limited.py."""
    done = subprocess.run(
        [sys.executable, "-P", str(Path(__file__).with_name("limited.py"))],
        input=json.dumps({name: (reader, str(path)) for name, (reader, path) in cases.items()}),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict[str, Any], str]]:
    """What became of every file, and what was expected to be said, by name."""
    cases: dict[str, tuple[str, Path]] = {}
    expected: dict[str, str] = {}

    def add(name: str, reader: str, path: Path, pattern: str) -> None:
        cases[name], expected[name] = (reader, path), pattern

    def place(name: str, file: str) -> Path:
        return tmp_path_factory.mktemp(re.sub(r"\W", "_", name)) / file

    for name, write in GRAPHS.items():
        path = place(name, "model.onnx")
        pattern = write(path)
        add(f"graph {name}", "graph", path, pattern)
        add(f"verify {name}", "verify", path, "status 2")
    whole = place("exported", "model.onnx")
    export(MICRO, whole, calib_preset="fast", calib_images=2, num_heads=2, mean=[0.3] * 3, std=[0.4] * 3)
    for name, (change, readers, pattern) in METADATA.items():
        path = place(name, "model.onnx")
        shutil.copy(whole, path)
        shutil.copy(MICRO, path.with_name("checkpoint"))
        change(path)
        for reader in readers:
            add(f"{reader} {name}", reader, path, "status 2" if reader == "verify" else pattern)
    for kind, reader in (("checkpoint", "checkpoint"), ("images", "images"), ("labels", "labels")):
        for file, write in {"checkpoint": CHECKPOINTS, "images": IMAGES, "labels": TEXTS}[kind].items():
            path = place(file, file)
            add(f"{reader} {file}", reader, path, write(path))
    for reader, (file, folders) in FILES.items():
        for kind, (make, words) in SPECIAL.items():
            if kind == "folder" and folders:
                continue
            path = place(f"{reader}_{kind}", file)
            (path.parent / "images").mkdir()
            (path.parent / "images" / "a.png").touch()
            make(path)
            add(f"{reader} {kind}", reader, path, WORDS.get(reader, words))
        if reader not in ("count", "session", "metrics"):
            path = place(f"{reader}_sparse", file)
            (path.parent / "images").mkdir()
            (path.parent / "images" / "a.png").touch()
            sparse_file(path)
            add(f"{reader} terabyte", reader, path, WORDS.get(reader, "expected at most"))
    found = read(cases)
    return {name: (found[name], expected[name]) for name in cases}


def test_every_file_is_refused_in_one_line(results: dict[str, tuple[dict[str, Any], str]]) -> None:
    wrong = {}
    for name, (found, pattern) in results.items():
        if pattern == "status 2":
            good = found.get("read") == "2"
        else:
            text = found.get("text", "")
            good = found.get("ours", False) and re.search(pattern, text) and "\n" not in text and len(text) < 600
        if not good:
            wrong[name] = (pattern, found)
    assert not wrong, json.dumps(wrong, indent=1)
