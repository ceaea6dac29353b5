"""Compensated rounding: errors of weights that make up for each other on the inputs of a layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ivit_onnx.api import export, load_twin
from ivit_onnx.calibration.adjustments import COMPENSATED, weight_scales
from ivit_onnx.calibration.rounding import MOST_ROWS, _moments, compensated
from ivit_onnx.verification import verify
from networks import images, save_checkpoint, timm_network


def layer(seed: int, rows: int, inner: int, out: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs [rows, inner] that depend on each other, with a mean, and weights [out, inner]."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(max(1, inner // 3), inner, generator=generator)
    few = torch.randn(rows, len(mixing), generator=generator)
    x = few @ mixing + 0.05 * torch.randn(rows, inner, generator=generator) + torch.randn(inner, generator=generator)
    return x, torch.randn(out, inner, generator=generator)


def integers(weight: torch.Tensor, offsets: np.ndarray | int = 0) -> torch.Tensor:
    return torch.round(weight / weight_scales(weight)[:, None]) + torch.as_tensor(offsets)


def error(x: torch.Tensor, weight: torch.Tensor, steps: torch.Tensor) -> float:
    """Variance of what the rounded weights add to the layer's outputs: a bias takes their mean."""
    off = x.double() @ (steps.double() * weight_scales(weight)[:, None].double() - weight.double()).T
    return float(off.var(0).sum())


@given(seed=st.integers(0, 2**16), inner=st.integers(24, 150), out=st.integers(6, 12))
@settings(max_examples=40, deadline=None)
def test_errors_make_up_for_each_other(seed: int, inner: int, out: int) -> None:
    x, weight = layer(seed, 4 * inner + 20, inner, out)
    offsets = compensated(weight, *_moments(x))
    found = integers(weight, offsets)
    assert error(x, weight, found) < 0.8 * error(x, weight, integers(weight))
    # Rows have the same scale, and what is off is what fits in the file.
    assert (found.abs().amax(1) == 127).all()
    assert (found[integers(weight).abs() == 127].abs() == 127).all()
    assert np.abs(offsets).max() <= COMPENSATED


def test_inputs_that_tell_nothing_of_each_other_leave_the_nearest() -> None:
    _, weight = layer(0, 1, 30, 5)
    assert not compensated(
        weight, torch.eye(30, dtype=torch.float64), torch.zeros(30, dtype=torch.float64), 10**6
    ).any()
    nothing = torch.zeros(30, 30, dtype=torch.float64), torch.zeros(30, dtype=torch.float64)
    assert not compensated(weight, *nothing, 100).any()


def test_without_a_bias_the_mean_counts() -> None:
    x, weight = layer(3, 400, 40, 20)
    whole = [integers(weight, compensated(weight, *_moments(x), centred=centred)) for centred in (False, True)]
    means = [float((x.mean(0) @ (steps * weight_scales(weight)[:, None] - weight).T).abs().mean()) for steps in whole]
    assert means[0] < 0.5 * means[1]


def test_rows_of_nearly_no_weight_stay() -> None:
    x, weight = layer(4, 200, 20, 8)
    weight[3] *= 1e-6
    offsets = compensated(weight, *_moments(x))
    assert offsets.any()
    assert not offsets[3].any()


def test_sums_are_exact_in_any_order() -> None:
    x, _ = layer(5, MOST_ROWS, 17, 1)
    gram, mean, rows = _moments(x)
    again = _moments(x[torch.randperm(len(x), generator=torch.Generator().manual_seed(1))])
    assert rows == MOST_ROWS
    assert torch.equal(gram, again[0])
    assert torch.equal(mean, again[1])
    # More rows than are taken.
    assert _moments(torch.cat([x, x]))[2] == MOST_ROWS


@pytest.mark.parametrize("preset", ["fast", "default"])
def test_an_export_keeps_its_rounding(preset: str, tmp_path: Path) -> None:
    """Another twin finds the integers of the model again."""
    checkpoint = save_checkpoint(timm_network(), tmp_path / "model.pt")
    export(checkpoint, tmp_path / "model.onnx", calib=images(8), calib_preset=preset, num_heads=3)
    twin = load_twin(tmp_path / "model.onnx", checkpoint)
    assert any(name.endswith(".rounding") for name in twin.adjustments) == (preset == "default")
    report = verify(tmp_path / "model.onnx", against=checkpoint, count=2, threads=1)
    assert report.equal == report.total


def test_it_pays_on_a_network(tmp_path: Path) -> None:
    checkpoint = save_checkpoint(timm_network(patch_size=2), tmp_path / "model.pt")
    found = {}
    for preset in ("fast", "default"):
        report = export(checkpoint, tmp_path / f"{preset}.onnx", calib=images(64), calib_preset=preset, num_heads=3)
        assert report.quality is not None
        found[preset] = report.quality["sqnr_db"]
    assert found["default"] > found["fast"] + 1
