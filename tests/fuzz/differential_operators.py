"""Single operators: numpy, PyTorch, function bodies, the kernels of every CPU variant, and the execution provider."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

import ivit_onnx
from cases import Case, activations, random_case
from drawing import integers
from fuzz.devices import cuda_session
from graphs import single_operator_model
from ivit_onnx.bench.machine import cpu_variant
from ivit_onnx.opset import OPERATORS, Role
from ivit_onnx.quant.operators import operator as torch_operator
from sessions import assert_equal, expected, run, session

VARIANTS = True
#: The variant that pays for what does not depend on the variant.
FIRST = "portable"
#: Of tokens in all heads of all images: the reference has an int64 for each, several times.
MOST_PAIRS = 1 << 23


def pairs_of_tokens(case: Case) -> int:
    """In all heads of one image."""
    attributes = case.attributes
    if "window" in attributes:
        window = int(attributes["window"])
        windows = (int(attributes["height"]) // window + 1) * (int(attributes["width"]) // window + 1)
        return int(attributes["heads"]) * windows * window**4
    return int(attributes["heads"]) * case.inputs["qkv"].shape[1] ** 2


def random_call(rng: np.random.Generator) -> Case:
    """A valid call: of any operator and size, with weights or data all at one end of their range, or without data."""
    operator = str(rng.choice(list(OPERATORS)))
    size = int(rng.choice([1, 1, 1, 2, 3, 6]))
    case = random_case(operator, rng, extreme=bool(rng.random() < 0.5), size=size)
    data = activations(operator)
    # What can be at extremes beside them.
    packed = {tensor.name for tensor in OPERATORS[operator].inputs if tensor.role is Role.PACKED}
    for name, array in case.inputs.items():
        if (name in data or name in packed) and rng.random() < 0.1:
            info = np.iinfo(array.dtype)
            case.inputs[name] = np.full_like(array, rng.choice([info.min, info.max]))
        elif name in data and rng.random() < 0.1:
            case.inputs[name] = integers(rng, array.shape, array.dtype.type, True)
    if "heads" in case.attributes:
        case.inputs["qkv"] = case.inputs["qkv"][: max(1, MOST_PAIRS // pairs_of_tokens(case))]
    if rng.random() < 0.02:
        for name in data:
            case.inputs[name] = case.inputs[name][:0]
    return case


def check(seed: int, folder: Path) -> str:
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    case = random_call(rng)
    constants, threads = bool(rng.random() < 0.7), int(rng.choice([1, 2, 4]))
    np.savez(folder / "case.npz", **case.inputs)
    description = f"{case.operator} {case.attributes} { {name: array.shape for name, array in case.inputs.items()} }"
    (folder / "case.txt").write_text(f"{description}, constants {constants}, threads {threads}\n", encoding="utf-8")
    wanted = expected(case)
    model = single_operator_model(case, constants=constants, functions=bool(rng.random() < 0.5))
    assert_equal(run(session(model, threads=threads), case), wanted)
    path = folder / "case.onnx"
    onnx.save(model, path)
    assert_equal(run(ivit_onnx.create_session(path, provider="ivit-cpu", threads=threads), case), wanted)
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        assert_equal(run(cuda_session(path), case), wanted)
    if cpu_variant() == FIRST:
        assert_equal(run(session(single_operator_model(case), kernels=False), case), wanted)
        tensors = [torch.from_numpy(np.ascontiguousarray(case.inputs[t.name])) for t in OPERATORS[case.operator].inputs]
        found = torch_operator(case.operator)(*tensors, **case.attributes)
        for one, other in zip(found, wanted, strict=True) if isinstance(wanted, tuple) else [(found, wanted)]:
            np.testing.assert_array_equal(one.numpy(), other.astype(np.int64), strict=False)
    return "equal"
