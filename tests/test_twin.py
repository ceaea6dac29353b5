"""The PyTorch twin: the float network it came from, its integers, its gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ivit_onnx.architectures import Preprocess
from ivit_onnx.calibration import replay
from ivit_onnx.checkpoints import read_architecture
from ivit_onnx.errors import CalibrationError, ExportError
from ivit_onnx.models import VisionTransformer, from_state_dict, from_timm
from networks import SIZE, calibrated_twin, gradients_of_training, images, pixels, timm_network


@pytest.mark.parametrize("distilled", [False, True])
def test_floating_point_mode_is_the_timm_network(distilled: bool) -> None:
    network = timm_network(distilled=distilled)
    twin = calibrated_twin(network)
    twin.set_quantized(False)
    x = torch.from_numpy(np.stack(images(4, seed=1)))
    with torch.inference_mode():
        torch.testing.assert_close(twin(x), network(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("distilled", [False, True])
@pytest.mark.parametrize("softmax_bits", [7, 8, 15])
def test_integers_follow_the_float_network(distilled: bool, softmax_bits: int) -> None:
    network = timm_network(distilled=distilled)
    twin = calibrated_twin(network, softmax_bits=softmax_bits)
    x = torch.from_numpy(np.stack(images(32, seed=2)))
    with torch.inference_mode():
        exact, found = network(x), twin(x) * twin.output_scale
    noise = (found - exact).pow(2).mean() / exact.pow(2).mean()
    assert noise < 0.02, f"signal to noise ratio {-10 * noise.log10():.1f} dB"


def test_a_batch_is_its_images_one_by_one() -> None:
    twin = calibrated_twin(timm_network())
    x = torch.from_numpy(pixels(5))
    with torch.inference_mode():
        together, alone = twin(x), torch.cat([twin(image[None]) for image in x])
    assert together.dtype == torch.int64
    assert torch.equal(together, alone)


def test_the_three_input_types_agree_on_a_quantised_image() -> None:
    twin = calibrated_twin(timm_network())
    x = torch.from_numpy(np.stack(images(3)))
    scale = twin.image.output.scale
    with torch.inference_mode():
        quantized = torch.round(x / scale).clamp(-128, 127).to(torch.int8)
        assert torch.equal(twin(quantized), twin(x))
        levels = torch.from_numpy(pixels(3))
        mean, std = (torch.tensor(v)[:, None, None] for v in (twin.preprocess.mean, twin.preprocess.std))
        from_pixels = twin.image(type(twin.image(_wrap(levels)))(levels, scale)).value
        from_floats = twin.image(_wrap((levels / 255.0 - mean) / std)).value
    assert (from_pixels - from_floats).abs().max() <= 1


def _wrap(image: torch.Tensor):  # type: ignore[no-untyped-def]
    from ivit_onnx.quant.tensors import QuantTensor

    return QuantTensor(image, torch.ones(()))


@pytest.mark.parametrize("distilled", [False, True])
def test_training_mode_follows_the_integers_and_reaches_every_parameter(distilled: bool) -> None:
    twin = calibrated_twin(timm_network(distilled=distilled))
    x = torch.from_numpy(np.stack(images(8, seed=3)))
    for name, gradient in gradients_of_training(twin, x).items():
        assert gradient.abs().sum() > 0, f"{name} gets no gradient"


def test_a_training_step_lowers_the_loss_of_the_integers() -> None:
    twin = calibrated_twin(timm_network())
    x, labels = torch.from_numpy(np.stack(images(14, seed=4))), torch.arange(14) % 7

    def integer_loss() -> float:
        twin.eval()
        with torch.inference_mode():
            return float(torch.nn.functional.cross_entropy((twin(x) * twin.output_scale).float(), labels))

    before = integer_loss()
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.01)
    for _ in range(5):
        twin.train()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(twin(x), labels).backward()
        optimizer.step()
    assert integer_loss() < before


def test_ranges_follow_the_data_in_training_when_asked() -> None:
    twin = calibrated_twin(timm_network())
    activation = twin.blocks[0].attn.qkv.output
    before = activation.scale.clone()
    activation.momentum = 0.5
    twin.train()
    twin(3 * torch.from_numpy(np.stack(images(4, seed=5))))
    assert not torch.equal(activation.scale, before)


def test_changed_weights_change_the_integers() -> None:
    twin = calibrated_twin(timm_network())
    x = torch.from_numpy(pixels(2))
    with torch.inference_mode():
        before = twin(x)
        twin.head.weight.mul_(-1)
        twin.head.bias.zero_()
        assert not torch.equal(twin(x), before)


def test_other_functions_change_the_integers() -> None:
    twin, other = (calibrated_twin(timm_network()) for _ in range(2))
    x = torch.from_numpy(pixels(2))
    with torch.inference_mode():
        before = twin(x)
        for changed in (twin, other):
            changed.set_nonlinear("table")
        assert not torch.equal(twin(x), before)
        assert torch.equal(twin(x), other(x))


def test_a_twin_made_in_inference_mode_sees_changed_weights() -> None:
    with torch.inference_mode():
        twin = calibrated_twin(timm_network())
        x = torch.from_numpy(pixels(2))
        before = twin(x)
        assert torch.equal(twin(x), before)
        twin.head.weight.mul_(-1)
        assert not torch.equal(twin(x), before)


def test_state_round_trip() -> None:
    network = timm_network()
    twin = calibrated_twin(network)
    arch = read_architecture(network.state_dict(), heads=3)
    other = from_state_dict(network.state_dict(), arch, Preprocess(SIZE))
    replay(other, twin.adjustments)
    other.load_quantization_state(twin.quantization_state())
    loaded = VisionTransformer(arch, Preprocess(SIZE)).eval()
    loaded.load_state_dict(twin.state_dict())
    x = torch.from_numpy(pixels(2))
    with torch.inference_mode():
        assert torch.equal(other(x), twin(x))
        assert torch.equal(loaded(x), twin(x))


def test_quantisation_state_must_fit() -> None:
    twin = calibrated_twin(timm_network())
    state = twin.quantization_state()
    with pytest.raises(CalibrationError, match="scales of this architecture"):
        twin.load_quantization_state({**state, "blocks.9.norm1.output.scale": 1.0})
    with pytest.raises(CalibrationError, match="expected a number"):
        twin.load_quantization_state(dict.fromkeys(state, "1"))  # type: ignore[misc]


def test_an_uncalibrated_twin_says_so() -> None:
    network = timm_network()
    twin = from_state_dict(network.state_dict(), read_architecture(network.state_dict(), heads=3), Preprocess(SIZE))
    with pytest.raises(ExportError, match="calibrate"), torch.inference_mode():
        twin(torch.from_numpy(pixels(1)))


def test_from_timm_takes_heads_and_normalisation_from_the_network() -> None:
    import timm

    network = timm.create_model("deit_tiny_patch16_224", num_classes=5).eval()
    twin = from_timm(network)
    assert twin.arch.heads == 3
    assert twin.preprocess.mean == tuple(network.pretrained_cfg["mean"])
    x = torch.randn(1, 3, 224, 224)
    twin.set_quantized(False)
    with torch.inference_mode():
        torch.testing.assert_close(twin(x), network(x), rtol=1e-4, atol=1e-4)
