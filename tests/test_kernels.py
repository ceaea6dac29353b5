"""The native CPU kernels against the numpy references: exact equality, whatever the shapes, values and threads."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import Array, Case, dyadic, exp_attributes, integers, random_case
from graphs import single_operator_model
from ivit_onnx.opset import OPERATORS
from sessions import assert_equal, expected, run, session

SEEDS = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("extreme", [False, True], ids=["normal", "extreme"])
@pytest.mark.parametrize("operator", OPERATORS)
@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, constants=st.booleans(), threads=st.sampled_from([1, 2]), size=st.sampled_from([1, 1, 3]))
def test_kernel_equals_reference(
    operator: str, extreme: bool, seed: int, constants: bool, threads: int, size: int
) -> None:
    case = random_case(operator, np.random.default_rng(seed), extreme=extreme, size=size)
    model = single_operator_model(case, constants=constants, functions=False)
    assert_equal(run(session(model, threads=threads), case), expected(case))


def linear_inputs(rng: np.random.Generator, prefix: str, k: int, n: int, target: int = 128) -> dict[str, Array]:
    m, e = dyadic(rng, (n,), 5000 * k**0.5 * 128 / target, False)
    return {
        f"{prefix}weight": integers(rng, (k, n), np.int8, False),
        f"{prefix}bias": rng.integers(-(2**20), 2**20, n).astype(np.int32),
        f"{prefix}multiplier": m,
        f"{prefix}shift": e,
    }


def residual_inputs(rng: np.random.Generator) -> dict[str, Array]:
    bm, be = dyadic(rng, (), 128, False, negative=False)
    rm, re = dyadic(rng, (), 128, False, negative=False)
    return {"branch_multiplier": bm, "branch_shift": be, "residual_multiplier": rm, "residual_shift": re}


def deit_case(operator: str, rng: np.random.Generator, batch: int) -> Case:
    """A call with the dimensions of DeiT-tiny at 224 pixels, larger than any block or tile of the kernels."""
    tokens, channels, hidden, heads = 197, 192, 768, 3
    stream = integers(rng, (batch, tokens, channels), np.int16, False)
    x = integers(rng, (batch, tokens, channels), np.int8, False)
    if operator == "IntLinear":
        return Case(operator, {"x": x, **linear_inputs(rng, "", channels, 3 * channels)}, {})
    if operator == "IntLinearAdd":
        linear = linear_inputs(rng, "", channels, channels, target=32768)
        return Case(operator, {"x": x, "residual": stream, **linear, **residual_inputs(rng)}, {})
    if operator == "IntLayerNorm":
        m, e = dyadic(rng, (channels,), 2**30 / channels**0.5, False)
        offset = rng.integers(-(2**36), 2**36, channels)
        return Case(operator, {"x": stream, "multiplier": m, "offset": offset, "shift": e}, {})
    if operator == "IntAttention":
        qkv = integers(rng, (batch, tokens, 3 * channels), np.int8, False)
        sm, se = dyadic(rng, (), 5000 * 64**0.5, False)
        cm, ce = dyadic(rng, (channels,), 2**15 * 8, False)
        scales = {"score_multiplier": sm, "score_shift": se, "context_multiplier": cm, "context_shift": ce}
        return Case(operator, {"qkv": qkv, **scales}, {"heads": heads, "frac_bits": 15, **exp_attributes(rng, False)})
    if operator == "IntMlpAdd":
        gm, ge = dyadic(rng, (), 2**14, False)
        inputs = {
            "x": x,
            "residual": stream,
            **linear_inputs(rng, "fc1_", channels, hidden),
            "gelu_multiplier": gm,
            "gelu_shift": ge,
            **linear_inputs(rng, "fc2_", hidden, channels, target=32768),
            **residual_inputs(rng),
        }
        return Case(operator, inputs, exp_attributes(rng, False))
    tm, te = dyadic(rng, (), 128, False, negative=False)
    inputs = {
        "image": integers(rng, (batch, 3, 224, 224), np.int8, False),
        **linear_inputs(rng, "", 3 * 16 * 16, channels, target=32768),
        "token_multiplier": tm,
        "token_shift": te,
        "position": rng.integers(-(2**15), 2**15, (196, channels)).astype(np.int32),
        "prefix_tokens": integers(rng, (1, channels), np.int16, False),
    }
    return Case("IntPatchEmbed", inputs, {"patch_size": 16})


@pytest.mark.parametrize(
    "operator", ["IntPatchEmbed", "IntLayerNorm", "IntLinear", "IntAttention", "IntLinearAdd", "IntMlpAdd"]
)
def test_kernel_equals_reference_at_full_size(operator: str) -> None:
    case = deit_case(operator, np.random.default_rng(7), batch=2)
    wanted = expected(case)
    for threads in (1, 2):
        model = single_operator_model(case, constants=True, functions=False)
        assert_equal(run(session(model, threads=threads), case), wanted)


def test_mlp_takes_more_rows_than_one_block() -> None:
    """IntMlpAdd goes through its rows in blocks of 1024; the last block is not full."""
    rng = np.random.default_rng(0)
    case = random_case("IntMlpAdd", rng)
    channels = case.inputs["x"].shape[-1]
    case.inputs["x"] = integers(rng, (3, 700, channels), np.int8, False)
    case.inputs["residual"] = integers(rng, (3, 700, channels), np.int16, False)
    model = single_operator_model(case, functions=False)
    assert_equal(run(session(model, threads=2), case), expected(case))


def test_linear_wraps_like_the_function_body() -> None:
    """A bias that takes the sum out of int32 is outside the contract; kernel and body still agree."""
    case = random_case("IntLinear32", np.random.default_rng(3))
    case.inputs["bias"] = np.full_like(case.inputs["bias"], 2**31 - 1)
    case.inputs["x"] = np.abs(case.inputs["x"] | 1)
    case.inputs["weight"] = np.full_like(case.inputs["weight"], 100)
    model = single_operator_model(case)
    assert_equal(run(session(model), case), run(session(model, kernels=False), case))


@pytest.mark.parametrize("operator", OPERATORS)
def test_kernel_replaces_the_function_body(operator: str, tmp_path: Path) -> None:
    """With the function in the file and a kernel registered, the profile shows one node: the operator itself."""
    case = random_case(operator, np.random.default_rng(1))
    profiled = session(
        single_operator_model(case), enable_profiling=True, profile_file_prefix=str(tmp_path / "profile")
    )
    run(profiled, case)
    events = json.loads(Path(profiled.end_profiling()).read_text())
    nodes = {event["args"]["op_name"] for event in events if event.get("cat") == "Node"}
    assert nodes == {operator}


@pytest.mark.parametrize("operator", OPERATORS)
def test_without_library_and_functions_there_is_no_operator(operator: str) -> None:
    model = single_operator_model(random_case(operator, np.random.default_rng(1)), functions=False)
    with pytest.raises(Exception, match=operator):
        session(model, kernels=False)


@pytest.mark.parametrize("constants", [False, True], ids=["inputs", "initializers"])
@pytest.mark.parametrize("operator", OPERATORS)
def test_empty_batch(operator: str, constants: bool) -> None:
    case = random_case(operator, np.random.default_rng(2))
    model = single_operator_model(case, constants=constants, functions=False)
    wanted = expected(case)
    for tensor in OPERATORS[operator].inputs:
        if tensor.name in ("x", "a", "b", "image", "qkv", "residual"):
            case.inputs[tensor.name] = case.inputs[tensor.name][:0]
    assert_equal(run(session(model), case), tuple(w[:0] for w in wanted) if isinstance(wanted, tuple) else wanted[:0])


def test_no_tokens() -> None:
    rng = np.random.default_rng(4)
    for operator in ("IntAttention", "IntLayerNorm", "Shiftmax", "ShiftGELU", "IntLinear", "IntMlpAdd"):
        case = random_case(operator, rng)
        model = single_operator_model(case, functions=False)
        for name in ("x", "qkv", "residual"):
            if name in case.inputs:
                case.inputs[name] = case.inputs[name][:, :0]
        assert run(session(model), case).shape[:2] == (len(next(iter(case.inputs.values()))), 0)


def test_linear_without_inputs_is_its_bias() -> None:
    case = random_case("IntLinear", np.random.default_rng(5))
    case.inputs["x"] = case.inputs["x"][..., :0]
    case.inputs["weight"] = case.inputs["weight"][:0]
    assert_equal(run(session(single_operator_model(case, functions=False)), case), expected(case))


def test_one_session_serves_several_threads() -> None:
    rng = np.random.default_rng(6)
    first = random_case("IntMlpAdd", rng, size=4)
    model = session(single_operator_model(first, constants=True, functions=False), threads=2)
    rows, channels = first.inputs["x"].shape[1:]
    cases = []
    for _ in range(16):
        data = {
            "x": integers(rng, (3, rows, channels), np.int8, False),
            "residual": integers(rng, (3, rows, channels), np.int16, False),
        }
        cases.append(Case(first.operator, {**first.inputs, **data}, first.attributes))
    with ThreadPoolExecutor(4) as pool:
        for case, actual in zip(cases, pool.map(lambda case: run(model, case), cases), strict=True):
            assert_equal(actual, expected(case))


@pytest.mark.parametrize("operator", OPERATORS)
def test_shapes_flow_without_functions(operator: str) -> None:
    """The runtime knows the output shape before it runs: numbers where they are known, names where they are not."""
    case = random_case(operator, np.random.default_rng(8))
    model = single_operator_model(case, constants=True, functions=False)
    for value in model.graph.input:
        array = case.inputs[value.name]
        dimensions = ["batch", *array.shape[1:]]
        value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, dimensions))
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    wanted = expected(case)
    shapes = [["batch", *array.shape[1:]] for array in (wanted if isinstance(wanted, tuple) else (wanted,))]
    assert [output.shape for output in session(model).get_outputs()] == shapes
