"""Spoiled models: an error of ONNX Runtime or of this package, or the same integers from kernels and provider.

A crash, a hang, growing memory and any other exception are findings, as is a session that no longer gives the right
integers for a good model afterwards.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

import ivit_onnx
from cases import random_case
from fuzz.model_mutations import mutate
from graphs import single_operator_model
from ivit_onnx.errors import IvitError
from ivit_onnx.float_audit import audit
from ivit_onnx.metadata import describe
from ivit_onnx.model_files import load_graph
from ivit_onnx.opset import OPERATORS

#: Elements of an input; inputs that have to be larger are not made.
MOST_ELEMENTS = 1 << 20
#: What ONNX Runtime says when sizes at run time are not those it planned memory for. The provider plans its own.
REUSE = "attempting to re-use buffer"
#: How often a good model is run in between.
GOOD_EVERY = 50

TYPES = {
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(float)": np.float32,
}


def prepare(folder: Path) -> None:
    """Small models of every kind of export."""
    import torch

    from ivit_onnx.api import export
    from networks import images, save_checkpoint, timm_network, timm_swin

    torch.set_num_threads(1)
    swin = timm_swin(embed_dim=12, depths=(2, 1), window_size=3, num_classes=5)
    small = {"embed_dim": 12, "depth": 1}
    networks: dict[str, tuple[Any, dict[str, Any]]] = {
        "vit": (timm_network(**small), {"num_heads": 3, "nonlinear": "ivit"}),
        "deit": (timm_network(distilled=True, **small), {"num_heads": 3}),
        "average": (timm_network(global_pool="avg", **small), {"num_heads": 3, "input": "int8"}),
        "flat": (timm_network(**small), {"num_heads": 3, "flat": True, "nonlinear": "ivit"}),
        "swin": (swin, {"img_size": 32, "nonlinear": "ivit"}),
    }
    for name, (network, options) in networks.items():
        if not (folder / f"{name}.onnx").exists():
            checkpoint = save_checkpoint(network, folder / f"{name}.pth")
            export(checkpoint, folder / f"{name}.onnx", calib=images(4), force=True, **options)


def base(rng: np.random.Generator, folder: Path) -> onnx.ModelProto:
    """An exported model, or a single operator with parameters of its own."""
    if rng.random() < 0.6:
        return onnx.load(folder / f"{rng.choice(['vit', 'deit', 'average', 'flat', 'swin'])}.onnx")
    case = random_case(str(rng.choice(list(OPERATORS))), rng, extreme=bool(rng.random() < 0.3))
    model = single_operator_model(case, constants=bool(rng.random() < 0.8), functions=bool(rng.random() < 0.5))
    for value in model.graph.input:
        array = case.inputs[value.name]
        value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, array.shape))
    return model


def feeds(session: Any, rng: np.random.Generator) -> dict[str, Any] | None:
    """Random inputs as the session declares them; None where that is not possible."""
    made = {}
    for value in session.get_inputs():
        if value.type not in TYPES:
            return None
        shape = [dim if isinstance(dim, int) else int(rng.choice([0, 1, 2, 3])) for dim in value.shape]
        if rng.random() < 0.1 and shape:
            shape[int(rng.integers(len(shape)))] = int(rng.choice([0, 1, 2, 3, 33]))
        size = 1
        for dim in shape:
            size *= max(1, dim)
        if size > MOST_ELEMENTS or min(shape, default=0) < 0:
            return None
        dtype = TYPES[value.type]
        low, high = (1, 60) if value.name.endswith("shift") else (-100, 100)
        made[value.name] = rng.integers(0 if dtype is np.uint8 else low, high, shape).astype(dtype)
    return made


def is_refusal(error: Exception) -> bool:
    return isinstance(error, IvitError) or type(error).__module__.startswith("onnxruntime.")


def attempt(path: Path, rng: np.random.Generator, level: Any, **options: Any) -> tuple[str, Any]:
    """What became of the model, with outputs or the error."""
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    settings.graph_optimization_level = level
    try:
        session = ivit_onnx.create_session(path, session_options=settings, **options)
    except Exception as error:
        if not is_refusal(error):
            raise
        return "refused", error
    inputs = feeds(session, rng)
    if inputs is None:
        return "loaded", None
    for reuse in (True, False):
        try:
            first = session.run(None, inputs)
            second = session.run(None, inputs)
        except Exception as error:
            if not is_refusal(error):
                raise
            if not reuse or REUSE not in str(error):
                return "failed", error
            settings.enable_mem_reuse = False
            session = ivit_onnx.create_session(path, session_options=settings, **options)
        else:
            break
    same(first, second)
    return "ran", first


def same(found: list[Any], wanted: list[Any]) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        if isinstance(other, np.ndarray):
            np.testing.assert_array_equal(one, other, strict=True)


def check(seed: int, folder: Path) -> str:
    rng = np.random.default_rng(seed)
    model = base(rng, folder)
    names = mutate(model, rng)
    content = bytearray(model.SerializeToString())
    if rng.random() < 0.05:
        for _ in range(int(rng.integers(1, 5))):
            content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    path = folder / "case.onnx"
    path.write_bytes(content)
    (folder / "case.txt").write_text(", ".join(names) + "\n", encoding="utf-8")
    levels = onnxruntime.GraphOptimizationLevel
    level = levels.ORT_ENABLE_ALL if rng.random() < 0.7 else levels.ORT_DISABLE_ALL
    threads = int(rng.choice([1, 2]))
    results = []
    for provider in ("cpu", "ivit-cpu"):
        results.append(attempt(path, np.random.default_rng([seed, 2]), level, threads=threads, provider=provider))
    (kernels, wanted), (compiled, found) = results
    if kernels == compiled == "ran":
        same(found, wanted)
    elif "ran" in (kernels, compiled) and all(np.size(array) == 0 for array in (wanted if kernels == "ran" else found)):
        return "ran on no images"  # of which operators do not ask the size, where function bodies and flat files fail
    elif "ran" in (kernels, compiled):
        error = found if kernels == "ran" else wanted
        raise AssertionError(f"kernels: {kernels}, provider: {compiled}: {error}")
    inspect(path)
    if seed % GOOD_EVERY == 0:
        good(folder)
    return kernels


def inspect(path: Path) -> None:
    """What `ivit-verify` and `ivit-run` read of a model before they run it."""
    try:
        audit(load_graph(path))
        describe(ivit_onnx.create_session(path), path)
    except IvitError:
        pass


def good(folder: Path) -> None:
    """A model that nobody spoiled, in the process that saw all the others."""
    image = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    results = [
        ivit_onnx.create_session(folder / "swin.onnx", **options).run(None, {"image": image})
        for options in ({"kernels": False}, {}, {"provider": "ivit-cpu"})
    ]
    same(results[1], results[0])
    same(results[2], results[0])
