"""The PyTorch operators give the integers of the numpy reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cases import random_case
from ivit_onnx.opset import OPERATORS
from ivit_onnx.opset.arithmetic import MATMUL
from ivit_onnx.quant import nonlinear, operators


def test_an_operator_without_a_torch_implementation_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where another operator calls it."""
    for missing, name, callers in (
        ("ShiftGELU", "ShiftGELU", ("ShiftGELU", "IntMlpAddNorm")),
        (MATMUL, "matmul", ("IntLinear", "IntAttention")),
    ):
        monkeypatch.delitem(operators._own(), missing)
        for caller in callers:
            with pytest.raises(NotImplementedError, match=f"{name}: expected an implementation in PyTorch, found none"):
                operators.implementation(OPERATORS[caller])


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("name", OPERATORS)
def test_torch_equals_reference(name: str, extreme: bool) -> None:
    spec = OPERATORS[name]
    for seed in range(40):
        case = random_case(name, np.random.default_rng(seed), extreme=extreme)
        expected = spec.reference(*(case.inputs[t.name] for t in spec.inputs), **case.attributes)
        inputs = (torch.from_numpy(np.ascontiguousarray(case.inputs[t.name])) for t in spec.inputs)
        found = operators.operator(name)(*inputs, **case.attributes)
        pairs = zip(found, expected, strict=True) if isinstance(expected, tuple) else [(found, expected)]
        for one, other in pairs:
            np.testing.assert_array_equal(one.numpy(), other.astype(np.int64), err_msg=f"seed {seed}")


@pytest.mark.parametrize("x0", [-1, -20, -400])
def test_looked_up_values_equal_the_reference(x0: int) -> None:
    x = np.random.default_rng(0).integers(-128, 128, (4, 2**16), dtype=np.int8)
    x[0], x[1, 1:], x[1, 0] = -128, -128, 127
    assert x.size >= nonlinear._MANY
    found = nonlinear.shift_gelu(torch.from_numpy(x), x0=x0, n=16)
    np.testing.assert_array_equal(found.numpy(), OPERATORS["ShiftGELU"].reference(x, x0=x0, n=16))


def test_two_implementations_of_an_operator_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = {"ShiftGELU": nonlinear.shift_gelu}
    monkeypatch.setattr("ivit_onnx.quant.tables.IMPLEMENTATIONS", twice, raising=False)
    with pytest.raises(ValueError, match=r"tables: expected ShiftGELU to be implemented once, found it in two modules"):
        operators._own.__wrapped__()
