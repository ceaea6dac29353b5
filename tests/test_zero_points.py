"""Zero points of the arguments and the results of a GELU by table: in the integers, in exported models, in states."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ivit_onnx
from ivit_onnx.api import export, load_twin, read_metadata
from ivit_onnx.calibration import Recipe, apply_calibration, collect_statistics
from ivit_onnx.calibration import apply as calibration_apply
from ivit_onnx.errors import CalibrationError
from ivit_onnx.models import Twin
from ivit_onnx.opset import OPERATORS
from ivit_onnx.quant.modules import ACTIVATIONS, ActivationQuantizer, MlpAdd
from ivit_onnx.quant.quant_module import WeightedModule
from ivit_onnx.quant.tables import gelu_table
from ivit_onnx.quant.tensors import QuantTensor
from ivit_onnx.verification import verify
from networks import DATA, images, pixels, uncalibrated_twin

Array = np.ndarray[Any, Any]

SCALES = st.floats(1e-3, 3.0).map(np.float32)
ZEROS = st.integers(-128, 127)
#: Checkpoints and the options of their export.
CHECKPOINTS: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("deit_micro_fp.pth", {"num_heads": 2}),
    "swin": ("swin_micro_timm_fp.pth", {"img_size": 32}),
}
#: Of the arguments and of the results.
EXTREMES = [(-128, -128), (127, 127), (127, -128), (-128, 127)]


def mlp_of(seed: int, act: str = "gelu") -> MlpAdd:
    """A feed-forward network with tables, ranges of -4..4 for everything, and no zero points."""
    torch.manual_seed(seed)
    mlp = MlpAdd(24, 48, act)
    mlp.nonlinear = "table"
    with torch.no_grad():
        for parameter in mlp.parameters():
            parameter.normal_(std=0.2)
    for activation in (mlp.hidden, mlp.activated, mlp.branch, mlp.output):
        activation.set_range(4.0)
    return mlp


def inputs_of(seed: int) -> tuple[QuantTensor, QuantTensor]:
    """Integers of 8 bits and of the residual stream of 16 bits."""
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.integers(-128, 128, (2, 5, 24)))
    residual = torch.from_numpy(rng.integers(-(2**15), 2**15, (2, 5, 24)))
    return QuantTensor(x, torch.tensor(0.02)), QuantTensor(residual, torch.tensor(2.0**-14))


def real(x: QuantTensor) -> QuantTensor:
    """The same in real values, as training has them."""
    return QuantTensor(x.value * x.scale, x.scale)


@pytest.mark.parametrize("act", ACTIVATIONS)
@settings(deadline=None, max_examples=20)
@given(s_x=SCALES, s_y=SCALES, zero_x=ZEROS, zero_y=ZEROS)
def test_tables_are_exact(act: str, s_x: np.float32, s_y: np.float32, zero_x: int, zero_y: int) -> None:
    """The nearest integers of the function as PyTorch computes it in float64."""
    table = gelu_table(act, s_x, s_y, zero_x, zero_y)
    assert (table.dtype, table.shape) == (np.int8, (256,))
    x = torch.arange(-128 - zero_x, 128 - zero_x, dtype=torch.float64) * float(s_x)
    exact = ACTIVATIONS[act](x).numpy() / float(s_y) + zero_y
    np.testing.assert_allclose(table, np.clip(exact, -128, 127), rtol=0, atol=0.5 + 1e-9)


@settings(deadline=None, max_examples=20)
@given(s_x=SCALES, s_y=SCALES, zero_x=ZEROS, zero_y=ZEROS, x=st.integers(-128, 127))
def test_entries_are_rounded_exactly(s_x: np.float32, s_y: np.float32, zero_x: int, zero_y: int, x: int) -> None:
    """Against the normal distribution in 60 digits."""
    with mpmath.workdps(60):
        argument = (x - zero_x) * mpmath.mpf(float(s_x))
        steps = mpmath.nint(argument * mpmath.ncdf(argument) / mpmath.mpf(float(s_y)))
    assert gelu_table("gelu", s_x, s_y, zero_x, zero_y)[x + 128] == min(max(int(steps) + zero_y, -128), 127)


def test_zero_becomes_the_zero_point() -> None:
    for zero_x, zero_y in [*EXTREMES, (0, 0), (-90, -120)]:
        assert gelu_table("gelu", np.float32(0.03), np.float32(0.02), zero_x, zero_y)[zero_x + 128] == zero_y


@settings(max_examples=50)
@given(
    low=st.floats(-1e3, 1e3, allow_subnormal=False),
    high=st.floats(-1e3, 1e3, allow_subnormal=False),
)
def test_bounds_hold_the_range_and_zero(low: float, high: float) -> None:
    """With as many steps as there are; the ends may be rounded by half a step."""
    activation = ActivationQuantizer(8, one_sided=True)
    activation.set_bounds(low, high)
    scale, (least, most) = float(activation.scale), activation.bounds
    assert (most - least, activation.zero) == (255, -128 - least)
    assert least <= 0 <= most
    assert -128 <= activation.zero <= 127
    low, high = min(low, 0.0), max(high, 0.0)
    assert least * scale <= low + 0.5001 * scale
    assert most * scale >= high - 0.5001 * scale
    assert scale == pytest.approx(max(high - low, 1e-8) / 255, rel=1e-6)


def test_a_new_scale_has_no_zero_point() -> None:
    activation = ActivationQuantizer(8, one_sided=True)
    activation.set_bounds(-0.1, 5.0)
    assert activation.zero < -100
    activation.set_scale(0.5)
    assert (activation.zero, activation.bounds) == (0, (-128, 127))
    assert ActivationQuantizer(8).zero == 0
    with pytest.raises(AssertionError):
        ActivationQuantizer(8).set_bounds(-1.0, 1.0)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), zero=ZEROS, rows=st.integers(1, 6), columns=st.integers(1, 40))
def test_the_bias_absorbs_the_zero_point(seed: int, zero: int, rows: int, columns: int) -> None:
    """W q + b' is W (q - z) + b, whatever the rounding of W and b."""
    rng = np.random.default_rng(seed)
    weight, bias = (torch.from_numpy(rng.normal(size=shape).astype(np.float32)) for shape in ((rows, columns), rows))
    plain, absorbed = (WeightedModule().quantize_linear(weight, bias, np.float32(0.05), z) for z in (0, zero))
    np.testing.assert_array_equal(plain[0], absorbed[0])
    np.testing.assert_array_equal(plain[2], absorbed[2])
    q = rng.integers(-128, 128, (7, columns))
    np.testing.assert_array_equal(
        q @ absorbed[0].astype(np.int64) + absorbed[1], (q - zero) @ plain[0].astype(np.int64) + plain[1]
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), zeros=st.tuples(ZEROS, ZEROS), act=st.sampled_from(list(ACTIVATIONS)))
def test_the_operator_computes_what_training_does(seed: int, zeros: tuple[int, int], act: str) -> None:
    """Within one step of the branch and one of the output: the integers of the bias are rounded."""
    mlp = mlp_of(seed, act)
    for activation, zero in zip((mlp.hidden, mlp.activated), zeros, strict=True):
        assert activation.zero_point is not None
        activation.zero_point.fill_(zero)
    # Two values of a step: 16 bits would show each neuron that is rounded the other way.
    mlp.branch.set_scale(0.1)
    x, residual = inputs_of(seed)
    with torch.no_grad():
        integers = mlp.eval()(x, residual)
        simulated = mlp.train()(real(x), real(residual))
    far = (integers.value * integers.scale - simulated.value).abs().max()
    assert far <= 1.01 * (mlp.branch.scale + mlp.output.scale)
    lowered = mlp.lower(np.float32(x.scale), np.float32(residual.scale))
    assert lowered.operator == "IntTableMlpAdd"
    operator = OPERATORS[lowered.operator]
    data = {"x": x.value.numpy().astype(np.int8), "residual": residual.value.numpy().astype(np.int16)}
    reference = operator.reference(*(({**data, **lowered.constants})[t.name] for t in operator.inputs))
    np.testing.assert_array_equal(reference, integers.value.numpy())


@pytest.mark.parametrize("zeros", [*EXTREMES, (-100, -120)])
def test_the_first_layer_is_exact_at_its_integers(zeros: tuple[int, int]) -> None:
    """Of an identity, whose accumulators are the real values: explicit integers with q - z, without any float."""
    mlp = mlp_of(0)
    mlp.fc1, mlp.fc2 = torch.nn.Linear(24, 24), torch.nn.Linear(24, 24)
    with torch.no_grad():
        for layer in (mlp.fc1, mlp.fc2):
            layer.weight.copy_(torch.eye(24))
            layer.bias.zero_()
    for activation, zero in zip((mlp.hidden, mlp.activated), zeros, strict=True):
        activation.scale.fill_(2.0**-5)
        assert activation.zero_point is not None
        activation.zero_point.fill_(zero)
    for activation in (mlp.branch, mlp.output):
        activation.scale.fill_(2.0**-5)
    x, _ = inputs_of(3)
    step = torch.tensor(2.0**-5)
    found = mlp.eval()(QuantTensor(x.value, step), QuantTensor(torch.zeros_like(x.value), step)).value.numpy()
    q = np.clip(x.value.numpy() + zeros[0], -128, 127)
    table = gelu_table("gelu", np.float32(step), np.float32(step)).astype(np.int64)
    wide = np.array([round(float(torch.nn.functional.gelu(d * step.double()) / step)) for d in range(-255, 256)])
    np.testing.assert_array_equal(wide[255 - 128 : 255 + 128], table)
    y = np.clip(wide[q - zeros[0] + 255] + zeros[1], -128, 127)
    np.testing.assert_array_equal(found, y - zeros[1])


def test_zero_points_do_not_change_the_function() -> None:
    """With steps as fine as those of 16 bits, ranges that are not symmetric give what symmetric ones do."""
    found = {}
    for one_sided in (False, True):
        mlp = mlp_of(5)
        mlp.hidden, mlp.activated = ActivationQuantizer(16, one_sided=True), ActivationQuantizer(16, one_sided=True)
        for activation, low in ((mlp.hidden, -8.0), (mlp.activated, -0.2)):
            if one_sided:
                activation.set_bounds(low, 12.0)
                assert activation.zero < -1000
            else:
                activation.set_range(12.0)
        x, residual = inputs_of(5)
        with torch.no_grad():
            found[one_sided] = mlp.train()(real(x), real(residual)).value
    steps = (found[True] - found[False]).abs() / mlp.output.scale
    assert steps.max() <= 6
    mlp.quantized = False
    with torch.no_grad():
        exact = mlp.eval()(real(x), real(residual)).value
    torch.testing.assert_close(found[True], exact.clamp(-4.0, 4.0), rtol=0, atol=0.05)


def test_calibration_uses_every_step() -> None:
    """Results of a GELU reach 0.17 below 0: their zero point is near the least integer, and the steps nearly half."""
    symmetric, one_sided = uncalibrated_twin(nonlinear="table"), uncalibrated_twin(nonlinear="table")
    seen = collect_statistics(symmetric, images(8), "test")
    apply_calibration(symmetric, seen, Recipe())
    apply_calibration(one_sided, seen, Recipe(zero_points=True))
    plain, state = symmetric.quantization_state(), one_sided.quantization_state()
    assert not any(value for name, value in plain.items() if name.endswith(".zero_point"))
    for name in ("hidden", "activated"):
        for block in range(2):
            point = f"blocks.{block}.mlp.{name}"
            assert state[f"{point}.zero_point"] < -20
            assert state[f"{point}.scale"] < 0.9 * plain[f"{point}.scale"]
    assert all(state[f"blocks.{block}.mlp.activated.zero_point"] < -100 for block in range(2))
    # The scale of a branch follows that of its results.
    others = [name for name in plain if ".mlp." not in name]
    assert all(plain[name] == state[name] for name in others)


def test_shifts_have_no_zero_points() -> None:
    model = uncalibrated_twin(nonlinear="ivit")
    apply_calibration(model, collect_statistics(model, images(8), "test"), Recipe(zero_points=True))
    assert not any(value for name, value in model.quantization_state().items() if name.endswith(".zero_point"))


@pytest.mark.parametrize("zeros", [None, *EXTREMES], ids=str)
@pytest.mark.parametrize("family", CHECKPOINTS)
def test_the_same_integers_everywhere(
    family: str, zeros: tuple[int, int] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if zeros is not None:

        def by_hand(mlp: MlpAdd, *_: Any) -> None:
            for activation, zero in zip((mlp.hidden, mlp.activated), zeros, strict=True):
                assert activation.zero_point is not None
                activation.zero_point.fill_(zero)

        monkeypatch.setattr(calibration_apply, "_one_sided", by_hand)
    file, options = CHECKPOINTS[family]
    checkpoint, image = DATA / file, pixels(3)
    logits = []
    for flat in (False, True):
        path = tmp_path / f"{flat}.onnx"
        report = export(
            checkpoint,
            path,
            calib=pixels(4),
            calib_preset="fast",
            flat=flat,
            **options,
        )
        assert report.proof["checks"] > 0
        state = json.loads(read_metadata(path)["ivit.quantization"])
        for name, value in state.items():
            if name.endswith(".zero_point"):
                is_result = name.endswith("activated.zero_point")
                assert value == zeros[is_result] if zeros else value < 0 or not is_result
        verified = verify(path, checkpoint, count=2)
        assert verified.passed
        assert {entry.implementation for entry in verified.comparisons} == {"function bodies", "kernels", "PyTorch"}
        twin = load_twin(path, checkpoint)
        assert twin.quantization_state() == state
        with torch.inference_mode():
            logits.append(twin(torch.from_numpy(image)).numpy())
        for how in ({"kernels": False}, {"kernels": True}, {"provider": "ivit-cpu"}):
            logits.append(ivit_onnx.create_session(path, **how).run(None, {"image": image})[0])
    for found in logits[1:]:
        np.testing.assert_array_equal(found, logits[0])


def calibrated() -> Twin:
    """With zero points that are not 0."""
    model = uncalibrated_twin(nonlinear="table")
    apply_calibration(model, collect_statistics(model, images(4), "test"), Recipe(zero_points=True))
    return model


def test_a_state_has_the_zero_points() -> None:
    state = calibrated().quantization_state()
    zeros = {name: value for name, value in state.items() if name.endswith(".zero_point")}
    assert len(zeros) == 4
    assert all(isinstance(value, int) and -128 <= value < 0 for value in zeros.values())
    model = uncalibrated_twin(nonlinear="table")
    model.load_quantization_state(json.loads(json.dumps(state)))
    assert model.quantization_state() == state


def test_an_older_state_has_no_zero_points() -> None:
    model = calibrated()
    older = {name: value for name, value in model.quantization_state().items() if not name.endswith(".zero_point")}
    model.load_quantization_state(older)
    found = model.quantization_state()
    assert {name: found[name] for name in older} == older
    assert {value for name, value in found.items() if name not in older} == {0}


@pytest.mark.parametrize("value", [-129, 128, 0.5, float("nan"), "0", None])
def test_other_zero_points_are_refused(value: Any) -> None:
    model = calibrated()
    state = model.quantization_state() | {"blocks.1.mlp.hidden.zero_point": value}
    with pytest.raises(CalibrationError, match=r"blocks\.1\.mlp\.hidden\.zero_point: expected"):
        model.load_quantization_state(state)


@pytest.mark.parametrize("value", [-128, 0, 127])
def test_shifts_take_no_zero_point_but_zero(value: int) -> None:
    state = calibrated().quantization_state() | {"blocks.0.mlp.activated.zero_point": value}
    zeros = (".hidden.zero_point", ".deferred", ".token_scales")
    state = {name: 0 if name.endswith(zeros) else number for name, number in state.items()}
    state["blocks.1.mlp.activated.zero_point"] = 0
    model = uncalibrated_twin(nonlinear="ivit")
    if value == 0:
        model.load_quantization_state(state)
        return
    with pytest.raises(CalibrationError, match="expected a whole number from 0 to 0, found"):
        model.load_quantization_state(state)


def test_a_zero_point_of_another_place_is_refused() -> None:
    state = calibrated().quantization_state() | {"blocks.0.mlp.branch.zero_point": 0}
    with pytest.raises(CalibrationError):
        calibrated().load_quantization_state(state)
