"""The GPU's kernels against the numpy references: on the emulator everywhere, on a GPU where there is one.

Both run through libraries whose operators belong to the CPU provider and copy data to the device and back, so that any
ONNX Runtime will do. `make test` builds the one, `make gpu` the other.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import Case, activations, odd_cases, random_case
from cases.int_attention import attention_case
from cases.int_deferred_attention import deferred_case, deferred_in_windows
from cases.int_window_attention import window_case
from graphs import single_operator_model
from ivit_onnx.opset import OPERATORS
from sessions import assert_equal, expected, run, session

SEEDS = st.integers(0, 2**32 - 1)

# Where `make test` says it has built them.
LIBRARIES = {"emulator": "IVIT_EMULATED_LIBRARY", "gpu": "IVIT_STAGED_LIBRARY"}


@pytest.fixture(scope="module", params=["emulator", pytest.param("gpu", marks=pytest.mark.gpu)])
def library(request: pytest.FixtureRequest) -> str:
    """Path of the library under test."""
    path = os.environ.get(LIBRARIES[request.param], "")
    if not Path(path).is_file():
        how = "make test builds it" if request.param == "emulator" else "it needs an NVIDIA GPU; see docs/gpu.md"
        pytest.skip(f"{LIBRARIES[request.param]} names no library: {how}")
    if ctypes.CDLL(path).ivit_gpu_count() == 0:
        pytest.skip("there is no NVIDIA GPU, or no driver for it")
    return path


@pytest.mark.parametrize("extreme", [False, True], ids=["normal", "extreme"])
@pytest.mark.parametrize("operator", OPERATORS)
@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, constants=st.booleans(), size=st.sampled_from([1, 1, 3]))
def test_kernel_equals_reference(
    library: str, operator: str, extreme: bool, seed: int, constants: bool, size: int
) -> None:
    case = random_case(operator, np.random.default_rng(seed), extreme=extreme, size=size)
    model = single_operator_model(case, constants=constants, functions=False)
    assert_equal(run(session(model, library=library), case), expected(case))


@pytest.mark.slow
def test_kernels_equal_references_at_odd_shapes(library: str) -> None:
    for case in odd_cases(np.random.default_rng(2024)):
        model = single_operator_model(case, constants=True, functions=False)
        shapes = {name: array.shape for name, array in case.inputs.items()}
        try:
            assert_equal(run(session(model, library=library), case), expected(case))
        except AssertionError as error:
            raise AssertionError(f"{case.operator} {case.attributes} {shapes}") from error


@pytest.mark.parametrize("operator", OPERATORS)
def test_empty_batch(library: str, operator: str) -> None:
    case = random_case(operator, np.random.default_rng(2))
    model = single_operator_model(case, constants=True, functions=False)
    wanted = expected(case)
    for name in activations(operator):
        case.inputs[name] = case.inputs[name][:0]
    empty = tuple(w[:0] for w in wanted) if isinstance(wanted, tuple) else wanted[:0]
    assert_equal(run(session(model, library=library), case), empty)


def large_cases() -> dict[str, Case]:
    """More tokens that attend to each other than a block's shared memory has scores for, on any GPU."""
    rng = np.random.default_rng(3)
    deferred = deferred_case(rng, 1, 100_000, 1, 1, 128)
    one_token = deferred_case(rng, 1, 1, 1, 1, 128)
    softmax = {"frac_bits": 8, "x0": -20, "n": 15}
    return {
        "bytes": attention_case(rng, 1, 300_000, 1, 1, **softmax),
        "two-bytes": attention_case(rng, 1, 300_000, 1, 1, **{**softmax, "frac_bits": 15}),
        "windows": window_case(rng, (1, 1), 128, 0, 1, 1, **softmax),
        "deferred": deferred,
        "deferred-windows": deferred_in_windows(rng, one_token, 1, 1, 128, 0),
    }


@pytest.mark.parametrize("name", ["bytes", "two-bytes", "windows", "deferred", "deferred-windows"])
def test_too_many_tokens_are_an_error(library: str, name: str) -> None:
    case = large_cases()[name]
    found = case.attributes.get("window", 0) ** 2 or case.inputs["qkv"].shape[1]
    message = rf"{case.operator}: tokens that attend .*: expected at most \d+ on this GPU, found {found}"
    with pytest.raises(Exception, match=message):
        run(session(single_operator_model(case, constants=True, functions=False), library=library), case)
