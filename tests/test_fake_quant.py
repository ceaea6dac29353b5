"""The forward passes of training against the operators, their gradients against the real functions."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ivit_onnx.opset import MASKED
from ivit_onnx.quant import fake_quant, nonlinear
from ivit_onnx.quant.modules import ACTIVATIONS, ActivationQuantizer, LayerNorm
from ivit_onnx.quant.tensors import QuantTensor

SCALE = torch.tensor(0.0437)


def integers(seed: int, *shape: int, bits: int = 8) -> torch.Tensor:
    """Random integers of a row-wise random spread, the extremes among them."""
    generator = torch.Generator().manual_seed(seed)
    spread = torch.rand((*shape[:-1], 1), generator=generator) * 2 ** (bits - 1)
    x = (torch.randn(shape, generator=generator) * spread).round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    x.view(-1)[0], x.view(-1)[-1] = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return x


@given(seed=st.integers(0, 2**31), n=st.integers(1, 30), x0=st.integers(-3000, -1), bits=st.sampled_from([7, 8, 15]))
@settings(max_examples=60, deadline=None)
def test_shiftmax_has_the_integers_of_the_operator(seed: int, n: int, x0: int, bits: int) -> None:
    x = integers(seed, 3, 4, 17)
    shiftmax = partial(fake_quant.shiftmax, x0=x0, n=n, frac_bits=bits)
    found = fake_quant.softmax(x * SCALE, SCALE, None, shiftmax) * 2**bits
    assert torch.equal(found, nonlinear.shiftmax(x, x0=x0, n=n, frac_bits=bits).float())
    visible = torch.rand(17, 17, generator=torch.Generator().manual_seed(seed)) > 0.4
    visible |= torch.eye(17, dtype=torch.bool)
    square = integers(seed, 2, 17, 17)
    found = fake_quant.softmax(square * SCALE, SCALE, visible, shiftmax) * 2**bits
    expected = nonlinear.shiftmax(torch.where(visible, square, MASKED), x0=x0, n=n, frac_bits=bits)
    assert torch.equal(found, expected.float())


@given(seed=st.integers(0, 2**31), n=st.integers(1, 30), x0=st.integers(-3000, -1))
@settings(max_examples=60, deadline=None)
def test_shift_gelu_has_the_integers_of_the_operator(seed: int, n: int, x0: int) -> None:
    x = integers(seed, 5, 33)
    found = fake_quant.shift_gelu(x * SCALE, SCALE, F.gelu, x0=x0, n=n) / (SCALE * 2.0**-7)
    assert torch.equal(found.round().long(), nonlinear.shift_gelu(x, x0=x0, n=n))


@given(seed=st.integers(0, 2**31), channels=st.sampled_from([1, 7, 48, 192]), bits=st.sampled_from([8, 16]))
@settings(max_examples=40, deadline=None)
def test_layer_norm_has_the_integers_of_the_operator(seed: int, channels: int, bits: int) -> None:
    torch.manual_seed(seed)
    norm = LayerNorm(channels, bits=bits)
    with torch.no_grad():
        norm.weight.normal_(1, 0.5)
        norm.bias.normal_()
    norm.output.set_range(3.0)
    x = integers(seed, 4, channels, bits=16)
    scale = torch.tensor(0.0003)
    found = norm.train()(QuantTensor(x * scale, scale)).value / norm.output.scale
    expected = norm.eval()(QuantTensor(x.long(), scale)).value
    assert torch.equal(found.round().long(), expected)


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_gradients_of_non_linear_functions_are_those_of_the_real_ones(act: str) -> None:
    x = (integers(3, 6, 40) * SCALE).requires_grad_()
    g = torch.randn(6, 40, generator=torch.Generator().manual_seed(1))
    fake_quant.shift_gelu(x, SCALE, ACTIVATIONS[act], x0=-13, n=20).backward(g)
    real = x.detach().clone().requires_grad_()
    ACTIVATIONS[act](real).backward(g)
    torch.testing.assert_close(x.grad, real.grad)


def test_gradient_of_shiftmax_is_that_of_softmax() -> None:
    scale = torch.tensor(1 / 16)
    x = (torch.randn(4, 30, generator=torch.Generator().manual_seed(0)) * 16).round() * scale
    x.requires_grad_()
    g = torch.randn(4, 30, generator=torch.Generator().manual_seed(1))
    fake_quant.softmax(x, scale, None, partial(fake_quant.shiftmax, x0=-16, n=12, frac_bits=15)).backward(g)
    real = x.detach().clone().requires_grad_()
    real.softmax(-1).backward(g)
    assert x.grad is not None
    assert (x.grad - real.grad).norm() < 0.08 * real.grad.norm()


def test_gradients_of_layer_norm_are_those_of_the_real_one() -> None:
    torch.manual_seed(0)
    norm = LayerNorm(48).train()
    norm.output.set_range(6.0)
    scale = torch.tensor(0.0003)
    x = ((torch.randn(5, 48) * 3 / scale).round() * scale).requires_grad_()
    g = torch.randn(5, 48)
    norm(QuantTensor(x, scale)).value.backward(g)
    real = x.detach().clone().requires_grad_()
    weight, bias = (p.detach().clone().requires_grad_() for p in (norm.weight, norm.bias))
    F.layer_norm(real, (48,), weight, bias).backward(g)
    for found, expected in ((x, real), (norm.weight, weight), (norm.bias, bias)):
        torch.testing.assert_close(found.grad, expected.grad, rtol=5e-3, atol=1e-3)


def test_gradient_stops_where_values_are_clipped() -> None:
    x = torch.tensor([-20.0, -1.0, 0.3, 20.0], requires_grad=True)
    y = fake_quant.quantize(x, torch.tensor(0.1), -128, 127)
    torch.testing.assert_close(y, torch.tensor([-12.8, -1.0, 0.3, 12.7]))
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 0]


def test_a_learned_scale_has_the_gradient_of_learned_step_sizes() -> None:
    """d(output) / d(scale) is the integer where values are clipped, and rounding error in steps elsewhere."""
    activation = ActivationQuantizer(8).train()
    activation.scale.fill_(0.1)
    activation.learn()
    x = torch.tensor([-20.0, 0.33, 20.0])
    activation(x).sum().backward()
    expected = (-128 + (3 - 3.3) + 127) * 0.1 / (3 * 127) ** 0.5
    assert activation.log_scale is not None
    assert activation.log_scale.grad is not None
    assert float(activation.log_scale.grad) == pytest.approx(expected, rel=1e-3)


def test_a_learned_scale_finds_the_range_of_its_values() -> None:
    torch.manual_seed(0)
    activation = ActivationQuantizer(8).train()
    activation.set_range(40.0)
    activation.learn()
    x = torch.randn(4096)
    optimizer = torch.optim.Adam(activation.parameters(), lr=0.02, betas=(0.9, 0.9))
    for _ in range(300):
        optimizer.zero_grad()
        (activation(x) - x).square().sum().backward()
        optimizer.step()
    assert 2.5 < float(activation.scale) * 127 < 5
