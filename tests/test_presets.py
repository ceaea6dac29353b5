"""The ingredients of the calibration presets, and that each preset's twin is rebuilt from checkpoint and model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import load, numpy_helper
from onnx import save as save_onnx

from ivit_onnx import create_session
from ivit_onnx.api import calibrate, export, load_twin
from ivit_onnx.architectures import Preprocess
from ivit_onnx.calibration import (
    Adjustments,
    Calibration,
    Recipe,
    adjustments_from_text,
    adjustments_to_text,
    apply_calibration,
    collect_statistics,
    recipe,
    replay,
)
from ivit_onnx.calibration.adjustments import decode_factors, encode_factors
from ivit_onnx.calibration.exponentials import whole_scale
from ivit_onnx.calibration.presets import RECIPES
from ivit_onnx.calibration.references import References
from ivit_onnx.calibration.smoothing import expected_error, smoothing_codes
from ivit_onnx.calibration.weights import clip_codes
from ivit_onnx.checkpoints import read_architecture
from ivit_onnx.errors import CalibrationError, ModelError
from ivit_onnx.images import normalize
from ivit_onnx.metadata import describe
from ivit_onnx.models import Twin, from_state_dict
from ivit_onnx.options.choices import PRESETS, Preset
from ivit_onnx.quant.exponents import exp_x0, gelu_x0
from ivit_onnx.quant.recorders import Channels, EvenSample
from ivit_onnx.verification import verify
from networks import (
    DATA,
    DIGITS_MEAN,
    DIGITS_STD,
    SIZE,
    images,
    pixels,
    save_checkpoint,
    timm_network,
    uncalibrated_twin,
)

DIGITS = {
    "vit": {"checkpoint": DATA / "deit_micro_fp.pth", "num_heads": 2},
    "swin": {"checkpoint": DATA / "swin_micro_timm_fp.pth", "img_size": SIZE},
}
NORMALISATION = {"mean": DIGITS_MEAN, "std": DIGITS_STD}


def calibration(model: Twin, count: int = 16) -> Calibration:
    return collect_statistics(model, images(count), "fingerprint")


def real(model: Twin, x: torch.Tensor) -> torch.Tensor:
    """What the network computes in floating point."""
    model.set_quantized(False)
    with torch.inference_mode():
        y: torch.Tensor = model(x)
    model.set_quantized(True)
    return y


def error(model: Twin, x: torch.Tensor, exact: torch.Tensor) -> float:
    """Mean squared error of the integer logits, as a part of their mean square."""
    with torch.inference_mode():
        found = model(x) * model.output_scale
    return float((found - exact).square().mean() / exact.square().mean())


def quantized_means(model: Twin, x: torch.Tensor, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """The mean of each channel that comes to some activations when the quantised network runs."""
    found: dict[str, torch.Tensor] = {}

    def see(name: str, inputs: tuple[torch.Tensor]) -> None:
        found[name] = inputs[0].mean((0, 1))

    for name in names:
        model.activations()[name].register_forward_pre_hook(lambda _, inputs, name=name: see(name, inputs))
    with torch.no_grad():
        model.train()(x)
    return found


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=20))
def test_factors_are_powers_of_two_with_two_bits_more(factors: list[float]) -> None:
    array = np.array(factors)
    decoded = decode_factors(encode_factors(array))
    assert np.all(np.abs(decoded / array - 1) <= 0.126)
    assert np.array_equal(encode_factors(decoded.astype(np.float64)), encode_factors(array))
    mantissa, _ = np.frexp(decoded)
    assert set(mantissa * 8) <= {4, 5, 6, 7}


@pytest.mark.parametrize("ingredient", ["balance_heads", "smoothing"])
@pytest.mark.parametrize("distilled", [False, True])
def test_smoothing_does_not_change_the_function(ingredient: str, distilled: bool) -> None:
    model, x = uncalibrated_twin(distilled=distilled), torch.from_numpy(np.stack(images(4, seed=1)))
    before, weights = real(model, x), {name: p.clone() for name, p in model.named_parameters()}
    apply_calibration(model, calibration(model), replace(Recipe(), **{ingredient: True}))
    assert any(not torch.equal(p, weights[name]) for name, p in model.named_parameters())
    torch.testing.assert_close(real(model, x), before, rtol=1e-4, atol=1e-4)


def test_statistics_leave_the_model_as_it_was() -> None:
    model = uncalibrated_twin()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    calibration(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_keys_are_centered() -> None:
    model = uncalibrated_twin()
    with torch.no_grad():
        model.get_submodule("blocks.0.attn.qkv").bias[48:96] += 50
    channels = calibration(model).channels["blocks.0.attn.qkv.output"]
    assert np.abs(channels.mean[48:96]).max() < 1
    assert channels.largest[48:96].max() < 25


def test_smoothing_finds_planted_outliers() -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(1000, 32)), rng.normal(size=(64, 32))
    x[:, 5] *= 30
    channels = Channels()
    channels.update(torch.from_numpy(x))
    codes, error = smoothing_codes(channels, weight)
    factors = decode_factors(codes).astype(np.float64)
    assert error == pytest.approx(expected_error(channels, np.abs(weight), factors))
    assert factors[5] > 3 * np.median(factors)
    assert expected_error(channels, weight, factors) < expected_error(channels, weight, np.ones(32)) / 4


def test_default_survives_outliers_on_which_min_max_collapses() -> None:
    network = timm_network()
    with torch.no_grad():
        for block in network.blocks:
            for norm, linear in ((block.norm1, block.attn.qkv), (block.norm2, block.mlp.fc1)):
                for parameter in (norm.weight, norm.bias):
                    parameter[:3] *= 30
                linear.weight[:, :3] /= 30
    arch = read_architecture(network.state_dict(), heads=3)
    x = torch.from_numpy(np.stack(images(32, seed=2)))
    errors = {}
    for name, steps in {"minmax": Recipe(), "default": recipe("default")}.items():
        model = from_state_dict(network.state_dict(), arch, Preprocess(SIZE))
        apply_calibration(model, calibration(model, 32), steps)
        errors[name] = error(model, x, network(x).detach())
    assert errors["default"] < 0.01
    assert errors["default"] < errors["minmax"] / 10


@given(st.integers(1, 5000))
def test_whole_scales_have_the_right_temperature(inverse: int) -> None:
    for x0, slope in ((exp_x0, 1.0), (gelu_x0, 1.702)):
        scale = whole_scale(inverse, x0, slope)
        assert x0(scale) == -inverse
        assert scale * inverse * slope == pytest.approx(1, rel=1e-5)


def test_fitted_exponentials_have_whole_scales_and_do_not_clip_scores() -> None:
    model = uncalibrated_twin()
    seen = calibration(model)
    apply_calibration(model, seen, Recipe(fit_exponentials=True))
    for name, activation in model.activations().items():
        if name.endswith(".score"):
            inverse = 1 / float(activation.scale)
            assert inverse == pytest.approx(round(inverse), rel=1e-5)
            assert 127 * float(activation.scale) >= 0.999 * seen.histograms[name].maximum


@pytest.mark.parametrize("part", ["attn.qkv", "mlp.fc1", "norm1"])
@pytest.mark.parametrize("factor", [0.0, 1e-12, 1e-6])
@pytest.mark.parametrize("preset", ["fast", "default"])
def test_parts_that_compute_nothing(part: str, factor: float, preset: Preset, tmp_path: Path) -> None:
    """Pruned layers, and such as were not trained: all scores, or all inputs of GELU, are nearly 0."""
    network = timm_network()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.mul_(factor if part in name else 1)
    checkpoint, model = save_checkpoint(network, tmp_path / "network.pth"), tmp_path / "model.onnx"
    preprocess = Preprocess(SIZE)
    calib = list(normalize(pixels(8, seed=1), preprocess))
    export(checkpoint, model, calib=calib, num_heads=3, calib_preset=preset)
    report = verify(model, against=checkpoint, count=2, threads=1)
    assert report.integer_only
    assert report.proof is not None
    assert report.proof.passed
    assert report.equal == report.total
    session = create_session(model, threads=1)
    found = session.run(None, {"image": pixels(8)})[0] * describe(session, model).output_scale
    with torch.inference_mode():
        exact = network(torch.from_numpy(normalize(pixels(8), preprocess))).numpy()
    assert np.square(exact - found).sum() < 0.01 * np.square(exact).sum()


def test_clipped_weights_have_less_error() -> None:
    torch.manual_seed(0)
    weight, square = torch.randn(16, 256), np.linspace(0.1, 2, 256)
    weight[3, 7] = 6.0
    codes = clip_codes(weight, square)

    def noise(limit: torch.Tensor) -> torch.Tensor:
        scale = limit[:, None] / 127
        rounded = torch.round(weight / scale).clamp(-127, 127) * scale
        return (rounded - weight).square() @ torch.from_numpy(square).float()

    largest = weight.abs().amax(1)
    assert codes.dtype == np.uint8
    clipped = noise(largest * (1 - torch.from_numpy(codes).float() / 256))
    assert torch.all(clipped <= noise(largest) * 1.0001)


@pytest.mark.parametrize("alike", [False, True])
def test_corrected_biases_have_less_mean_error(alike: bool) -> None:
    """Of images that are all the same the mean is certain, and corrected but for the rounding to float16."""
    lost = {}
    for correct in (False, True):
        model = uncalibrated_twin()
        seen = collect_statistics(model, images(1) * 16 if alike else images(16), "fingerprint")
        sample = torch.from_numpy(seen.sample.astype(np.float32))
        # The biases of keys are centered, so that their means are not those of the checkpoint.
        means = {
            name: mean.mean(0)
            for name, mean in References.collect(model, sample, with_blocks=False).means.items()
            if not name.endswith("qkv.output")
        }
        apply_calibration(model, seen, Recipe(correct_biases=correct))
        found = quantized_means(model, sample, means)
        lost[correct] = {name: float((found[name] - mean).norm() / mean.norm()) for name, mean in means.items()}
    assert len(lost[True]) == 6
    assert max(lost[True].values()) < (1e-3 if alike else 3e-3)
    assert all(lost[True][name] < lost[False][name] / 4 for name in means)


def test_reconstruction_moves_weights_by_at_most_a_step_and_lowers_the_error() -> None:
    steps = Recipe(correct_biases=True, fit_exponentials=True)
    plain, rebuilt = uncalibrated_twin(), uncalibrated_twin()
    seen = calibration(plain, 64)
    x = torch.from_numpy(np.stack(images(64, seed=4)))
    exact = real(plain, x)
    apply_calibration(plain, seen, steps)
    apply_calibration(rebuilt, seen, replace(steps, reconstruction_steps=40))
    moved = [array for name, array in rebuilt.adjustments.items() if name.endswith(".rounding")]
    assert len(moved) == 8
    assert {int(v) for array in moved for v in np.unique(array)} == {-1, 0, 1}
    assert error(rebuilt, x, exact) < error(plain, x, exact)


def test_adjustments_are_made_once() -> None:
    model = uncalibrated_twin()
    seen = calibration(model)
    apply_calibration(model, seen, "minmax")
    with pytest.raises(CalibrationError, match="adjusted already"):
        apply_calibration(model, seen, "minmax")


def test_adjustments_of_another_network_are_refused() -> None:
    model = uncalibrated_twin()
    apply_calibration(model, calibration(model), recipe("default"))
    with pytest.raises(CalibrationError, match="another architecture"):
        replay(uncalibrated_twin(depth=1), model.adjustments)
    with pytest.raises(CalibrationError, match="another architecture"):
        replay(uncalibrated_twin(embed_dim=96), model.adjustments)
    with pytest.raises(ValueError, match="damaged"):
        adjustments_from_text("AAAA")


def test_adjustments_as_text() -> None:
    made: Adjustments = {"a.clip": np.arange(5, dtype=np.uint8), "b.correction": np.ones(3, np.float16)}
    read = adjustments_from_text(adjustments_to_text({**made, "c.rounding": np.ones((2, 2), np.int8)}))
    assert read.pop("c.rounding").size == 0
    assert all(np.array_equal(made[name], array) and made[name].dtype == array.dtype for name, array in read.items())


@given(st.integers(1, 200))
def test_a_sample_is_even(count: int) -> None:
    sample = EvenSample(16)
    for part in torch.arange(count).split(7):
        sample.update(part[:, None])
    kept = sample.to_array()[:, 0]
    assert min(count, 9) <= len(kept) <= 16
    assert len(set(np.diff(kept))) <= 1


def test_a_sample_of_nothing_is_empty() -> None:
    assert EvenSample(4).to_array().size == 0


@pytest.mark.parametrize("family", DIGITS)
@pytest.mark.parametrize("preset", PRESETS)
def test_the_twin_is_rebuilt_and_verified(family: str, preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.setitem(RECIPES, "best", replace(RECIPES["best"], reconstruction_steps=3))
    options = {**DIGITS[family], **NORMALISATION}
    path = options.pop("checkpoint")
    cache, model = tmp_path / "cache", tmp_path / "model.onnx"
    export(path, model, calib=pixels(12), calib_preset=preset, calib_cache=cache, **options)
    again = tmp_path / "again.onnx"
    export(path, again, calib_preset=preset, calib_cache=cache, **options)
    assert model.read_bytes() == again.read_bytes()
    flat = tmp_path / "flat.onnx"
    export(path, flat, calib_preset=preset, calib_cache=cache, flat=True, **options)
    for exported in (model, flat):
        report = verify(exported, path, count=2)
        assert report.passed
        assert any(entry.implementation == "PyTorch" for entry in report.comparisons)


def test_a_model_with_weights_of_another_checkpoint_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES, "best", replace(RECIPES["best"], reconstruction_steps=1))
    options = {**DIGITS["vit"], **NORMALISATION}
    path, model = options.pop("checkpoint"), tmp_path / "model.onnx"
    export(path, model, calib=pixels(4), calib_preset="best", **options)
    proto = load(model)
    (tensor,) = (t for t in proto.graph.initializer if t.name == "blocks.0.mlp.fc1_weight")
    array = numpy_helper.to_array(tensor).copy()
    array[np.unravel_index(np.argmin(np.abs(array)), array.shape)] += 50
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    save_onnx(proto, model)
    with pytest.raises(ModelError, match="more than 16 steps"):
        load_twin(model, path)


def test_a_calibration_serves_every_preset(tmp_path: Path) -> None:
    options = {**DIGITS["vit"], **NORMALISATION}
    path = options.pop("checkpoint")
    seen = calibrate(path, pixels(6), cache=tmp_path / "cache", **options)
    reports = [
        export(path, tmp_path / f"{preset}.onnx", calib=seen, calib_preset=preset, **options)
        for preset in ("fast", "default")
    ]
    assert [report.calibration["preset"] for report in reports] == ["fast", "default"]
    assert [report.calibration["method"] for report in reports] == ["minmax", "minmax"]
