"""Dyadic numbers: range, rounding, error messages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivit_onnx.errors import ExportError
from ivit_onnx.quant.dyadic import dyadic, dyadic_affine

ratios = st.floats(2.0**-31, 2.0**29) | st.floats(-(2.0**29), -(2.0**-31))


@given(ratios)
def test_relative_error_is_below_one_part_in_2_to_the_31(ratio: float) -> None:
    m, e = dyadic(ratio, "layer")
    assert 1 <= e <= 62
    assert 2**30 <= abs(int(m)) < 2**31
    assert abs(int(m) * 2.0 ** -int(e) - ratio) <= abs(ratio) * 2.0**-31


@given(st.floats(0, 2.0**-32))
def test_a_tiny_ratio_keeps_the_largest_shift(ratio: float) -> None:
    m, e = dyadic(ratio, "layer")
    assert 1 <= e <= 62
    assert abs(int(m) * 2.0 ** -int(e) - ratio) <= 2.0**-63


def test_zero_is_zero() -> None:
    m, e = dyadic(np.zeros(3), "layer")
    assert (m == 0).all()
    assert ((e >= 1) & (e <= 62)).all()


def test_halves_are_rounded_away_from_zero() -> None:
    ratio = (2**30 + 0.5) / 2**31
    assert int(dyadic(ratio, "layer").multiplier) == 2**30 + 1
    assert int(dyadic(-ratio, "layer").multiplier) == -(2**30 + 1)


def test_a_mantissa_that_rounds_up_to_2_to_the_31_is_halved() -> None:
    m, e = dyadic(1 - 2.0**-40, "layer")
    assert (int(m), int(e)) == (2**30, 30)


@pytest.mark.parametrize("ratio", [2.0**30, np.inf, np.nan])
def test_an_impossible_ratio_names_the_layer(ratio: float) -> None:
    with pytest.raises(ExportError, match=r"blocks\.3\.attn"):
        dyadic(np.array([1.0, ratio]), "blocks.3.attn")


@given(ratios.filter(lambda r: abs(r) < 2**20), st.floats(-(2.0**40), 2.0**40))
def test_an_offset_shares_the_shift_and_leaves_headroom(ratio: float, offset: float) -> None:
    (m, e), b = dyadic_affine(ratio, offset, "layer")
    assert 1 <= e <= 62
    assert abs(int(b)) <= 2**62
    error = (int(b) - 2 ** (int(e) - 1)) * 2.0 ** -int(e) - offset
    assert abs(error) <= 2.0 ** -int(e) + abs(offset) * 2.0**-50
    assert abs(int(m) * 2.0 ** -int(e) - ratio) <= abs(ratio) * 2.0**-31 + 2.0 ** -int(e)
