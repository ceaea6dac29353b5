"""Calibration: one pass, its cache, its errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ivit_onnx.calibration import (
    Calibration,
    Recipe,
    apply_calibration,
    collect_statistics,
    load_calibration,
    save_calibration,
)
from ivit_onnx.errors import CalibrationError
from ivit_onnx.options.choices import METHODS, NONLINEAR, Method, Nonlinear
from networks import SIZE, images, pixels, uncalibrated_twin


def statistics(count: int = 12) -> Calibration:
    return collect_statistics(uncalibrated_twin(), iter(images(count)), "fingerprint")


@pytest.mark.parametrize("method", METHODS)
def test_every_activation_gets_a_scale(method: Method) -> None:
    model = uncalibrated_twin()
    apply_calibration(model, statistics(), method)
    state = model.quantization_state()
    assert all(value > 0 for name, value in state.items() if not name.endswith(".zero_point"))
    assert all(value == 0 for name, value in state.items() if name.endswith(".zero_point"))


@pytest.mark.parametrize("nonlinear", NONLINEAR)
def test_every_function_by_shifts_gets_an_n(nonlinear: Nonlinear) -> None:
    model = uncalibrated_twin(nonlinear=nonlinear)
    apply_calibration(model, statistics(), "minmax")
    exponents = [value for name, value in model.quantization_state().items() if name.endswith(".n")]
    assert len(exponents) == 4
    assert all((value > 0) == (nonlinear == "ivit") for value in exponents)


def test_ranges_cover_what_was_seen() -> None:
    """But for arguments of a GELU so far below 0 that the result is rounded to 0."""
    model, seen = uncalibrated_twin(nonlinear="table"), statistics()
    apply_calibration(model, seen, Recipe(zero_points=True))
    activations = model.activations()
    for name, activation in ((name, activations[name]) for name in seen.histograms):
        low, high = (bound * float(activation.scale) for bound in activation.bounds)
        step = float(activation.scale)
        assert high >= seen.histograms[name].high - step, name
        if not name.endswith(".hidden") or low > -2:
            assert low <= seen.histograms[name].low + step, name


def test_ranges_of_16_bits_are_a_quarter_wider_than_what_was_seen() -> None:
    model, seen = uncalibrated_twin(), statistics()
    apply_calibration(model, seen, "minmax")
    wide = {name: found for name, found in model.activations().items() if found.bits == 16 and name in seen.histograms}
    assert wide
    for name, activation in wide.items():
        largest = float(activation.scale) * activation.levels
        assert largest == pytest.approx(1.25 * seen.histograms[name].maximum, rel=1e-5), name


def test_batches_do_not_matter_for_the_maximum() -> None:
    together = statistics()
    alone = uncalibrated_twin()
    single = collect_statistics(alone, (image for image in images(12)), "fingerprint")
    for name, histogram in together.histograms.items():
        assert histogram.maximum == pytest.approx(single.histograms[name].maximum, rel=1e-5)


def test_observers_are_gone_afterwards() -> None:
    model = uncalibrated_twin()
    apply_calibration(model, collect_statistics(model, images(2), "fingerprint"), "mse")
    before = model.quantization_state()
    with torch.inference_mode():
        model(torch.from_numpy(pixels(2)))
    assert model.quantization_state() == before
    assert all(activation.observer is None for activation in model.activations().values())


def test_the_cache_gives_the_same_scales(tmp_path: Path) -> None:
    calibration = statistics()
    save_calibration(tmp_path / "cache", calibration)
    loaded = load_calibration(tmp_path / "cache", "fingerprint")
    assert loaded.source == calibration.source == "images"
    assert loaded.images == 12
    for method in METHODS:
        first, second = uncalibrated_twin(), uncalibrated_twin()
        apply_calibration(first, calibration, method)
        apply_calibration(second, loaded, method)
        assert first.quantization_state() == second.quantization_state()


def test_the_cache_is_refused_for_another_checkpoint(tmp_path: Path) -> None:
    save_calibration(tmp_path / "cache", statistics(1))
    with pytest.raises(CalibrationError, match="another checkpoint"):
        load_calibration(tmp_path / "cache", "other")


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\xff" * 8, b"\x10\0\0\0\0\0\0\0{}"])
def test_a_damaged_cache_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cache").write_bytes(content)
    with pytest.raises(CalibrationError, match="delete it"):
        load_calibration(tmp_path / "cache", "fingerprint")


def test_a_cache_of_another_architecture_is_refused() -> None:
    with pytest.raises(CalibrationError, match="another architecture"):
        apply_calibration(uncalibrated_twin(depth=3), statistics(1), "mse")


def test_no_images_is_an_error() -> None:
    with pytest.raises(CalibrationError, match="at least one"):
        collect_statistics(uncalibrated_twin(), [], "fingerprint")


def test_infinite_activations_are_an_error() -> None:
    with pytest.raises(CalibrationError, match="infinite or NaN"):
        collect_statistics(uncalibrated_twin(), [np.full((3, SIZE, SIZE), np.inf, np.float32)], "fingerprint")


def test_an_unknown_method_is_an_error() -> None:
    with pytest.raises(CalibrationError, match="minmax, percentile, mse, entropy"):
        apply_calibration(uncalibrated_twin(), statistics(1), "nearest")  # type: ignore[arg-type]
