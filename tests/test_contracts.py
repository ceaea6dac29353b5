"""The operators' contracts: the records agree with what operators do, and the C++ header with the records."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from cases import random_case
from ivit_onnx.opset import OPERATORS, Role
from ivit_onnx.opset._shapes import evaluate, forms, parse, tree
from ivit_onnx.opset._spec import Operator
from ivit_onnx.opset.generators import contracts

HEADER = Path(__file__).parents[1] / "custom_ops" / "ort" / "contracts.h"


def test_header_is_current(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert contracts.main(["--check", "-o", str(HEADER)]) == 0
    copy = tmp_path / "contracts.h"
    assert contracts.main(["-o", str(copy)]) == 0
    assert copy.read_text() == HEADER.read_text()
    copy.write_text(HEADER.read_text().replace("{1, 62}", "{1, 61}", 1))
    assert contracts.main(["--check", "-o", str(copy)]) == 1
    assert "out of date: run python -m ivit_onnx.opset.generators.contracts" in capsys.readouterr().err


def dimensions(operator: Operator, inputs: dict[str, np.ndarray], attributes: dict[str, int]) -> dict[str, int]:
    """The letters of the inputs' shapes, and what stands for attributes."""
    found = {attribute.symbol or attribute.name: attributes[attribute.name] for attribute in operator.attributes}
    for tensor in operator.inputs:
        shape, array = parse(tensor.shape), inputs[tensor.name]
        if shape.or_scalar and array.ndim == 0:
            continue
        leading = array.ndim - len(shape.axes)
        assert leading >= 0 if shape.leading else leading == 0, tensor
        for axis, dim in zip(shape.axes, array.shape[leading:], strict=True):
            if axis not in forms(operator):
                assert found.setdefault(axis, dim) == dim, tensor
    return found


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("seed", range(5))
def test_records_describe_calls(name: str, seed: int) -> None:
    """Types, shapes, values and limits of valid calls, and of what the reference returns, are those of the record."""
    operator = OPERATORS[name]
    case = random_case(name, np.random.default_rng(seed), size=3)
    values = dimensions(operator, case.inputs, case.attributes)
    if operator.attributes and "heads" in case.attributes:
        packed = case.inputs["qkv"].shape[-1]
        assert values.setdefault("C", packed // 3) * 3 == packed
    results = operator.reference(*(case.inputs[tensor.name] for tensor in operator.inputs), **case.attributes)
    results = results if isinstance(results, tuple) else (results,)
    named = [(tensor, case.inputs[tensor.name]) for tensor in operator.inputs]
    named += list(zip(operator.outputs, results, strict=True))
    for tensor, array in named:
        shape = parse(tensor.shape)
        assert array.dtype == tensor.dtype
        if tensor.values is not None:
            assert tensor.values[0] <= array.min()
            assert array.max() <= tensor.values[1]
        if array.ndim or not shape.or_scalar:
            expected = [evaluate(axis, values) for axis in shape.axes]
            assert list(array.shape[array.ndim - len(expected) :]) == expected, (tensor, values)
    for limit in operator.limits:
        size = evaluate(limit.form, values)
        assert size is not None
        assert limit.minimum <= size <= limit.maximum


@pytest.mark.parametrize("name", OPERATORS)
def test_records_name_what_functions_take(name: str) -> None:
    operator = OPERATORS[name]
    proto = operator.function.to_function_proto()
    assert [tensor.name for tensor in operator.inputs] == list(proto.input)
    assert [attribute.name for attribute in operator.attributes] == list(proto.attribute)
    assert len(operator.outputs) == len(proto.output)
    others = {other.name for other in operator.attributes}
    for attribute in operator.attributes:
        assert not attribute.below or attribute.below in others


def test_weights_of_linear_layers_are_packed() -> None:
    for operator in OPERATORS.values():
        packed = [tensor.name for tensor in operator.inputs if tensor.role is Role.PACKED]
        assert packed == [layer[0].name for layer in operator.groups("Linear")]


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("256", 256),
        ("C", 6),
        ("3*C", 18),
        ("C*P*P", 96),
        ("H/P * W/P", 15),
        ("K + H/P * W/P", 17),
        ("(2*window-1)^2", 25),
        ("ceil(H/8) * ceil(W/8)", 6),
        ("H/7", None),
        ("unknown + 1", None),
    ],
)
def test_forms_of_dimensions(form: str, value: int | None) -> None:
    values = {"C": 6, "P": 4, "H": 12, "W": 20, "K": 2, "window": 3}
    assert evaluate(form, values) == value


@pytest.mark.parametrize("text", ["N, C", "[N, C", "[N, 3*]", "[N,, C]", "[]x"])
def test_what_is_no_shape(text: str) -> None:
    with pytest.raises(ValueError, match=r"(shape|dimension) .*: expected "):
        parse(text)


def test_forms_stand_before_those_that_contain_them() -> None:
    for operator in OPERATORS.values():
        texts = [ast.dump(tree(form)) for form in forms(operator)]
        for index, text in enumerate(texts):
            assert not any(other in text for other in texts[index + 1 :])
