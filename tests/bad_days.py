"""What the tests of operators' bad days share: a model, every command with one bad path, kinds of bad paths."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from commands import MICRO, MICRO_OPTIONS
from ivit_onnx.api import export

Arguments = list[str | Path]
Cases = dict[str, tuple[str, Callable[[Path, Path], Arguments]]]


def make_inputs(folder: Path) -> Path:
    """A model, and two photos in a folder of a class each."""
    for index in range(2):
        (folder / "photos" / str(index)).mkdir(parents=True)
        pixels = np.random.default_rng(index).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / str(index) / "a.png")
    normalisation = {"mean": (0.3,) * 3, "std": (0.4,) * 3}
    export(MICRO, folder / "model.onnx", calib=folder / "photos", calib_preset="fast", num_heads=2, **normalisation)
    return folder


def assert_plain(text: str) -> None:
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text), text


KINDS = ("missing", "folder", "loop", "dangling", "255 bytes", "256 bytes", "not UTF-8")

#: Each command with one bad path among good ones.
READERS: Cases = {
    "run, model": ("run", lambda i, p: [p, i / "photos"]),
    "run, image": ("run", lambda i, p: [i / "model.onnx", p]),
    "run, labels": ("run", lambda i, p: [i / "model.onnx", i / "photos", "--labels", p]),
    "verify, model": ("verify", lambda i, p: [p]),
    "verify, proof": ("verify", lambda i, p: [p, "--prove"]),
    "verify, checkpoint": ("verify", lambda i, p: [i / "model.onnx", "--count", "1", "--against", p]),
    "verify, images": ("verify", lambda i, p: [i / "model.onnx", "--count", "1", "--images", p]),
    "eval, model": ("eval", lambda i, p: [p, "--data", "digits"]),
    "eval, data": ("eval", lambda i, p: [i / "model.onnx", "--data", p]),
    "eval, labels": ("eval", lambda i, p: [i / "model.onnx", "--data", i / "photos", "--labels", p]),
    "eval, classes": ("eval", lambda i, p: [i / "model.onnx", "--data", "digits", "--classes", p]),
    "eval, checkpoint": ("eval", lambda i, p: [i / "model.onnx", "--data", "digits", "--against", p]),
    "report, model": ("report", lambda i, p: [p, "--against", MICRO, "--data", "digits", "-o", i / "report.html"]),
    "report, checkpoint": (
        "report",
        lambda i, p: [i / "model.onnx", "--against", p, "--data", "digits", "-o", i / "report.html"],
    ),
    "report, data": (
        "report",
        lambda i, p: [i / "model.onnx", "--against", MICRO, "--data", p, "-o", i / "report.html"],
    ),
    "bench, model": ("bench", lambda i, p: [p]),
    "bench, checkpoint": (
        "bench",
        lambda i, p: ["--models", "deit_tiny_patch16_224", "--checkpoint", p, "--cache", i / "cache", "--starts", "1"],
    ),
    "export, checkpoint": ("export", lambda i, p: [p, "-o", i / "new.onnx"]),
    "export, explained": ("export", lambda i, p: [p, "--explain"]),
    "export, images": ("export", lambda i, p: [MICRO, *MICRO_OPTIONS, "--calib", p, "-o", i / "new.onnx"]),
    "train, checkpoint": ("train", lambda i, p: ["--data", "digits", "--checkpoint", p, "-o", i / "out"]),
    "train, data": (
        "train",
        lambda i, p: ["--data", p, "--checkpoint", MICRO, "--num-heads", "2", "-o", i / "out"],
    ),
}


def bad_path(kind: str, folder: Path) -> Path:
    if kind == "folder":
        (folder / kind).mkdir()
    elif kind in ("loop", "dangling"):
        (folder / kind).symlink_to({"loop": "loop", "dangling": "nowhere"}[kind])
    elif kind.endswith("bytes"):
        long = folder / ("x" * int(kind.split()[0]))
        if kind == "255 bytes":
            long.touch()
        return long
    elif kind == "not UTF-8":
        other = Path(os.fsdecode(os.fsencode(folder) + b"/\xff"))
        other.touch()
        return other
    return folder / kind


EXPORT = [MICRO, *MICRO_OPTIONS, "--calib-preset", "fast"]

#: Each command with one output.
WRITERS: Cases = {
    "export": ("export", lambda i, p: [*EXPORT, "--calib", i / "photos", "-o", p]),
    "export, forced": ("export", lambda i, p: [*EXPORT, "--calib", i / "photos", "-o", p, "--force"]),
    "report": ("report", lambda i, p: [*REPORT(i), "-o", p]),
    "report, forced": ("report", lambda i, p: [*REPORT(i), "-o", p, "--force"]),
    "eval, state": ("eval", lambda i, p: [i / "model.onnx", "--data", "digits", "--limit", "2", "--state", p]),
    "bench, plot": ("bench", lambda i, p: [i / "model.onnx", "--plot", p]),
    "train": ("train", lambda i, p: ["--data", "digits", "--checkpoint", MICRO, "--num-heads", "2", "-o", p]),
}


def REPORT(inputs: Path) -> Arguments:  # noqa: N802
    return [inputs / "model.onnx", "--against", MICRO, "--data", inputs / "photos", "--limit", "1"]
