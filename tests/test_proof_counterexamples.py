"""Models that do overflow: each is caught by the proof, with its node and range, and shown to go wrong when it runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from ivit_onnx.opset import DOMAIN
from ivit_onnx.proof import prove
from proofs import exact_outputs, model_of

Array = np.ndarray[Any, Any]
Nodes = list[onnx.NodeProto]


@dataclass(frozen=True)
class Example:
    """A model, inputs that make it go wrong, and what the finding says: the node, and a part of the message. `meant` is
    the right output, where it is not that of the body in exact arithmetic."""

    model: onnx.ModelProto
    inputs: dict[str, Array]
    node: str
    message: str
    meant: int | None = None


def call(operator: str, inputs: list[str], output: str = "y", **attributes: int) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, [output], name=f"the {operator}", domain=DOMAIN, **attributes)


def node(operator: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, [output], name=f"{operator} to {output}", **attributes)


def scale(multiplier: int = 2**30, shift: int = 31) -> dict[str, Array]:
    return {"multiplier": np.asarray(multiplier, np.int32), "shift": np.asarray(shift, np.int8)}


def linear(inner: int, bias: int, x: int = -128, w: int = 127) -> Example:
    constants = {
        "weight": np.full((inner, 1), w, np.int8),
        "bias": np.asarray([bias], np.int32),
        **scale(shift=60),
    }
    operator = call("IntLinear32", ["x", *constants])
    model = model_of([operator], {"x": ("int8", ["batch", inner])}, constants, ("y", "int32"))
    return Example(model, {"x": np.full((1, inner), x, np.int8)}, "the IntLinear32", "expected int32")


def accumulator() -> Example:
    """140000 products of -128 and 127."""
    return linear(140_000, 0)


def bias() -> Example:
    """A bias at the end of int32, and one product."""
    return linear(1, 2**31 - 1, x=127)


def attention() -> Example:
    """600 exponentials of 2^31, whose sum is saturated: each of the probabilities is nearly 1."""
    tokens = 600
    constants = {f"{side}_{name}": array for side in ("score", "context") for name, array in scale(shift=50).items()}
    operator = call("IntAttention", ["qkv", *constants], heads=1, x0=-(2**20), n=11, frac_bits=15)
    model = model_of([operator], {"qkv": ("int8", ["batch", tokens, 3])}, constants, ("y", "int8"))
    qkv = np.zeros((1, tokens, 3), np.int8)
    qkv[..., 2] = 127
    return Example(model, {"qkv": qkv}, "the IntAttention", "expected int32")


def requantize(shift: int, meant: int | None = None) -> Example:
    constants = scale(shift=shift)
    operator = call("Requantize32", ["x", *constants])
    model = model_of([operator], {"x": ("int32", ["batch", 1])}, constants, ("y", "int32"))
    return Example(model, {"x": np.asarray([[-1000]], np.int32)}, "the Requantize32", "index", meant)


def no_shift() -> Example:
    """e = 0: its rounding half is looked up before the begin of the table of powers, which is the end."""
    return requantize(0, meant=-(2**31))


def long_shift() -> Example:
    """e = 63: beyond the table of powers."""
    return requantize(63)


def wide_product() -> Example:
    """int32 times 2^40 leaves int64."""
    constants = {"multiplier": np.asarray(2**40, np.int64), "shift": np.asarray(50, np.int8)}
    operator = call("ScaleRound", ["x", *constants])
    model = model_of([operator], {"x": ("int32", ["batch", 1])}, constants, ("y", "int64"))
    return Example(model, {"x": np.asarray([[2**31 - 1]], np.int32)}, "the ScaleRound", "Mul: expected int64")


def norm(offset: int = 0) -> Example:
    constants = {
        "multiplier": np.full(4, 2**31 - 1, np.int32),
        "offset": np.full(4, offset, np.int64),
        "shift": np.full(4, 62, np.int8),
    }
    operator = call("IntLayerNorm", ["x", *constants])
    model = model_of([operator], {"x": ("int16", ["batch", 1, 4])}, constants, ("y", "int8"))
    x = np.asarray([[[30000, 0, 0, 0]]], np.int16)
    return Example(model, {"x": x}, "the IntLayerNorm", "expected int64")


def norm_offset() -> Example:
    """An offset at the end of int64, to which a product is added."""
    return norm(2**63 - 1)


def replace_constant(example: Example, function: str, old: int, new: int) -> Example:
    """The example with one constant of a function's body replaced."""
    (body,) = (entry for entry in example.model.functions if entry.name == function)
    changed = 0
    for inner in body.node:
        for attribute in inner.attribute:
            if attribute.HasField("t") and numpy_helper.to_array(attribute.t).tolist() == old:
                attribute.t.CopyFrom(numpy_helper.from_array(np.asarray(new, np.int64), attribute.t.name))
                changed += 1
    assert changed
    return example


def norm_product() -> Example:
    """A body that takes 2^45 // root instead of 2^31 // root: its product with a multiplier leaves int64."""
    return replace_constant(norm(), "Normalized", 2**31, 2**45)


def exponential() -> Example:
    """A body whose shift is not limited: 2^(n - q) is beyond the table of powers."""
    model = model_of([call("ShiftGELU", ["x"], x0=-1, n=31)], {"x": ("int8", ["batch", 3])}, {}, ("y", "int16"))
    example = Example(model, {"x": np.full((1, 3), -128, np.int8)}, "the ShiftGELU", "index")
    return replace_constant(example, "ShiftExp", 32, 500)


def token_sum() -> Example:
    """70000 tokens of 16 bits added up in int32."""
    nodes = [node("Cast", ["x"], "wide", to=6), node("ReduceSum", ["wide", "axes"], "y", keepdims=0)]
    model = model_of(nodes, {"x": ("int16", ["batch", 70_000])}, {"axes": np.asarray([1])}, ("y", "int32"))
    return Example(model, {"x": np.full((1, 70_000), 32767, np.int16)}, "ReduceSum to y", "expected int32")


def residual() -> Example:
    """A residual connection that forgets to saturate."""
    nodes = [
        node("Cast", ["a"], "a32", to=6),
        node("Cast", ["b"], "b32", to=6),
        node("Add", ["a32", "b32"], "sum"),
        node("Cast", ["sum"], "y", to=5),
    ]
    model = model_of(nodes, {name: ("int16", ["batch", 1]) for name in "ab"}, {}, ("y", "int16"))
    inputs = {name: np.asarray([[20000]], np.int16) for name in "ab"}
    return Example(model, inputs, "Cast to y", "expected int16 -32768..32767, found -65536..65534")


def pixels() -> Example:
    """Pixels times a multiplier, added to an offset at the end of int64."""
    constants = {
        "multiplier": np.full(1, 2**31 - 1, np.int32),
        "offset": np.full(1, 2**63 - 1, np.int64),
        "shift": np.full(1, 40, np.int8),
    }
    operator = call("QuantizeImage", ["image", *constants])
    model = model_of([operator], {"image": ("uint8", ["batch", 1, 1, 1])}, constants, ("y", "int8"))
    return Example(model, {"image": np.full((1, 1, 1, 1), 255, np.uint8)}, "the QuantizeImage", "expected int64")


def negation() -> Example:
    """The least number has no opposite."""
    nodes = [node("Cast", ["x"], "wide", to=6), node("Neg", ["wide"], "minus"), node("Cast", ["minus"], "y", to=3)]
    model = model_of(nodes, {"x": ("int8", ["batch", 1])}, {}, ("y", "int8"))
    return Example(model, {"x": np.asarray([[-128]], np.int8)}, "Cast to y", "found -127..128")


EXAMPLES = (
    *(accumulator, bias, attention, no_shift, long_shift, wide_product, norm_offset, norm_product, exponential),
    *(token_sum, residual, pixels, negation),
)


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """Plain ONNX Runtime: the function bodies."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("make", EXAMPLES)
def test_overflow_is_caught(make: Callable[[], Example]) -> None:
    example = make()
    report = prove(example.model)
    assert not report.proven
    assert any(found.node == example.node and example.message in found.message for found in report.findings), report


@pytest.mark.parametrize("make", EXAMPLES)
def test_caught_models_really_go_wrong(make: Callable[[], Example]) -> None:
    """They give other numbers than exact arithmetic does, or stop with an error."""
    example = make()
    try:
        found = session(example.model).run(None, example.inputs)[0]
    except onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument:  # an index beyond the table of powers
        assert make in (long_shift, exponential)
        return
    meant = exact_outputs(example.model, example.inputs)["y"] if example.meant is None else example.meant
    assert (found.astype(object) != meant).any(), (found, meant)


def divisor(function: str = "") -> onnx.ModelProto:
    """Division by something that can be zero."""
    if function:
        return replace_constant(norm(), function, 65536, 512).model
    nodes = [node("Cast", ["x"], "wide", to=7), node("Div", ["hundred", "wide"], "y")]
    constants = {"hundred": np.asarray(100, np.int64)}
    return model_of(nodes, {"x": ("int16", ["batch", 1, 4])}, constants, ("y", "int64"))


CRASH = """
import sys
import numpy as np
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
print(session.run(None, {"x": np.full((1, 1, 4), int(sys.argv[2]), np.int16)})[0].dtype, flush=True)
"""


@pytest.mark.parametrize("function", ["", "Normalized"], ids=["input", "square root from 512"])
def test_division_by_zero(function: str, tmp_path: Path) -> None:
    """Caught; in a process of its own, which some versions of ONNX Runtime end. Rows of equal values have the variance
    0, and ten Newton steps from 512 then end at 0."""
    model = divisor(function)
    report = prove(model)
    assert any("the divisor can be 0: it is in" in found.message for found in report.findings), report.findings
    onnx.save(model, tmp_path / "model.onnx")
    command = [sys.executable, "-c", CRASH, str(tmp_path / "model.onnx"), "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0, done
    assert done.returncode < 0 or "division by zero" in done.stderr
    assert "int" not in done.stdout


def test_models_at_the_edge_are_proven() -> None:
    """What overflows by a little is caught; what just fits is not."""
    headroom = 2**31 - 1 - (255 + 128) * 128
    assert prove(linear(1, headroom).model).proven
    assert not prove(linear(1, headroom + 1).model).proven
    assert prove(requantize(1).model).proven
    assert prove(requantize(62).model).proven
    assert prove(norm(2**62).model).proven
    assert prove(norm(-(2**62)).model).proven


def test_fewer_tokens_or_a_smaller_n_fit() -> None:
    """The sum of the exponentials stays below 2^31, or saturates without harm."""
    example = attention()
    (operator,) = example.model.graph.node
    for attribute in operator.attribute:
        if attribute.name == "n":
            attribute.i = 1
    assert prove(example.model).proven
    for attribute in operator.attribute:
        if attribute.name == "n":
            attribute.i = 11
    example.model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 500
    assert prove(example.model).proven
