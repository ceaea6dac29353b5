"""The functions of IPTQ-ViT as exact integers, and the benchmark that compares them with those of operators."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import iptq
import numpy as np
import pytest

from ivit_onnx.opset.arithmetic import shift_exp
from networks import images, save_checkpoint, timm_network
from networks import timm_swin as swin

SCORES = np.arange(0, -128, -1)


@pytest.mark.parametrize("inverse", [9, 16, 32, 127])
def test_one_shift_without_rounding_is_the_exponential_of_shiftmax(inverse: int) -> None:
    found = iptq.bit_exponential(SCORES, -inverse, 16, rounded=False, shifts=(1,))
    cut = -16 * inverse <= SCORES + (SCORES >> 1) - (SCORES >> 4)
    # Shiftmax has the last bit of the remainder as well.
    np.testing.assert_allclose(found[cut], shift_exp(SCORES, -inverse, 16)[cut], rtol=0, atol=2**15 + 1)


@pytest.mark.parametrize(
    ("rounded", "shifts", "lowest", "highest", "rises"),
    # 2^r of r in (-1, 0], and in [-0.5, 0.5], against 1 + 0.6875 r: at -1 it is 37.5 % less.
    [(False, (1, 3, 4), 0.62, 1.01, True), (True, (1, 3, 4), 0.91, 1.01, True), (False, (1,), 0.99, 1.07, False)],
)
def test_the_error_of_a_power_of_two(
    rounded: bool, shifts: tuple[int, ...], lowest: float, highest: float, rises: bool
) -> None:
    scale = 1 / 2**14
    d = np.arange(0, -(2**15), -1)
    found = iptq.bit_exponential(d, -(2**14), 16, rounded=rounded, shifts=shifts)
    power = (d + (d >> 1) - (d >> 4)) * scale
    ratio = found / (2.0**30 * 2.0**power)
    assert lowest < ratio.min() < lowest + 0.02
    assert highest - 0.03 < ratio.max() < highest
    # Neither split of Bit-Softmax is monotone, Shiftmax is: a lower score may get a larger probability.
    assert bool((np.diff(found) > 0).any()) is rises


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("frac_bits", [7, 15])
@pytest.mark.parametrize("spread", [0.0, 1.0, 40.0, 200.0])
def test_probabilities_are_in_bounds(rounded: bool, frac_bits: int, spread: float) -> None:
    scores = np.random.default_rng(0).standard_normal((16, 197)) * spread
    x = np.clip(np.rint(scores), -128, 127).astype(np.int8)
    found = iptq.bit_softmax(x, 1 / 32, rounded=rounded, frac_bits=frac_bits)
    assert found.min() >= 0
    assert found.max() < 2**frac_bits
    assert found.sum(-1).max() <= 2**frac_bits
    # What is rounded down is missing from the sum: with 7 bits a flat row has nothing left.
    assert found.sum(-1).min() > 2**frac_bits - found.shape[-1] - 2 ** (frac_bits - 6)


@pytest.mark.parametrize("largest", [0.5, 3.0, 6.0, 40.0])
def test_the_polynomial_stays_within_its_error(largest: float) -> None:
    scale = largest / 127
    x = np.arange(-127, 128).astype(np.int8)
    found, unit = iptq.poly_gelu(x, scale)
    assert np.abs(found).max() < 2**24
    # 0.0093 in real numbers, and what b loses by rounding it down to a step.
    assert np.abs(found * unit - iptq.exact_gelu(x * scale)).max() < 0.0094 + 0.2 * scale
    assert found[127] == 0


def test_decibels_of_real_functions_and_of_codes() -> None:
    """The floor split is worse than Shiftmax and the rounded split better, with bits below a step of scores."""
    scores, hidden = iptq.synthetic()
    for part in scores:
        db = {row["function"]: row["function_db"] for row in iptq.softmax_rows(part)}
        ours = db["Shiftmax, 15 bits, further bits"]
        assert -14 < db["Bit-Softmax, floor, 15 bits"] - ours < -8
        assert 2.5 < db["Bit-Softmax, rounded, 15 bits"] - ours < 7.5
        # Shifts of a remainder in steps of codes lose that.
        assert db["Bit-Softmax, rounded, 15 bits, no further bits"] < db["Shiftmax, 15 bits"] - 2
        assert max(db, key=lambda name: db[name]) == "TableSoftmax, 15 bits"
    for part in hidden:
        gelu = {row["function"]: row["total_db"] for row in iptq.gelu_rows(part)}
        assert gelu["ShiftGELU"] < gelu["Poly-GELU"] < gelu["TableGELU"]


def test_the_exact_function_has_no_noise_and_the_metric_prefers_fewer_operations() -> None:
    x = np.random.default_rng(0).random(100)
    assert iptq.decibels(1.1 * x, x) == pytest.approx(20)
    assert iptq.omega(1.01 * x, x, 2) > iptq.omega(1.001 * x, x, 20)
    assert iptq.omega(1.1 * x, x, 8) == pytest.approx(
        3 / (1 / math.log1p(math.exp(20)) + math.log1p(math.exp(np.square(0.1 * x).mean())) + math.log(10))
    )


@pytest.mark.parametrize("network", ["vit", "swin"])
def test_a_network_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str) -> None:
    made = timm_network() if network == "vit" else swin()
    checkpoint = save_checkpoint(made, tmp_path / "weights.pth")
    np.save(tmp_path / "images.npy", np.stack(images(8)))
    output = tmp_path / "out.json"
    more = ("--num-heads", "3") if network == "vit" else ("--img-size", "32")
    given = (str(checkpoint), "--calib", str(tmp_path / "images.npy"), *more, "-o", str(output))
    monkeypatch.setattr(sys, "argv", ["iptq.py", *given])
    iptq.main()
    found = json.loads(output.read_text())
    layers = {"vit": 2, "swin": 4}[network]
    rows = found["network"]["summary"]
    assert {row["layers"] for row in rows} == {layers}
    for kind in (True, False):
        for key in ("chosen_by_total_db", "chosen_by_omega"):
            assert sum(row[key] for row in rows if ("GELU" in row["function"]) is kind) == layers
    exact = {row["function"]: row["total_db"] for row in rows}
    assert exact["deferred, 15 bits"] > exact["Shiftmax, 15 bits"]
    assert exact["TableGELU"] > exact["ShiftGELU"]
