"""Scales of tokens: the ladder, the choice, zero points, the branch, and whole networks by all implementations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ivit_onnx
from ivit_onnx.api import export, load_twin, read_metadata
from ivit_onnx.errors import CalibrationError
from ivit_onnx.opset import OPERATORS
from ivit_onnx.proof import prove
from ivit_onnx.quant.modules import ACTIVATIONS, MlpAdd
from ivit_onnx.quant.tables import function_values, gelu_table, gelu_tables
from ivit_onnx.quant.tensors import QuantTensor
from ivit_onnx.quant.token_mlp import SCALES, SPAN, token_scales
from ivit_onnx.verification import verify
from networks import images, pixels, save_checkpoint, timm_network, uncalibrated_twin

Array = np.ndarray[Any, Any]

SCALE = st.floats(2.0**-8, 2.0**-2).map(lambda scale: float(np.float32(scale)))
ZERO = st.integers(-128, 100)


def mlp_of(seed: int, act: str = "gelu", *, spread: float = 4.0) -> tuple[MlpAdd, Array]:
    """A network with tables and ranges of some rows [512, 48] of its hidden values, a few of them far larger."""
    rng = np.random.default_rng(seed)
    mlp = MlpAdd(24, 48, act)
    mlp.path = "mlp"
    mlp.set_nonlinear("table")
    rows = rng.normal(size=(512, 48)) * np.exp(rng.normal(size=(512, 1)) * np.log(spread) / 2)
    with torch.no_grad():
        for parameter in mlp.parameters():
            parameter.copy_(torch.from_numpy(rng.normal(size=tuple(parameter.shape)) / 7))
        hidden = torch.from_numpy(rows.astype(np.float32))
        activated = mlp.act(hidden)
        branch = torch.nn.functional.linear(activated, mlp.fc2.weight, mlp.fc2.bias)
    mlp.hidden.set_bounds(max(float(hidden.min()), -4.0), float(hidden.max()))
    mlp.activated.set_bounds(float(activated.min()), float(activated.max()))
    mlp.branch.set_range(1.25 * float(branch.abs().max()))
    mlp.output.set_range(1.5 * float(branch.abs().max()))
    return mlp.eval(), rows.astype(np.float32)


def inputs_of(seed: int) -> tuple[QuantTensor, QuantTensor]:
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.integers(-100, 100, (2, 9, 24)) // rng.integers(1, 30, (2, 9, 1)))
    residual = torch.from_numpy(rng.integers(-(2**12), 2**12, (2, 9, 24)))
    return QuantTensor(x, torch.tensor(0.05)), QuantTensor(residual, torch.tensor(2.0**-10))


# The scales.


@settings(deadline=None, max_examples=60)
@given(s_x=SCALE, zero_x=ZERO, s_0=SCALE, zero_0=ZERO, count=st.integers(1, 64), act=st.sampled_from([*ACTIVATIONS]))
def test_the_ladder(s_x: float, zero_x: int, s_0: float, zero_0: int, count: int, act: str) -> None:
    """Falling scales, zero points in int8, every scale chosen, and none beyond the ladder."""
    tokens = token_scales(act, s_x, zero_x, s_0, zero_0, count)
    number = len(tokens.scales)
    assert 1 <= number <= count
    assert (np.diff(tokens.scales) < 0).all()
    assert tokens.zeros.min() >= -128
    assert tokens.zeros.max() <= 127
    np.testing.assert_array_equal(np.unique(tokens.of_largest), np.arange(number))
    steps = np.log(tokens.ratios) / np.log(SPAN) * (SCALES - 1)
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)
    assert steps.min() >= -(count - 1) - 1e-4
    # One scale is that of the tensor.
    if count == 1:
        assert (float(tokens.scales[0]), int(tokens.zeros[0])) == (s_0, zero_0)


@settings(deadline=None, max_examples=60)
@given(s_x=SCALE, zero_x=ZERO, s_0=SCALE, act=st.sampled_from([*ACTIVATIONS]))
def test_a_token_has_the_smallest_scale_that_holds_it(s_x: float, zero_x: int, s_0: float, act: str) -> None:
    """Its results are represented within half a step, wherever the range of the tensor holds them."""
    values = function_values(act, np.float32(s_x), zero_x)
    zero_0 = min(max(int(np.ceil(-min(values.min(), 0) / s_0)), 0), 255) - 128
    tokens = token_scales(act, s_x, zero_x, s_0, zero_0, SCALES)
    for v in range(-128, 128):
        i = int(tokens.of([v])[0])
        results = np.clip(values[: v + 129], zero_0 * s_0 - 128 * s_0, (127 - zero_0) * s_0)
        low, high = (-128 - tokens.zeros) * tokens.scales, (127 - tokens.zeros) * tokens.scales
        if values[: v + 129].max() <= high[0]:
            assert results.max() <= high[i] + 0.5001 * tokens.scales[i]
        if i + 1 < len(tokens.scales) and values[: v + 129].max() <= high[0]:
            assert results.max() > high[i + 1]
        assert results.min() >= low[i] - 0.5001 * max(tokens.scales[i], s_0)


@settings(deadline=None, max_examples=20)
@given(s_x=SCALE, zero_x=ZERO, s_0=SCALE, zero_0=ZERO, act=st.sampled_from([*ACTIVATIONS]))
def test_tables_are_those_of_one_scale(s_x: float, zero_x: int, s_0: float, zero_0: int, act: str) -> None:
    tokens = token_scales(act, s_x, zero_x, s_0, zero_0, SCALES)
    tables = gelu_tables(act, np.float32(s_x), list(tokens.scales), zero_x, tokens.zeros.tolist())
    assert tables.dtype == np.int8
    for table, scale, zero in zip(tables[::5], tokens.scales[::5], tokens.zeros[::5], strict=True):
        np.testing.assert_array_equal(table, gelu_table(act, np.float32(s_x), scale, zero_x, int(zero)))
        assert table[zero_x + 128] == zero


def test_halves_are_rounded_exactly() -> None:
    """quick_gelu of a large argument is that itself; quotients are halves."""
    scales = [np.float32(64.0), np.float32(128.0)]
    tables = gelu_tables("quick_gelu", np.float32(64.0), scales, 0, [0, -100])
    np.testing.assert_array_equal(tables[1], gelu_table("quick_gelu", np.float32(64.0), np.float32(128.0), 0, -100))


# One feed-forward network.


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), act=st.sampled_from([*ACTIVATIONS]))
def test_the_operator_computes_what_training_does(seed: int, act: str) -> None:
    """Within a hundredth: the integers of the bias are rounded, and float32 rounds halves as it likes."""
    mlp, rows = mlp_of(seed, act)
    mlp.fit_branch(rows)
    assert mlp.token_scales > 1
    x, residual = inputs_of(seed)
    with torch.no_grad():
        integers = mlp(x, residual)
        simulated = mlp.train()(*(QuantTensor(v.value * v.scale, v.scale) for v in (x, residual)))
    found = integers.value * integers.scale
    assert (found - simulated.value).norm() < 1e-2 * simulated.value.norm()
    lowered = mlp.lower(np.float32(x.scale), np.float32(residual.scale))
    assert lowered.operator == "IntTokenMlpAdd"
    operator = OPERATORS[lowered.operator]
    data = {"x": x.value.numpy().astype(np.int8), "residual": residual.value.numpy().astype(np.int16)}
    reference = operator.reference(*(({**data, **lowered.constants})[t.name] for t in operator.inputs))
    np.testing.assert_array_equal(reference, integers.value.numpy())


def test_one_scale_is_the_operator_of_before() -> None:
    """The same integers, by either operator."""
    mlp, _ = mlp_of(1)
    x, residual = inputs_of(1)
    found = []
    for count, operator in ((0, "IntTableMlpAdd"), (1, "IntTokenMlpAdd")):
        mlp.token_scales.fill_(count)
        assert mlp.lower(np.float32(x.scale), np.float32(residual.scale)).operator == operator
        found.append(mlp(x, residual).value)
    assert torch.equal(*found)


def test_small_tokens_gain() -> None:
    """Beside large ones: of the branch, many decibels."""
    mlp, rows = mlp_of(2, spread=30.0)
    mlp.token_scales.zero_()
    x, residual = inputs_of(2)
    small = QuantTensor(x.value.clamp(-3, 3), x.scale)
    with torch.no_grad():
        mlp.quantized = False
        for point in (mlp.hidden, mlp.activated, mlp.branch, mlp.output):
            point.quantized = False
        real = mlp.simulate(*(QuantTensor(v.value * v.scale, v.scale) for v in (small, residual))).value
        mlp.quantized = True
        errors = []
        for count in (0, SCALES):
            mlp.token_scales.fill_(count)
            if count:
                mlp.fit_branch(rows)
            y = mlp(small, residual)
            errors.append(float((y.value * y.scale - real).square().mean()))
    assert errors[1] < errors[0]


@pytest.mark.parametrize("seed", range(4))
def test_the_branch_does_not_saturate(seed: int) -> None:
    """Of other rows than those that its scale is from."""
    mlp, rows = mlp_of(seed, spread=20.0)
    mlp.fit_branch(rows[::4])
    tokens = mlp.scales_of_tokens()
    hidden = torch.from_numpy(rows)
    with torch.no_grad():
        branch = torch.nn.functional.linear(mlp.act(hidden), mlp.fc2.weight, mlp.fc2.bias).abs().amax(-1).numpy()
    chosen = tokens.of(mlp._integers(hidden.amax(-1)).numpy())
    assert (branch / tokens.ratios[chosen]).max() < float(mlp.branch.scale) * mlp.branch.levels


def test_a_branch_of_bias_alone_limits_the_ladder() -> None:
    """It is as large for small tokens as for large ones."""
    mlp, rows = mlp_of(3, spread=20.0)
    before = float(mlp.branch.scale)
    with torch.no_grad():
        mlp.fc2.weight.mul_(1e-3)
        mlp.fc2.bias.fill_(1.0)
    mlp.branch.set_range(1.25)
    mlp.output.set_range(10.0)
    before = float(mlp.branch.scale)
    mlp.fit_branch(rows)
    assert 1 < mlp.token_scales < SCALES
    assert before <= mlp.branch.scale <= max(2 * before, float(mlp.output.scale)) * 1.001
    mlp.fit_branch(rows[:0])
    assert mlp.token_scales == 0


def test_training_reaches_everything() -> None:
    mlp, rows = mlp_of(4)
    mlp.fit_branch(rows)
    mlp.hidden.learn()
    mlp.activated.learn()
    x, residual = (QuantTensor(v.value * v.scale, v.scale) for v in inputs_of(4))
    mlp.train()(x, residual).value.square().sum().backward()
    for name, parameter in mlp.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


# Whole networks.


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(timm_network(), tmp_path_factory.mktemp("checkpoint") / "vit.pt")


@pytest.mark.parametrize("flat", [False, True], ids=["hierarchical", "flat"])
def test_the_same_integers_everywhere(checkpoint: Path, tmp_path: Path, flat: bool) -> None:
    path = tmp_path / "m.onnx"
    export(checkpoint, path, calib=images(4), calib_preset="fast", nonlinear="table", num_heads=3, flat=flat)
    model = onnx.load(path)
    kinds = {node.op_type for node in model.graph.node}
    assert flat or {"IntTokenMlpAdd", "IntTokenMlpAddNorm"} <= kinds
    twin = load_twin(path, checkpoint)
    state = json.loads(read_metadata(path)["ivit.quantization"])
    assert twin.quantization_state() == state
    assert all(state[f"{mlp.name}.token_scales"] == mlp.module.token_scales for mlp in twin.sites().mlp)
    assert verify(path, checkpoint, count=2).passed
    assert prove(model).proven
    image = pixels(3)
    with torch.inference_mode():
        expected = twin(torch.from_numpy(image)).numpy()
    np.testing.assert_array_equal(
        ivit_onnx.create_session(path, kernels=False).run(None, {"image": image})[0], expected
    )


@pytest.mark.parametrize(
    ("nonlinear", "value", "most"),
    [("table", 65, 64), ("table", -1, 64), ("table", 0.5, 64), ("table", float("nan"), 64), ("ivit", 1, 0)],
)
def test_other_numbers_are_refused(nonlinear: Any, value: Any, most: int) -> None:
    twin = uncalibrated_twin(nonlinear=nonlinear)
    state = dict.fromkeys(twin.quantization_state(), 0)
    name = "blocks.1.mlp.token_scales"
    with pytest.raises(CalibrationError, match=rf"^blocks\.1\.mlp\.token_scales: .* from 0 to {most}, found"):
        twin.load_quantization_state({**state, name: value})
    twin.load_quantization_state({**state, name: 0})
    assert name not in twin.quantization_state()


def test_a_state_without_numbers_has_one_scale() -> None:
    twin = uncalibrated_twin(nonlinear="table")
    state = {name: 1 for name in twin.quantization_state() if not name.endswith(".token_scales")}
    twin.load_quantization_state(state)
    assert not any(mlp.module.token_scales for mlp in twin.sites().mlp)
    assert twin.quantization_state().keys() == state.keys()
