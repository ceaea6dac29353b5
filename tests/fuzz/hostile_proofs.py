"""Spoiled models and the proof against overflow: a clean refusal, findings, or ranges that hold and exact results.

What is proven runs in integers of any size. Every intermediate has to be in its range, and function bodies, kernels and
the provider have to give the same integers. A crash, a hang, growing memory and any exception that is not one of
this package's are findings.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, inliner
from onnx.checker import ValidationError

import ivit_onnx
from cases import random_case
from exact import NotKnownError, NotRunnableError
from fuzz import hostile_models
from fuzz.model_mutations import mutate
from ivit_onnx.errors import IvitError
from ivit_onnx.float_audit import audit
from ivit_onnx.model_files import load_graph, load_with_weights
from ivit_onnx.opset import OPERATORS
from ivit_onnx.proof import mismatch, prove
from proofs import assert_inside, exact_outputs, operator_model

#: Elements of an input; larger ones take the exact integers too long.
MOST_ELEMENTS = 1 << 14
#: What running a graph that does not fit together raises in exact integers.
ODD_GRAPHS = (NotKnownError, NotRunnableError, RuntimeError, TypeError, ValueError, ValidationError)

prepare = hostile_models.prepare


def check(seed: int, folder: Path) -> str:
    rng = np.random.default_rng(seed)
    if rng.random() < 0.5:
        case = random_case(str(rng.choice(list(OPERATORS))), rng, extreme=bool(rng.random() < 0.5))
        model = operator_model(case)
    else:
        model = hostile_models.base(rng, folder)
    names = mutate(model, rng)
    path = folder / "case.onnx"
    path.write_bytes(model.SerializeToString())
    (folder / "case.txt").write_text(", ".join(names) + "\n", encoding="utf-8")
    with contextlib.suppress(IvitError):
        audit(load_graph(path))
    try:
        model = load_with_weights(path)
        report = prove(model)
        mismatch(model, report)
    except IvitError:
        return "refused"
    if not report.proven:
        return "not proven"
    inputs = feeds(model, rng)
    if inputs is None:
        return "proven, inputs not made"
    try:
        inlined = inliner.inline_local_functions(model)
        exact = exact_outputs(inlined, inputs)
        wanted = [exact[value.name] for value in model.graph.output]
    except ODD_GRAPHS:
        return "proven, not runnable"
    assert_inside(inlined, inputs)
    return compare(path, inputs, wanted)


def feeds(model: onnx.ModelProto, rng: np.random.Generator) -> dict[str, Any] | None:
    """Inputs of the model's types, random or at their ends; None where that is not possible."""
    made = {}
    constants = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name in constants:
            continue
        tensor = value.type.tensor_type
        shape = [dim.dim_value if dim.HasField("dim_value") else int(rng.integers(1, 3)) for dim in tensor.shape.dim]
        if tensor.elem_type in (TensorProto.UNDEFINED, TensorProto.STRING) or min(shape, default=1) < 1:
            return None
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        if np.prod([float(size) for size in shape]) > MOST_ELEMENTS or dtype.kind not in "iu":
            return None
        limits = np.iinfo(dtype)
        if rng.random() < 0.5:
            made[value.name] = rng.choice([limits.min, limits.max], shape).astype(dtype)
        else:
            made[value.name] = rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    return made


def compare(path: Path, inputs: dict[str, Any], wanted: list[Any]) -> str:
    """Whether all that can run the model gives the exact integers."""
    ran = 0
    for options in ({"kernels": False}, {"kernels": True}, {"provider": "ivit-cpu"}):
        try:
            found = ivit_onnx.create_session(path, threads=1, **options).run(None, inputs)
        except Exception as error:
            if not hostile_models.is_refusal(error):
                raise
            continue
        ran += 1
        for one, other in zip(found, wanted, strict=True):
            assert np.array_equal(one.astype(object), other), f"{options}: not the exact integers"
    return "proven and equal" if ran else "proven, not run"
