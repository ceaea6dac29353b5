"""The native CPU kernels against the numpy references: exact equality, whatever the shapes, values and threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import Case, activations, random_case
from deit_cases import deit_case
from drawing import integers
from graphs import single_operator_model
from ivit_onnx.bench.machine import cpu_variants
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


@pytest.mark.parametrize(
    "operator", ["IntPatchEmbed", "IntLayerNorm", "IntLinear", "IntAttention", "IntLinearAdd", "IntMlpAdd"]
)
def test_kernel_equals_reference_at_full_size(operator: str) -> None:
    case = deit_case(operator, np.random.default_rng(7), batch=2)
    wanted = expected(case)
    for threads in (1, 2):
        model = single_operator_model(case, constants=True, functions=False)
        assert_equal(run(session(model, threads=threads), case), wanted)


def check_variant(variant: str) -> subprocess.CompletedProcess[str]:
    """Runs variant_check.py with that variant forced."""
    folder = Path(__file__).parent
    # The helpers of the tests are named, because PYTHONSAFEPATH keeps a script's folder out of the path.
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "IVIT_CPU": variant, "PYTHONPATH": path}
    command = [sys.executable, str(folder / "variant_check.py"), variant]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("variant", cpu_variants())
def test_variant_equals_reference(variant: str) -> None:
    """Every variant that this machine can run, in a process of its own: a variant is chosen once per process."""
    result = check_variant(variant)
    assert result.returncode == 0, result.stdout + result.stderr


def test_unknown_variant_lists_the_available_ones() -> None:
    result = check_variant("abacus")
    assert result.returncode != 0
    assert f"IVIT_CPU=abacus is not available on this machine; available: {', '.join(cpu_variants())}" in result.stderr


def test_mlp_takes_more_rows_than_one_block() -> None:
    """IntMlpAdd goes through its rows in blocks; the last block is not full."""
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
    for name in activations(operator):
        case.inputs[name] = case.inputs[name][:0]
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


@pytest.mark.parametrize("operator", ["IntLayerNorm", "IntLayerNorm16"])
@pytest.mark.parametrize("channels", [65535, 65536, 65537, 70001, 2**18 + 1])
def test_rows_of_more_channels_than_32_bits_can_add_up(operator: str, channels: int) -> None:
    x = np.full((1, 2, channels), -32768, np.int16)
    x[0, 1] = 32767
    x[..., :5] = [0, 7, -30000, 30000, 1]
    constants = {"multiplier": np.full(channels, 2**30, np.int32), "offset": np.zeros(channels, np.int64)}
    case = Case(operator, {"x": x, **constants, "shift": np.full(channels, 45, np.int8)}, {})
    assert_equal(run(session(single_operator_model(case, functions=False)), case), expected(case))
