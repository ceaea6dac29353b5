"""What calibration does about outliers: shifted normalisations, massive neurons, sharp heads, biases that are noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ivit_onnx.api import export, load_twin
from ivit_onnx.architectures import Preprocess
from ivit_onnx.calibration import Calibration, Recipe, Reference, apply_calibration, collect_statistics, replay
from ivit_onnx.calibration.adjustments import _exact_product, decode_factors
from ivit_onnx.calibration.correction import _certain
from ivit_onnx.calibration.neurons import neuron_codes
from ivit_onnx.calibration.scores import COARSE
from ivit_onnx.calibration.smoothing import shifts
from ivit_onnx.checkpoints import read_architecture
from ivit_onnx.errors import CalibrationError
from ivit_onnx.models import Twin, from_state_dict
from ivit_onnx.options.choices import Nonlinear
from ivit_onnx.quant.deferred import DeferredSoftmax
from ivit_onnx.quant.modules import ACTIVATIONS
from ivit_onnx.quant.recorders import Channels
from ivit_onnx.verification import verify
from networks import SIZE, images, save_checkpoint, timm_network, timm_swin

Array = np.ndarray[Any, Any]
Plant = Callable[[Any], None]


def constant_channels(network: Any) -> None:
    """Three channels of each normalisation far from 0 in every token, which the biases after it make up for."""
    layers = [layer.blocks for layer in network.layers] if hasattr(network, "layers") else [network.blocks]
    with torch.no_grad():
        for block in (block for blocks in layers for block in blocks):
            for norm, linear in ((block.norm1, block.attn.qkv), (block.norm2, block.mlp.fc1)):
                norm.bias[2:5] += 60
                linear.bias -= 60 * linear.weight[:, 2:5].sum(1)


def massive_neuron(network: Any) -> None:
    """A neuron that reaches forty times further than the others, and counts as much as they do."""
    with torch.no_grad():
        for block in network.blocks:
            block.mlp.fc1.weight[5] *= 40
            block.mlp.fc1.bias[5] *= 40
            block.mlp.fc2.weight[:, 5] /= 40


def sharp_head(network: Any) -> None:
    """In each layer a head whose scores reach 100 and more, to many tokens."""
    layers = [layer.blocks for layer in network.layers] if hasattr(network, "layers") else [network.blocks]
    with torch.no_grad():
        for block in (block for blocks in layers for block in blocks):
            size = block.attn.qkv.weight.shape[1] // block.attn.num_heads
            block.attn.qkv.weight[:size] *= 40
            block.attn.qkv.bias[:size] *= 40


def sink_head(network: Any) -> None:
    """A head that all tokens attend to the class token with, by a score of more than 100, far above all others."""
    torch.manual_seed(1)
    with torch.no_grad():
        network.cls_token.normal_(std=4)
        norm = network.blocks[0].norm1
        direction = norm(network.cls_token[0, 0] + network.pos_embed[0, 0])
        linear = network.blocks[0].attn.qkv
        width = len(direction)
        linear.weight[0] = 0
        linear.bias[0] = 10
        linear.weight[width] = direction / direction.norm() * 80 / direction.norm()
        # The other heads look at several tokens, whose scores need fine steps.
        linear.weight[width // 3 : width] *= 4


def nothing(network: Any) -> None:
    """The network as it is."""


def twin_of(network: Any, size: int = SIZE, nonlinear: Nonlinear = "table") -> Twin:
    """The twin of a network."""
    state = network.state_dict()
    heads = None if hasattr(network, "layers") else 3
    twin = from_state_dict(state, read_architecture(state, heads=heads, image_size=size), Preprocess(size))
    twin.set_nonlinear(nonlinear)
    return twin


def planted(plant: Plant, **changes: Any) -> Any:
    """A small timm network with something planted."""
    network = timm_network(**changes)
    plant(network)
    return network


def calibrated(
    network: Any, recipe: Recipe, count: int = 24, nonlinear: Nonlinear = "table"
) -> tuple[Twin, Calibration, float]:
    """Its twin, the statistics, and the decibels on the images held back."""
    twin = twin_of(network, nonlinear=nonlinear)
    seen = collect_statistics(twin, images(count), "test")
    reference = Reference.collect(twin, seen)
    assert reference is not None
    apply_calibration(twin, seen, recipe)
    return twin, seen, reference.compare(twin).sqnr_db


def floating(model: Twin, x: torch.Tensor) -> torch.Tensor:
    model.set_quantized(False)
    with torch.inference_mode():
        y: torch.Tensor = model(x)
    model.set_quantized(True)
    return y


def kinds(model: Twin, kind: str) -> set[str]:
    """The layers that have an adjustment of this kind."""
    return {name.removesuffix(f".{kind}") for name in model.adjustments if name.endswith(f".{kind}")}


def assert_replayed(network: Any, model: Twin, size: int = SIZE) -> None:
    """The adjustments alone, on the weights of the checkpoint, give the same bits."""
    again = twin_of(network, size)
    replay(again, model.adjustments)
    assert {name for name, _ in again.named_parameters()} == {name for name, _ in model.named_parameters()}
    for (name, found), (_, expected) in zip(again.named_parameters(), model.named_parameters(), strict=True):
        assert torch.equal(found, expected), name


# Shifted normalisations


@pytest.mark.parametrize("smoothing", [False, True])
def test_constant_channels_are_shifted_and_the_function_stays(smoothing: bool) -> None:
    network = planted(constant_channels)
    recipe = Recipe(shifting=True, smoothing=smoothing)
    x = torch.from_numpy(np.stack(images(4, seed=1)))
    before = floating(twin_of(network), x)
    model, _, decibels = calibrated(network, recipe)
    # The last one sees nothing but class tokens, whose channels hardly differ between images.
    assert kinds(model, "shift") == {"norm", *(f"blocks.{block}.norm{norm}" for block in range(2) for norm in (1, 2))}
    torch.testing.assert_close(floating(model, x), before, rtol=1e-4, atol=1e-4)
    for name, shift in model.adjustments.items():
        if name.endswith((".norm1.shift", ".norm2.shift")):
            assert shift.dtype == np.float16
            assert np.abs(shift[2:5] - 60).max() < 10
            assert np.abs(np.delete(shift, [2, 3, 4])).max() < 10
    assert_replayed(network, model)
    _, _, unshifted = calibrated(network, replace(recipe, shifting=False))
    assert decibels > unshifted + (3 if smoothing else 10)


def test_channels_around_zero_are_not_shifted() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(64, 32))
    for offset, expected in ((0.0, False), (0.3, False), (50.0, True)):
        channels = Channels()
        x = rng.normal(size=(1000, 32))
        x[:, 7] += offset
        channels.update(torch.from_numpy(x))
        found = shifts(channels, weight)
        assert (found is not None) == expected, offset
    assert found is not None
    np.testing.assert_array_equal(found, channels.mean.astype(np.float16))
    assert found[7] == pytest.approx(50, abs=0.3)


def test_a_shift_goes_into_the_exported_model(tmp_path: Path) -> None:
    checkpoint = save_checkpoint(planted(constant_channels), tmp_path / "model.pt")
    export(checkpoint, tmp_path / "model.onnx", calib=images(16), num_heads=3)
    twin = load_twin(tmp_path / "model.onnx", checkpoint)
    assert kinds(twin, "shift")
    report = verify(tmp_path / "model.onnx", checkpoint, count=2)
    assert report.passed
    assert any(entry.implementation == "PyTorch" for entry in report.comparisons)


@pytest.mark.parametrize("size", [32, 36])
def test_layers_with_zeros_beside_their_inputs_are_not_shifted(size: int) -> None:
    """Windows of 4 do not divide a grid of 9, whose stage is padded after the normalisation; nor has merging a bias."""
    network = timm_swin(img_size=size)
    constant_channels(network)
    x = torch.nn.functional.interpolate(torch.from_numpy(np.stack(images(16))), size=size)
    model = twin_of(network, size)
    before = floating(model, x[:2])
    apply_calibration(model, collect_statistics(model, list(x.numpy()), "test"), Recipe(shifting=True))
    torch.testing.assert_close(floating(model, x[:2]), before, rtol=1e-4, atol=1e-4)
    padded = {
        f"{name}.norm1"
        for name, module in model.named_modules()
        if hasattr(module, "attn") and getattr(module.attn, "padded", False)
    }
    found = kinds(model, "shift")
    assert (len(padded) > 0) == (size == 36)
    norms = {f"layers.{stage}.blocks.{block}.norm{norm}" for stage in (0, 1) for block in (0, 1) for norm in (1, 2)}
    assert norms - padded <= found
    assert not found & padded
    assert not any("downsample" in name for name in found)
    assert_replayed(network, model, size)


@given(
    seed=st.integers(0, 2**31),
    columns=st.integers(1, 300),
    spread=st.floats(0, 12),
    data=st.data(),
)
@settings(deadline=None, max_examples=60)
def test_an_exact_product_has_no_order(seed: int, columns: int, spread: float, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    weight = (rng.normal(size=(5, columns)) * np.exp(rng.normal(size=(5, columns)) * spread)).astype(np.float32)
    vector = (rng.normal(size=columns) * 30).astype(np.float16)
    found = _exact_product(weight, vector)
    order = np.array(data.draw(st.permutations(range(columns)))) if columns < 40 else rng.permutation(columns)
    assert torch.equal(_exact_product(weight[:, order], vector[order]), found)
    wide = weight.astype(np.longdouble) * vector.astype(np.longdouble)
    # Half a unit of 2^-44 of the largest product for each, and the rounding to float32.
    allowed = np.abs(wide).max(1) * (columns * 2.0**-44) + np.abs(wide.sum(1)) * 2.0**-23
    assert np.all(np.abs(found.numpy() - wide.sum(1)) <= allowed)


def test_an_exact_product_of_zeros() -> None:
    assert not _exact_product(np.zeros((3, 4), np.float32), np.zeros(4, np.float16)).any()


# Massive neurons


def codes_of(rows: Array, act: str = "gelu") -> Array:
    channels = Channels()
    channels.update(torch.from_numpy(rows))
    return neuron_codes(channels, rows.astype(np.float16), np.ones(rows.shape[1]), ACTIVATIONS[act])


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_only_the_massive_neuron_is_divided(act: str) -> None:
    rows = np.random.default_rng(0).normal(size=(128, 64))
    rows[:, 9] *= 100
    codes = codes_of(rows, act)
    assert codes.dtype == np.int8
    assert list(np.flatnonzero(codes)) == [9]
    assert decode_factors(codes)[9] > 4


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.1, 10))
def test_neurons_that_are_alike_are_left_alone(seed: int, scale: float) -> None:
    rows = np.random.default_rng(seed).uniform(-scale, scale, (128, 64))
    assert not codes_of(rows).any()


def test_a_neuron_that_is_never_positive_is_left_alone() -> None:
    rows = np.random.default_rng(0).normal(size=(128, 64))
    rows[:, 9] = -100 * np.abs(rows[:, 9])
    assert not codes_of(rows).any()


def test_a_massive_neuron_costs_less() -> None:
    network = planted(massive_neuron)
    recipe = Recipe(zero_points=True, scale_neurons=True)
    model, _, decibels = calibrated(network, recipe)
    _, _, without = calibrated(network, replace(recipe, scale_neurons=False))
    assert decibels > without + 3
    assert kinds(model, "neurons") == {"blocks.0.mlp", "blocks.1.mlp"}
    assert all(model.adjustments[f"blocks.{block}.mlp.neurons"][5] > 0 for block in range(2))
    assert_replayed(network, model)


def test_a_network_without_massive_neurons_is_left_alone() -> None:
    model, _, _ = calibrated(planted(nothing), Recipe(zero_points=True, scale_neurons=True))
    assert kinds(model, "neurons") == set()


def test_a_massive_neuron_in_an_exported_model(tmp_path: Path) -> None:
    checkpoint = save_checkpoint(planted(massive_neuron), tmp_path / "model.pt")
    export(checkpoint, tmp_path / "model.onnx", calib=images(16), num_heads=3)
    twin = load_twin(tmp_path / "model.onnx", checkpoint)
    assert kinds(twin, "neurons")
    assert verify(tmp_path / "model.onnx", checkpoint, count=2).passed


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("blocks.0.norm1.shift", np.zeros(7, np.float16)),
        ("blocks.0.mlp.neurons", np.zeros(7, np.int8)),
        ("blocks.9.norm1.shift", np.zeros(48, np.float16)),
        ("blocks.0.mlp.fc1.neurons", np.zeros(192, np.int8)),
        ("blocks.0.attn.qkv.shift", np.zeros(48, np.float16)),
    ],
)
def test_adjustments_that_do_not_fit_are_refused(name: str, array: Array) -> None:
    with pytest.raises(CalibrationError, match="another architecture"):
        replay(twin_of(timm_network()), {name: array})


# Sharp heads


@pytest.mark.parametrize(("balanced", "gain"), [(False, 0), (True, 1)])
def test_scores_of_a_sharp_head_get_a_range_by_their_error(balanced: bool, gain: float) -> None:
    """Where attention is not deferred. Without balanced heads most noise comes from queries and keys."""
    network = planted(sink_head)
    recipe = Recipe(balance_heads=balanced, clip_scores=True)
    model, seen, decibels = calibrated(network, recipe, 128, nonlinear="ivit")
    plain, _, without = calibrated(network, replace(recipe, clip_scores=False), 128, nonlinear="ivit")
    for name, activation in model.activations().items():
        largest = seen.histograms[name].maximum if name in seen.histograms else 0.0
        if name == "blocks.0.attn.core.score":
            assert largest > 100
            assert 0.09 * largest < float(activation.scale) * 127 < 0.6 * largest
        else:
            assert torch.equal(activation.scale, plain.activations()[name].scale), name
        assert activation.quantized
    assert decibels > without + gain


@pytest.mark.parametrize("balanced", [False, True])
def test_a_sharp_head_costs_deferred_attention_nothing(balanced: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its scores have no range to choose, and nearly the exact softmax of the same queries and keys."""
    network, recipe = planted(sink_head), Recipe(balance_heads=balanced)
    model, seen, _ = calibrated(network, replace(recipe, clip_scores=True))
    plain, _, _ = calibrated(network, recipe)
    assert seen.histograms["blocks.0.attn.core.score"].maximum > 100
    assert model.quantization_state() == plain.quantization_state()
    x = torch.from_numpy(np.stack(images(64, seed=9)))
    exact = floating(model, x)

    def decibels(logits: torch.Tensor) -> float:
        return float(10 * torch.log10(exact.var(1).sum() / (logits - exact).var(1).sum()))

    def softmax(self: DeferredSoftmax, products: torch.Tensor) -> torch.Tensor:
        return (products * float(self.product_scale)).softmax(-1)

    with torch.inference_mode():
        found = decibels(model(x) * model.output_scale)
        monkeypatch.setattr(DeferredSoftmax, "simulate", softmax)
        assert found > decibels(model.train()(x)) - 0.5


def test_scores_of_fine_steps_are_left_alone() -> None:
    network = planted(nothing)
    model, seen, _ = calibrated(network, Recipe(clip_scores=True), nonlinear="ivit")
    plain, _, _ = calibrated(network, Recipe(), nonlinear="ivit")
    scores = [seen.histograms[name].maximum for name in model.activations() if name.endswith(".score")]
    assert max(scores) < 127 * COARSE
    assert model.quantization_state() == plain.quantization_state()


def test_windows_with_sharp_heads() -> None:
    """The scores and what the relative positions make of them, both."""
    network = timm_swin()
    sharp_head(network)
    model, seen, _ = calibrated(network, Recipe(clip_scores=True), nonlinear="ivit")
    points = [name for name in model.activations() if name.endswith(".placed")]
    reach = {name: float(model.activations()[name].scale) * 127 / seen.histograms[name].maximum for name in points}
    coarse = [name for name in points if seen.histograms[name].maximum > 127 * COARSE]
    assert coarse
    assert any(reach[name] < 0.99 for name in coarse)
    assert all(0.09 < reach[name] < 1.001 for name in coarse)
    assert all(reach[name] == pytest.approx(1) for name in points if name not in coarse)


# Corrections


def test_a_certain_difference_is_corrected_whole() -> None:
    differences = torch.tensor([[0.5, -3.0, 0.0]]).expand(10, 3)
    torch.testing.assert_close(_certain(differences), differences[0])


def test_noise_is_hardly_corrected() -> None:
    noise = torch.randn(16, 4096, generator=torch.Generator().manual_seed(0))
    corrected, mean = _certain(noise), noise.mean(0)
    # Of n standard errors n^3 / (n^2 + 1) are left: a third of the energy, and less than a quarter below one.
    assert corrected.square().mean() < 0.5 * mean.square().mean()
    small = mean.abs() < 0.5 * noise.std(0) / 4
    assert (corrected[small].abs() < 0.25 * mean[small].abs()).all()
    assert (corrected.abs() <= mean.abs()).all()
    assert (corrected * mean >= 0).all()


@given(st.integers(0, 2**31))
def test_the_difference_of_one_image_is_corrected_whole(seed: int) -> None:
    difference = torch.randn(1, 5, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(_certain(difference), difference[0])


def test_a_difference_is_corrected_by_its_certainty() -> None:
    """Means of 2 with deviations of 1, over 4 images: 4 / (4 + 1 / 4)."""
    differences = torch.tensor([[2 - 1.0], [2 - 1.0], [2 + 1.0], [2 + 1.0]]) * (3 / 4) ** 0.5 + 2 * (1 - (3 / 4) ** 0.5)
    torch.testing.assert_close(differences.var(0), torch.ones(1))
    torch.testing.assert_close(_certain(differences), torch.tensor([2 * 4 / (4 + 1 / 4)]))
