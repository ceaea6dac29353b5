"""`python -P -m fuzz.coverage_guided checkpoint|cache|model|session CORPUS [libFuzzer's options]`: bytes that reach new
code.

The readers of checkpoints, calibration caches and models (with the proof), and sessions of models, under atheris:
libFuzzer for Python. Bytes are chosen by the code that they reach: in this package and in PyTorch's reader, or for
sessions in the native library, which `make coverage` builds for it. The corpus is a folder; good files are put into it
first. An exception that is not this package's, a hang (-timeout=N), growing memory (-rss_limit_mb=N) and a report of a
sanitizer end the run; the bytes that did it are written to a file.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris
import numpy as np
import onnx
import onnx_ir as ir
import torch
from google.protobuf.message import DecodeError, EncodeError
from onnx_ir.passes.common import RemoveUnusedFunctionsPass
from torch._weights_only_unpickler import Unpickler

#: Python's own code would only slow sessions down.
PYTHON = sys.argv[1:2] != ["session"]

with atheris.instrument_imports(include=["ivit_onnx"]) if PYTHON else contextlib.nullcontext():
    from onnxruntime import GraphOptimizationLevel

    import ivit_onnx
    from cases import random_case
    from fuzz import hostile_files, hostile_models
    from fuzz.model_mutations import mutate
    from graphs import single_operator_model
    from ivit_onnx.errors import IvitError
    from ivit_onnx.float_audit import audit
    from ivit_onnx.model_files import load_graph, load_with_weights
    from ivit_onnx.opset import OPERATORS
    from ivit_onnx.proof import mismatch, prove
    from proofs import operator_model

#: Of PyTorch, whose instrumentation as a whole takes a quarter of an hour.
TORCH = (Unpickler.load, torch.load, torch.serialization._load, torch.serialization._legacy_load)


def read_model(path: Path) -> None:
    """What `ivit-verify` makes of a model before it runs it."""
    with contextlib.suppress(IvitError):
        audit(load_graph(path))
        model = load_with_weights(path)
        mismatch(model, prove(model))


def run_model(path: Path) -> None:
    """Sessions with the library's operators and with its execution provider."""
    for provider in ("cpu", "ivit-cpu"):
        rng = np.random.default_rng(0)
        hostile_models.attempt(path, rng, GraphOptimizationLevel.ORT_ENABLE_ALL, provider=provider, threads=1)


READERS: dict[str, Callable[[Path], object]] = {
    "cache": hostile_files.read_cache,
    "checkpoint": hostile_files.read_checkpoint,
    "model": read_model,
    "session": run_model,
}


def good_models(folder: Path, *, functions: bool) -> dict[str, bytes]:
    """Small exports and single operators, by name."""
    hostile_models.prepare(folder)
    models = {path.name: path.read_bytes() for path in folder.glob("*.onnx")}
    for operator in OPERATORS:
        case = random_case(operator, np.random.default_rng(0))
        model = operator_model(case) if functions else single_operator_model(case, constants=True, functions=False)
        needed = ir.from_proto(model)
        RemoveUnusedFunctionsPass()(needed)
        models[operator] = ir.to_proto(needed).SerializeToString()
    return models


def change_bytes(data: bytes, max_size: int, seed: int) -> bytes:
    return bytes(atheris.Mutate(data, max_size))


def change_model(data: bytes, max_size: int, seed: int) -> bytes:
    """Another model where the bytes are one, with attributes, shapes, types and nodes changed; now and then, bytes."""
    rng = np.random.default_rng(seed)
    if rng.random() < 0.9:
        with contextlib.suppress(DecodeError, EncodeError):
            model = onnx.ModelProto.FromString(data)
            mutate(model, rng)
            content = model.SerializeToString()
            if len(content) <= max_size:
                return content
    return change_bytes(data, max_size, seed)


def main() -> None:
    os.environ.pop("LD_PRELOAD", None)  # programs that sanitizers call have none of Python's symbols
    kind, corpus = sys.argv[1], Path(sys.argv[2])
    models = kind in ("model", "session")
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        if models:
            good = good_models(Path(folder), functions=kind == "model")
            ivit_onnx.register()  # libFuzzer counts the code that is loaded when it starts
        else:
            hostile_files.prepare(Path(folder))
            good = hostile_files.good_files(kind)
            for function in TORCH:
                atheris.instrument_func(function)
        for name, content in good.items():
            (corpus / name).write_bytes(content)
        path = Path(folder) / "case.file"
        read = READERS[kind]

        def once(data: bytes) -> None:
            path.write_bytes(data)
            read(path)

        change = change_model if models else change_bytes
        atheris.Setup([sys.argv[0], str(corpus), *sys.argv[3:]], once, custom_mutator=change)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
