"""The function bodies against the numpy references, in ONNX Runtime without our library and in onnx.reference."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from cases import random_case
from graphs import single_operator_model
from ivit_onnx import opset
from ivit_onnx.opset import DOMAIN, OPERATORS, function_protos
from sessions import assert_equal, expected, run, session

SEEDS = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("extreme", [False, True], ids=["normal", "extreme"])
@pytest.mark.parametrize("operator", OPERATORS)
class TestFunctionBody:
    @settings(max_examples=10, deadline=None)
    @given(seed=SEEDS)
    def test_in_onnxruntime(self, operator: str, extreme: bool, seed: int) -> None:
        case = random_case(operator, np.random.default_rng(seed), extreme=extreme)
        assert_equal(run(session(single_operator_model(case), kernels=False), case), expected(case))

    @settings(max_examples=5, deadline=None)
    @given(seed=SEEDS)
    def test_in_the_reference_evaluator(self, operator: str, extreme: bool, seed: int) -> None:
        case = random_case(operator, np.random.default_rng(seed), extreme=extreme)
        outputs = ReferenceEvaluator(single_operator_model(case)).run(None, case.inputs)
        assert_equal(outputs[0] if len(outputs) == 1 else tuple(outputs), expected(case))


@pytest.mark.parametrize("operator", OPERATORS)
def test_model_passes_the_checker(operator: str) -> None:
    model = single_operator_model(random_case(operator, np.random.default_rng(0)))
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda operator: operator.name)
def test_reference_has_the_declared_type_and_rank(operator) -> None:
    case = random_case(operator.name, np.random.default_rng(0))
    result = expected(case)
    results = result if isinstance(result, tuple) else (result,)
    assert [array.dtype for array in results] == [np.dtype(tensor.dtype) for tensor in operator.outputs]
    for tensor in operator.inputs:
        assert case.inputs[tensor.name].dtype == np.dtype(tensor.dtype)
    assert [value.name for value in single_operator_model(case).graph.output] == [
        tensor.name for tensor in operator.outputs
    ]


def test_functions_have_no_float_anywhere() -> None:
    """Neither casts to nor constants of a floating-point type."""
    floats = {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.DOUBLE,
        onnx.TensorProto.BFLOAT16,
    }
    for function in function_protos():
        for node in function.node:
            for attribute in node.attribute:
                assert attribute.type not in (onnx.AttributeProto.FLOAT, onnx.AttributeProto.FLOATS), function.name
                assert attribute.t.data_type not in floats, function.name
                assert not (node.op_type == "Cast" and attribute.name == "to" and attribute.i in floats), function.name


def test_two_operators_of_a_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opset.table_gelu, "OPERATORS", opset.shift_gelu.OPERATORS)
    with pytest.raises(ValueError, match="expected one operator of a name, found several of ShiftGELU"):
        opset._operators()


def test_functions_come_after_those_they_call() -> None:
    defined: set[str] = set()
    for function in function_protos():
        called = {node.op_type for node in function.node if node.domain == DOMAIN}
        assert called <= defined, f"{function.name} calls {called - defined}, defined later"
        defined.add(function.name)
    assert set(OPERATORS) <= defined
