"""Whole models of random architecture: function bodies, PyTorch, the kernels of every CPU variant and the provider.

The first variant makes and verifies a model; the others read it from the folder.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

import ivit_onnx
from fuzz.devices import cuda_session
from fuzz.random_networks import random_network
from ivit_onnx.api import export
from ivit_onnx.errors import ExportError
from ivit_onnx.verification import verify

VARIANTS = True


def check(seed: int, folder: Path) -> str:
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    made, model, logits = folder / f"case.{seed}", folder / "case.onnx", folder / "case.npz"
    if not made.exists():
        for file in folder.glob("case.*"):
            file.unlink()
        made.write_text(make(seed, folder), encoding="utf-8")
    if made.read_text(encoding="utf-8") == "refused":
        return "refused"
    with np.load(logits) as stored:
        image, wanted = stored["image"], stored["wanted"]
    for _ in range(2):
        count = int(rng.integers(1, len(image) + 1))
        threads = int(rng.choice([1, 2, 4]))
        sessions: list[Any] = [
            ivit_onnx.create_session(model, threads=threads),
            ivit_onnx.create_session(model, provider="ivit-cpu", threads=threads),
        ]
        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            sessions.append(cuda_session(model))
        for session in sessions:
            (found,) = session.run(None, {session.get_inputs()[0].name: image[:count]})
            np.testing.assert_array_equal(found, wanted[:count], strict=True)
    return "equal"


def make(seed: int, folder: Path) -> str:
    """Exports a model, compares its bodies, kernels and twin, and stores random images with what the bodies give."""
    rng = np.random.default_rng([seed, 1])
    network, options = random_network(rng)
    checkpoint, model = folder / "case.pth", folder / "case.onnx"
    torch.save(network.state_dict(), checkpoint)
    size = options["img_size"]
    calibration = list(rng.normal(0, rng.choice([0.1, 1, 3]), (4, 3, size, size)).astype(np.float32))
    try:
        export(checkpoint, model, calib=calibration, **options)
    except ExportError:  # the weights cannot be expressed in integers
        return "refused"
    result = verify(model, against=checkpoint, count=4, seed=seed % 2**31, threads=1)
    # Networks of such numbers may give every image the same logits, which a verification of theirs would not accept.
    assert replace(result, evidence=()).passed, result.to_json()
    bodies = ivit_onnx.create_session(model, kernels=False)
    image = rng.integers(0, 256, (9, 3, size, size), dtype=np.uint8)
    image[::3] = rng.choice([0, 255], image[::3].shape)
    image = image if options["input"] == "uint8" else image.view(np.int8)
    (wanted,) = bodies.run(None, {bodies.get_inputs()[0].name: image})
    np.savez(folder / "case.npz", image=image, wanted=wanted)
    return "made"
