"""Running histograms and the ranges taken from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ivit_onnx.options.choices import METHODS
from ivit_onnx.quant.observers import Histogram


def histogram(*parts: torch.Tensor) -> Histogram:
    result = Histogram()
    for part in parts:
        result.update(part)
    return result


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=50), st.integers(0, 50))
def test_nothing_is_lost_when_the_limit_grows(values: list[float], cut: int) -> None:
    x = torch.tensor(values)
    h = histogram(x[:cut], x[cut:])
    assert h.counts.sum() == len(values)
    assert h.maximum == pytest.approx(float(x.abs().max()))
    assert h.maximum <= h.limit or h.maximum < 1e-30


def test_min_max_is_the_largest_value_wherever_it_came() -> None:
    x = torch.linspace(-1, 1, 1000)
    assert histogram(x, 5 * x, x).range("minmax", 127) == 5.0
    assert histogram(5 * x, x).range("minmax", 127) == 5.0


def test_percentile_ignores_one_outlier_in_a_million() -> None:
    torch.manual_seed(0)
    x = torch.randn(60_000)
    x[123] = 1000.0
    h = histogram(x)
    assert h.range("minmax", 127) == 1000.0
    assert h.range("percentile", 127) < 10.0


def test_mse_has_less_error_than_min_max_on_normal_data() -> None:
    torch.manual_seed(0)
    x = torch.randn(60_000)
    h = histogram(x)

    def error(maximum: float) -> float:
        scale = maximum / 7
        return float((torch.clamp(torch.round(x / scale), -8, 7) * scale - x).pow(2).mean())

    assert error(h.range("mse", 7)) < 0.8 * error(h.range("minmax", 7))


@pytest.mark.parametrize("method", METHODS)
def test_zeros_have_no_range(method: str) -> None:
    assert histogram(torch.zeros(10)).range(method, 127) == 0.0
    assert np.array_equal(histogram(torch.zeros(10), torch.ones(2)).counts.nonzero()[0], [0, 2047])


def test_an_empty_tensor_changes_nothing() -> None:
    h = histogram(torch.zeros(0))
    assert h.counts.sum() == 0
    assert h.maximum == 0
