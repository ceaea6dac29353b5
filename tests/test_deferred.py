"""Deferred attention: its softmax at every scale, states with and without its marks, training, versions of files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import ivit_onnx
from ivit_onnx.api import export, load_twin, read_metadata
from ivit_onnx.architectures.size import Size
from ivit_onnx.calibration import apply_calibration, collect_statistics
from ivit_onnx.checkpoints import Trained, load_checkpoint, write_trained
from ivit_onnx.errors import CalibrationError, CheckpointError
from ivit_onnx.exported import write_metadata
from ivit_onnx.exporters import build_graph, finish, save
from ivit_onnx.models import Twin, from_checkpoint
from ivit_onnx.opset import DOMAIN, OPERATORS
from ivit_onnx.options.choices import Nonlinear
from ivit_onnx.quant.attention import Attention, AttentionCore
from ivit_onnx.quant.deferred import DeferredSoftmax
from ivit_onnx.quant.swin import WindowAttention
from ivit_onnx.quant.tensors import QuantTensor
from ivit_onnx.verification import verify
from networks import images, pixels, save_checkpoint, timm_network, timm_swin, uncalibrated_twin

BITS = st.sampled_from([7, 8, 15])
#: Networks, and the options of their export.
NETWORKS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "vit": (lambda: timm_network(depth=1), {"num_heads": 3}),
    "swin": (lambda: timm_swin(depths=(2, 1)), {"img_size": 32}),
}
OPERATOR = {
    "vit": ("IntTableAttention", "IntDeferredAttention"),
    "swin": ("IntTableWindowAttention", "IntDeferredWindowAttention"),
}


# The softmax as attributes and constants.


@given(
    product_scale=st.floats(-90, 77).map(lambda exponent: np.float64(10.0**exponent)),
    head_dim=st.sampled_from([1, 2, 3, 8, 32, 64, 80, 256]),
    keys=st.sampled_from([1, 2, 49, 197, 512, 513, 65535]),
    bits=BITS,
    largest_bias=st.sampled_from([0.0, 1e-30, 0.7, 16.0, 3e38]),
)
@settings(max_examples=200, deadline=None)
def test_attributes_are_in_the_contract(
    product_scale: np.float64, head_dim: int, keys: int, bits: int, largest_bias: float
) -> None:
    softmax = DeferredSoftmax(product_scale, head_dim, keys, bits, largest_bias)
    found = softmax.attributes()
    operator = OPERATORS["IntDeferredAttention"]
    ranges = {attribute.name: attribute for attribute in operator.attributes if attribute.name != "heads"}
    assert set(found) == set(ranges)
    for name, value in found.items():
        assert type(value) is int
        assert ranges[name].minimum <= value <= ranges[name].maximum
        assert not ranges[name].allowed or value in ranges[name].allowed
    (limit,) = operator.limits
    assert limit.form == "T*levels"
    assert keys * found["levels"] <= limit.maximum
    # As many as were asked for, unless twice as many would be too many.
    assert found["levels"] == 2**bits or (found["levels"] < 2**bits and 2 * keys * found["levels"] > limit.maximum)
    table = softmax.constants()["exponentials"]
    assert (table.dtype, table.shape, table[0]) == (np.int16, (256,), 32767)
    assert (np.diff(table) <= 0).all()
    biases = softmax.biases(np.array([[largest_bias, -largest_bias, 0.0]]))
    assert (biases.dtype, biases.shape, biases[0, 2]) == (np.int16, (1, 3), 0)


@pytest.mark.parametrize(
    ("head_dim", "shift"), [(1, 0), (2, 0), (3, 1), (4, 1), (32, 4), (64, 5), (65, 6), (128, 6), (256, 7)]
)
def test_products_of_bytes_fit_scores(head_dim: int, shift: int) -> None:
    """With the fewest bits lost; the product of two rows of -128 may be clamped by one."""
    softmax = DeferredSoftmax(np.float64(1e-4), head_dim, 50, 15)
    assert softmax.score_shift == shift
    assert softmax.scale == 1e-4 * 2**shift
    largest = head_dim * 128 * 128
    assert largest >> shift <= 2**15
    assert shift == 0 or largest >> shift - 1 > 2**15


@pytest.mark.parametrize(("largest_bias", "shift"), [(0.0, 5), (52.0, 5), (53.0, 6), (1e4, 13), (1e6, 15), (1e9, 15)])
def test_biases_are_half_of_what_scores_have_room_for(largest_bias: float, shift: int) -> None:
    """A scale of 1e-4 is 52.4 of real bias in 2^14 steps of 2^5; beyond a shift of 15 biases are clamped."""
    softmax = DeferredSoftmax(np.float64(1e-4), 64, 49, 15, largest_bias)
    assert softmax.score_shift == shift
    table = np.array([largest_bias, -largest_bias, largest_bias / 3])
    exact = np.rint(table / (1e-4 * 2**shift))
    assert np.array_equal(softmax.biases(table), np.clip(exact, -(2**15), 2**15 - 1))
    assert shift == 15 or np.abs(exact).max() <= 2**14


@given(exponent=st.floats(-9, 1), head_dim=st.sampled_from([1, 32, 64]))
@settings(max_examples=50, deadline=None)
def test_the_step_of_the_table_is_what_distances_are_counted_in(exponent: float, head_dim: int) -> None:
    """Entries are the exponentials of the real distances that fall into them, and 0 at the end that all others take."""
    softmax = DeferredSoftmax(np.float64(10.0**exponent), head_dim, 197, 15)
    table = softmax.constants()["exponentials"].astype(np.float64)
    distance = np.unique(np.geomspace(1, 32767, 2000).astype(np.int64))
    entry = (distance * softmax.multiplier + 2**14) >> 15
    real, step = distance * float(softmax.scale), float(softmax.scale) * 2**15 / softmax.multiplier
    inside = entry <= 255
    # Half a step away at most, and rounded.
    assert (table[entry[inside]] <= 32767 * np.exp(-(real[inside] - step / 2)) + 0.5).all()
    assert (table[entry[inside]] >= 32767 * np.exp(-(real[inside] + step / 2)) - 0.5).all()
    if not inside.all():
        assert table[255] == 0
        assert (32767 * np.exp(-real[~inside]) < 0.5).all()


@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e-10, 1e10, 1e38])
@pytest.mark.parametrize("family", NETWORKS)
def test_any_scale_of_queries_and_keys_has_integers(family: str, scale: float) -> None:
    core = core_of(family, 8)
    core.output.set_scale(scale)
    lowered = core.lower(np.float32(scale), np.float32(scale))
    operator = OPERATORS[OPERATOR[family][1]]
    assert lowered.operator == operator.name
    for attribute in operator.attributes:
        assert attribute.minimum <= lowered.attributes[attribute.name] <= attribute.maximum


# Training: values are those of the integers, gradients those of softmax.


def core_of(family: str, bits: int, *, head_dim: int = 16, shift: int = 1) -> AttentionCore:
    """An attention with tables: of 7 tokens, or in windows of 3 x 3, padded, on a grid of 4 x 5."""
    torch.manual_seed(bits)
    core: AttentionCore
    if family == "vit":
        core = Attention(2, head_dim, 7, bits)
    else:
        core = WindowAttention(2, head_dim, Size(4, 5), 3, shift, bits)
        torch.nn.init.normal_(core.relative_position_bias_table, std=0.7)
    core.set_nonlinear("table")
    core.output.set_scale(2.0**-5)
    return core.named("core") if hasattr(core, "named") else core


def inputs(family: str, core: AttentionCore, seed: int) -> list[Tensor]:
    """Integers: packed queries, keys and values, and those of a padding token."""
    generator = torch.Generator().manual_seed(seed)
    width = 3 * core.heads * core.head_dim
    spread = float(torch.rand((), generator=generator)) * 100 + 1
    tokens = (torch.randn(2, 7 if family == "vit" else 20, width, generator=generator) * spread).round()
    padding = (torch.randn(width, generator=generator) * 30).round()
    return [x.clamp(-127, 127) for x in ([tokens] if family == "vit" else [tokens, padding])]


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("head_dim", [4, 16])
@pytest.mark.parametrize("family", NETWORKS)
@given(seed=st.integers(0, 2**31), bits=BITS)
@settings(max_examples=15, deadline=None)
def test_training_has_the_values_of_the_integers(
    family: str, head_dim: int, shift: int, seed: int, bits: int
) -> None:
    """Scales that are powers of two make the real products exact."""
    core = core_of(family, bits, head_dim=head_dim, shift=shift)
    scale = torch.tensor(2.0**-4)
    x = inputs(family, core, seed)
    with torch.no_grad():
        found = core.train()(*(QuantTensor(array * scale, scale) for array in x)).value / core.output.scale
        expected = core.eval()(*(QuantTensor(array.long(), scale) for array in x)).value
    # Contexts are rounded to 2^-15 before they are requantised: one step where that is a half.
    assert (found.round() - expected).abs().max() <= 1
    assert torch.equal(found.round().long(), expected) or (found.round() != expected).float().mean() < 0.01


@pytest.mark.parametrize("family", NETWORKS)
def test_gradients_are_those_of_attention_in_floating_point(family: str) -> None:
    core = core_of(family, 15).train()
    scale = torch.tensor(2.0**-6)
    x = inputs(family, core, 3)
    found, real = ([(array * scale).requires_grad_() for array in x] for _ in range(2))
    y = core(*(QuantTensor(array, scale) for array in found)).value
    g = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    y.backward(g)
    biases = [] if family == "vit" else [core.relative_position_bias_table]
    given_gradients = [array.grad for array in (*found, *biases)]
    core.zero_grad()
    core.quantized = core.output.quantized = False
    for point in core.scaled_scores():
        point.quantized = False
    if isinstance(core, WindowAttention):
        core.table.quantized = False
    core(*(QuantTensor(array, scale) for array in real)).value.backward(g)
    for gradient, exact in zip(given_gradients, (array.grad for array in (*real, *biases)), strict=True):
        assert gradient is not None
        assert exact is not None
        assert float(exact.norm()) > 0
        assert float((gradient - exact).norm()) < 0.02 * float(exact.norm())
