"""`python -P -m fuzz.coverage_guided checkpoint|cache|model CORPUS [libFuzzer's options]`: bytes that reach new code.

The readers of checkpoints, calibration caches and models under atheris, libFuzzer for Python (`pip install atheris`).
The corpus is a folder; good files are put into it first. An exception that is not this package's, a hang (-timeout=N)
and growing memory (-rss_limit_mb=N) end the run, and the bytes that did it are written beside it.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris
import numpy as np
import torch
from torch._weights_only_unpickler import Unpickler

with atheris.instrument_imports(include=["ivit_onnx"]):
    from onnxruntime import GraphOptimizationLevel

    from cases import random_case
    from fuzz import hostile_files, hostile_models
    from ivit_onnx.errors import IvitError
    from ivit_onnx.float_audit import audit
    from ivit_onnx.model_files import load_graph, load_with_weights
    from ivit_onnx.opset import OPERATORS
    from ivit_onnx.proof import mismatch, prove
    from proofs import operator_model

#: Of PyTorch, whose instrumentation as a whole takes a quarter of an hour.
for function in (Unpickler.load, torch.load, torch.serialization._load, torch.serialization._legacy_load):
    atheris.instrument_func(function)


def read_model(path: Path) -> None:
    """What `ivit-verify` and a session make of a model."""
    with contextlib.suppress(IvitError):
        audit(load_graph(path))
        model = load_with_weights(path)
        mismatch(model, prove(model))
    for provider in ("cpu", "ivit-cpu"):
        hostile_models.attempt(path, np.random.default_rng(0), GraphOptimizationLevel.ORT_ENABLE_ALL, provider=provider)


READERS: dict[str, Callable[[Path], object]] = {
    "cache": hostile_files.read_cache,
    "checkpoint": hostile_files.read_checkpoint,
    "model": read_model,
}


def good_models(folder: Path) -> dict[str, bytes]:
    """Small exports and single operators, by name."""
    hostile_models.prepare(folder)
    models = {path.name: path.read_bytes() for path in folder.glob("*.onnx")}
    for operator in OPERATORS:
        case = random_case(operator, np.random.default_rng(0))
        models[operator] = operator_model(case).SerializeToString()
    return models


def main() -> None:
    kind, corpus = sys.argv[1], Path(sys.argv[2])
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        hostile_files.prepare(Path(folder))
        good = good_models(Path(folder)) if kind == "model" else hostile_files.good_files(kind)
        for name, content in good.items():
            (corpus / name).write_bytes(content)
        path = Path(folder) / "case.file"
        read = READERS[kind]

        def once(data: bytes) -> None:
            path.write_bytes(data)
            read(path)

        atheris.Setup([sys.argv[0], str(corpus), *sys.argv[3:]], once)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
