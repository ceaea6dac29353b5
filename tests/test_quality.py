"""How near an export comes to floating point: how and on what it is measured, where it is shown, what it warns of."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from commands import MICRO, MICRO_OPTIONS, Result, call
from ivit_onnx.api import export, read_metadata
from ivit_onnx.calibration import (
    LOW_DB,
    Calibration,
    Quality,
    Recipe,
    Reference,
    apply_calibration,
    collect_statistics,
    load_calibration,
    save_calibration,
)
from ivit_onnx.calibration.collect import HOLD_EVERY, MOST_HELD
from ivit_onnx.errors import CalibrationError
from ivit_onnx.models import Twin
from networks import images, pixels, save_checkpoint, timm_network, timm_swin, uncalibrated_twin

Array = np.ndarray[Any, Any]
Export = Callable[..., Result]


def statistics(model: Twin, given: list[Array]) -> Calibration:
    return collect_statistics(model, given, "test")


@pytest.fixture(scope="module")
def measured() -> tuple[Twin, Reference]:
    """A calibrated twin, and what its network computes in floating point."""
    model = uncalibrated_twin(nonlinear="table")
    seen = statistics(model, images(40))
    reference = Reference.collect(model, seen)
    assert reference is not None
    apply_calibration(model, seen, Recipe(zero_points=True))
    return model, reference


def of_integers(model: Twin, reference: Reference) -> torch.Tensor:
    """The output of the integers."""
    with torch.inference_mode():
        y: torch.Tensor = model(reference.images) * model.output_scale
    return y


# What is measured


def test_the_same_output_has_99_decibels(measured: tuple[Twin, Reference]) -> None:
    model, reference = measured
    quality = replace(reference, output=of_integers(model, reference)).compare(model)
    assert (quality.sqnr_db, quality.images, quality.held_back) == (99.0, 3, True)
    assert (quality.cosine, quality.worst_cosine) == pytest.approx((1, 1))


@pytest.mark.parametrize("part", [0.5, 0.1, 1e-3])
def test_known_noise_has_the_right_decibels(measured: tuple[Twin, Reference], part: float) -> None:
    """Noise at a right angle to each output: the exact one has the energy of both less that of the noise."""
    model, reference = measured
    found = of_integers(model, reference).double()
    noise = torch.randn(found.shape, generator=torch.Generator().manual_seed(0)).double()
    noise -= (noise * found).sum(1, keepdim=True) / found.square().sum(1, keepdim=True) * found
    noise *= part * found.norm(dim=1, keepdim=True) / noise.norm(dim=1, keepdim=True)
    quality = replace(reference, output=found + noise).compare(model)
    assert quality.sqnr_db == pytest.approx(10 * np.log10((1 + part**2) / part**2), abs=1e-3)
    assert (quality.cosine, quality.worst_cosine) == pytest.approx([(1 + part**2) ** -0.5] * 2, abs=1e-6)


def test_the_worst_image_is_that_of_most_noise(measured: tuple[Twin, Reference]) -> None:
    model, reference = measured
    output = of_integers(model, reference).clone()
    output[1] *= -1
    quality = replace(reference, output=output).compare(model)
    assert quality.worst_cosine == pytest.approx(-1)
    assert quality.cosine == pytest.approx(1 / 3)


def test_the_layer_that_adds_noise_is_named(measured: tuple[Twin, Reference]) -> None:
    model, reference = measured
    quality = reference.compare(model)
    assert 25 < quality.sqnr_db < 60
    assert 1 <= len(quality.layers) <= 3
    assert all(0 <= part <= 1 for part in quality.layers.values())
    assert sum(quality.layers.values()) <= 1.0001
    assert list(quality.layers.values()) == sorted(quality.layers.values(), reverse=True)
    stream = dict(reference.stream)
    stream["blocks.1.mlp"] = stream["blocks.1.mlp"] + 100
    spoiled = replace(reference, stream=stream).compare(model)
    assert next(iter(spoiled.layers)) == "blocks.1.mlp"
    assert spoiled.layers["blocks.1.mlp"] > 0.9
    assert spoiled.sqnr_db == quality.sqnr_db


def test_layers_of_swin_are_named() -> None:
    from ivit_onnx.models import from_timm

    model = from_timm(timm_swin())
    seen = statistics(model, images(8))
    reference = Reference.collect(model, seen)
    assert reference is not None
    apply_calibration(model, seen, "minmax")
    assert set(reference.stream) >= {"patch_embed", "layers.0.blocks.1.mlp", "layers.1.downsample"}
    assert set(reference.compare(model).layers) <= set(reference.stream)


def test_the_reference_leaves_the_twin_as_it_was() -> None:
    model = uncalibrated_twin()
    seen = statistics(model, images(8))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert Reference.collect(model, seen) is not None
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(activation.quantized for activation in model.activations().values())


@given(decibels=st.floats(-20, 99), cosine=st.floats(-1, 1), part=st.floats(0, 1))
@settings(max_examples=30)
def test_figures_are_rounded(decibels: float, cosine: float, part: float) -> None:
    shown = Quality(3, True, decibels, cosine, cosine, {"blocks.0.mlp": part}).to_json()
    assert shown == json.loads(json.dumps(shown))
    assert shown["sqnr_db"] == pytest.approx(decibels, abs=0.051)
    assert shown["cosine"] == pytest.approx(cosine, abs=0.000051)
    assert shown["worst_cosine"] == pytest.approx(cosine, abs=0.00051)
    assert shown["layers"]["blocks.0.mlp"] == pytest.approx(part, abs=0.0051)


# Images that are held back


@pytest.mark.parametrize("count", [1, 7, 8, 23, 24, 40])
def test_one_image_in_sixteen_is_held_back(count: int) -> None:
    given = images(count)
    seen = statistics(uncalibrated_twin(), given)
    held = list(range(HOLD_EVERY // 2 - 1, count, HOLD_EVERY))
    assert len(held) == (count + 8) // 16
    assert seen.images == count
    assert len(seen.held) == len(held)
    for image, index in zip(seen.held, held, strict=True):
        np.testing.assert_array_equal(image, given[index].astype(np.float16))


def test_at_most_eight_images_are_held_back() -> None:
    given = images(4) * 80
    seen = statistics(uncalibrated_twin(depth=1), given)
    assert 4 < len(seen.held) <= MOST_HELD == 8
    assert seen.images == 320


def test_images_held_back_are_in_no_statistic() -> None:
    """Statistics of others, however odd these are, and of only the rest are the same."""
    given = images(24)
    odd = [image * 1000 if index % 16 == 7 else image for index, image in enumerate(given)]
    rest = [image for index, image in enumerate(given) if index % 16 != 7]
    found, plain = (statistics(uncalibrated_twin(), these) for these in (odd, given))
    assert np.abs(found.held.astype(np.float64)).max() > 100
    for name, histogram in found.histograms.items():
        np.testing.assert_array_equal(histogram.counts, plain.histograms[name].counts)
        assert (histogram.low, histogram.high) == (plain.histograms[name].low, plain.histograms[name].high)
    for name, channels in found.channels.items():
        np.testing.assert_array_equal(channels.to_array(), plain.channels[name].to_array())
    for name, rows in found.rows.items():
        np.testing.assert_array_equal(rows, plain.rows[name])
    for name, center in found.centers.items():
        np.testing.assert_array_equal(center, plain.centers[name])
    np.testing.assert_array_equal(found.sample, np.stack(rest).astype(np.float16))


@pytest.mark.parametrize(("count", "images_used", "held_back"), [(1, 1, False), (7, 4, False), (8, 1, True)])
def test_few_images_are_all_calibrated_with(count: int, images_used: int, held_back: bool) -> None:
    model = uncalibrated_twin()
    seen = statistics(model, images(count))
    reference = Reference.collect(model, seen)
    assert reference is not None
    assert (len(reference.images), reference.held_back) == (images_used, held_back)
    apply_calibration(model, seen, "minmax")
    quality = reference.compare(model)
    assert (quality.images, quality.held_back) == (images_used, held_back)


def test_statistics_without_images_have_no_reference() -> None:
    seen = statistics(uncalibrated_twin(), images(8))
    assert Reference.collect(uncalibrated_twin(), Calibration("test", 8, seen.histograms)) is None


def test_the_cache_keeps_the_images_held_back(tmp_path: Path) -> None:
    seen = statistics(uncalibrated_twin(), images(24))
    save_calibration(tmp_path / "cache", seen)
    np.testing.assert_array_equal(load_calibration(tmp_path / "cache", "test").held, seen.held, strict=True)
    assert len(seen.held) == 2


def test_images_held_back_of_another_size_are_refused() -> None:
    model = uncalibrated_twin()
    seen = statistics(model, images(8))
    with pytest.raises(CalibrationError, match="images of shape"):
        apply_calibration(model, replace(seen, held=seen.held[..., :16]), "minmax")


# Where it is shown


def test_summary_report_and_metadata_say_the_same(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", pixels(24))
    output = tmp_path / "model.onnx"
    arguments = (MICRO, "-o", output, *MICRO_OPTIONS, "--calib", tmp_path / "images.npy", "--force")
    report = json.loads(call(capsys, "export", *arguments, "--json").out)
    quality = report["quality"]
    assert set(quality) == {"images", "held_back", "sqnr_db", "cosine", "worst_cosine", "layers"}
    assert (quality["images"], quality["held_back"]) == (2, True)
    assert quality["sqnr_db"] > LOW_DB
    assert json.loads(read_metadata(output)["ivit.quality"]) == quality
    summary = " ".join(call(capsys, "export", *arguments).out.split())
    row = summary[summary.index("accuracy") : summary.index("overflow")]
    for expected in (f"{quality['sqnr_db']:.1f} dB", f"cosine {quality['cosine']:.4f}", "2 images"):
        assert expected in row


def test_the_summary_says_which_images_it_measured(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for count, expected in ((4, "4 images of the calibration"), (8, "1 image that calibration did not see")):
        np.save(tmp_path / "images.npy", pixels(count))
        arguments = (MICRO, "-o", tmp_path / f"{count}.onnx", *MICRO_OPTIONS, "--calib", tmp_path / "images.npy")
        assert expected in " ".join(call(capsys, "export", *arguments).out.split())


def test_a_trained_checkpoint_has_no_quality(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    reference_ivit = Path(__file__).parent / "data" / "deit_micro_ivit.pth.tar"
    output = tmp_path / "model.onnx"
    result = call(capsys, "export", reference_ivit, "-o", output, "--num-heads", "2")
    assert result.status == 0
    assert "of the checkpoint, which was trained with these integers" in " ".join(result.out.split())
    assert "ivit.quality" not in {entry.key for entry in onnx.load(output).metadata_props}


# What it warns of


def massive_neuron(path: Path) -> Path:
    """A network in which one neuron is the range of all."""
    network = timm_network()
    with torch.no_grad():
        network.blocks[1].mlp.fc1.weight[0] *= 50
        network.blocks[1].mlp.fc2.weight[:, 0] /= 50
    return save_checkpoint(network, path)


def test_a_low_quality_names_layers_with_noise_and_remedies(tmp_path: Path) -> None:
    checkpoint = massive_neuron(tmp_path / "model.pt")
    options = {"calib": images(16), "num_heads": 3}
    report = export(checkpoint, tmp_path / "fast.onnx", calib_preset="fast", calib_method="mse", **options)
    assert report.quality is not None
    assert report.quality["sqnr_db"] < LOW_DB
    (warning,) = (text for text in report.warnings if "signal over noise" in text)
    assert warning.startswith(f"the output has {report.quality['sqnr_db']:.1f} dB of signal over noise, less than 20")
    assert "most noise comes from blocks.1.mlp (9" in warning
    for remedy in ("; try --calib-method minmax", "--calib-preset default", "ivit-train", "ivit-report"):
        assert remedy in warning
    assert "images of what" not in warning
    better = export(checkpoint, tmp_path / "default.onnx", **options)
    assert better.quality is not None
    assert better.quality["sqnr_db"] > LOW_DB
    assert not [text for text in better.warnings if "dB" in text]


def test_choices_that_cost_are_warned_of(tmp_path: Path) -> None:
    checkpoint = save_checkpoint(timm_network(), tmp_path / "model.pt")
    options = {"calib": images(16), "num_heads": 3}
    plain = export(checkpoint, tmp_path / "default.onnx", **options)
    assert not [text for text in plain.warnings if "dB" in text]
    costly = export(checkpoint, tmp_path / "costly.onnx", nonlinear="ivit", softmax_bits=7, **options)
    assert plain.quality is not None
    assert costly.quality is not None
    decibels = f"{costly.quality['sqnr_db']:.1f} dB instead of "
    functions, bits = (text for text in costly.warnings if "dB here" in text)
    assert functions.startswith("Shiftmax and ShiftGELU cost ")
    assert functions.endswith(" dB with --nonlinear table")
    assert bits.startswith("attention probabilities of 7 bits cost ")
    assert bits.endswith(" dB with --softmax-bits 15")
    assert all(decibels in text for text in (functions, bits))


def test_bits_are_compared_with_the_same_functions(tmp_path: Path) -> None:
    """What the warning promises is what the export with its remedy has. Of many tokens each has few steps."""
    checkpoint = save_checkpoint(timm_network(patch_size=2), tmp_path / "model.pt")
    options = {"calib": images(16), "num_heads": 3, "nonlinear": "ivit"}
    costly = export(checkpoint, tmp_path / "costly.onnx", softmax_bits=7, **options)
    (warning,) = (text for text in costly.warnings if "dB here" in text and "7 bits" in text)
    remedied = export(checkpoint, tmp_path / "remedied.onnx", softmax_bits=15, **options)
    assert remedied.quality is not None
    assert f"instead of {remedied.quality['sqnr_db']:.1f} dB with --softmax-bits 15" in warning


def test_few_bits_of_deferred_exponentials_cost_little(tmp_path: Path) -> None:
    """They are divided by their own sum, and the small ones of many tokens keep theirs."""
    checkpoint = save_checkpoint(timm_network(patch_size=2), tmp_path / "model.pt")
    found = {}
    for bits in (7, 8, 15):
        report = export(checkpoint, tmp_path / f"{bits}.onnx", softmax_bits=bits, calib=images(64), num_heads=3)
        assert report.quality is not None
        found[bits] = report.quality["sqnr_db"]
    assert found[8] > found[15] - 3
    assert found[7] > found[15] - 4


def test_a_remedy_that_does_not_help_is_not_named(tmp_path: Path) -> None:
    checkpoint = massive_neuron(tmp_path / "model.pt")
    options = {"calib": images(16), "num_heads": 3, "calib_preset": "fast"}
    report = export(checkpoint, tmp_path / "model.onnx", softmax_bits=7, **options)
    (warning,) = (text for text in report.warnings if "signal over noise" in text)
    assert "--softmax-bits" not in warning
    assert "--calib-preset default" in warning


def test_scores_too_coarse_for_8_bits_are_not_with_tables(tmp_path: Path) -> None:
    network = timm_network()
    with torch.no_grad():
        network.blocks[0].attn.qkv.weight[:32] *= 300
    checkpoint = save_checkpoint(network, tmp_path / "model.pt")
    options = {"calib": images(16), "num_heads": 3, "calib_preset": "fast"}
    report = export(checkpoint, tmp_path / "ivit.onnx", nonlinear="ivit", **options)
    (warning,) = (text for text in report.warnings if "signal over noise" in text)
    assert "most noise comes from blocks.0.attn.proj (" in warning
    assert "; try --nonlinear table, --calib-preset default" in warning
    remedied = export(checkpoint, tmp_path / "table.onnx", **options)
    assert report.quality is not None
    assert remedied.quality is not None
    assert remedied.quality["sqnr_db"] > max(LOW_DB, report.quality["sqnr_db"] + 10)
    assert not [text for text in remedied.warnings if "dB" in text]


def test_clipped_scores_of_shiftmax_are_warned_of(tmp_path: Path) -> None:
    network = timm_network()
    with torch.no_grad():
        network.blocks[0].attn.qkv.weight[:32] *= 60
    checkpoint = save_checkpoint(network, tmp_path / "model.pt")
    options = {"calib": images(16), "num_heads": 3}
    for nonlinear, expected in (("ivit", 1), ("table", 0)):
        report = export(checkpoint, tmp_path / f"{nonlinear}.onnx", nonlinear=nonlinear, **options)
        found = [text for text in report.warnings if "blocks.0.attn.core: Shiftmax clips scores at 127" in text]
        assert len(found) == expected
