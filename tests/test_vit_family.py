"""The features of timm's VisionTransformer: the float network in floating point, the same integers everywhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from timm.layers import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer as TimmVisionTransformer
from timm.models.vision_transformer import checkpoint_filter_fn

import ivit_onnx
from commands import call
from ivit_onnx.api import export, load_twin
from ivit_onnx.architectures import KNOWN, known_architecture
from ivit_onnx.calibration import apply_calibration, collect_statistics
from ivit_onnx.checkpoints import load_checkpoint, read_architecture
from ivit_onnx.errors import CheckpointError
from ivit_onnx.models import Twin, from_timm
from networks import SIZE, images, pixels, save_checkpoint, timm_network

Array = np.ndarray[Any, Any]

GAP = {"class_token": False, "global_pool": "avg"}

#: Small networks by what is special about them: arguments of timm's VisionTransformer.
NETWORKS: dict[str, dict[str, Any]] = {
    "mean of patches": GAP,
    "mean of patches, with class token": {"global_pool": "avg"},
    "mean of normalised patches": {**GAP, "fc_norm": False},
    "register tokens": {"reg_tokens": 3, "no_embed_class": True},
    "register tokens with positions": {"reg_tokens": 2},
    "register tokens, mean of patches": {**GAP, "reg_tokens": 1},
    "class token without position": {"no_embed_class": True},
    "layer scale": {"init_values": 0.5},
    "normalisation before the blocks": {"pre_norm": True},
    "qkv without bias": {"qkv_bias": False},
    "small patches": {"patch_size": 4},
    "one patch": {"patch_size": 32},
    "other image size": {"img_size": 48, "patch_size": 16},
    "features": {"num_classes": 0},
    "features, mean of patches": {**GAP, "num_classes": 0},
    "features, mean of normalised patches": {**GAP, "num_classes": 0, "fc_norm": False},
    "quick_gelu": {"act_layer": "quick_gelu"},
    "gelu_tanh": {"act_layer": "gelu_tanh"},
    "everything": {
        "reg_tokens": 2,
        "no_embed_class": True,
        "init_values": 0.5,
        "pre_norm": True,
        "qkv_bias": False,
        "act_layer": "quick_gelu",
        "global_pool": "avg",
        "num_classes": 0,
    },
}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> TimmVisionTransformer:
    network = timm_network(**NETWORKS[request.param])
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "gamma" in name:
                parameter.normal_(0.5, 0.3)
    return network


def inputs(network: TimmVisionTransformer, count: int, seed: int = 0) -> Array:
    """Smooth normalised images of the network's size."""
    size = network.patch_embed.img_size[0]
    return np.stack(images(count, seed)).repeat(-(-size // SIZE), 2).repeat(-(-size // SIZE), 3)[:, :, :size, :size]


def calibrated(network: TimmVisionTransformer) -> Twin:
    twin = from_timm(network)
    apply_calibration(twin, collect_statistics(twin, inputs(network, 16), "test"), "mse")
    return twin


def test_floating_point_mode_is_the_timm_network(network: TimmVisionTransformer) -> None:
    twin = from_timm(network)
    twin.set_quantized(False)
    x = torch.from_numpy(inputs(network, 4, seed=1))
    with torch.inference_mode():
        torch.testing.assert_close(twin(x), network(x), rtol=1e-4, atol=1e-4)


def test_integers_follow_the_float_network(network: TimmVisionTransformer) -> None:
    twin = calibrated(network)
    x = torch.from_numpy(inputs(network, 32, seed=2))
    with torch.inference_mode():
        exact, found = network(x), twin(x) * twin.output_scale
    noise = (found - exact).pow(2).mean() / exact.pow(2).mean()
    assert noise < 0.02, f"signal to noise ratio {-10 * noise.log10():.1f} dB"


@pytest.mark.parametrize("flat", [False, True], ids=["hierarchical", "flat"])
def test_the_same_integers_everywhere(
    network: TimmVisionTransformer,
    tmp_path: Path,
    flat: bool,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("IVIT_EP_LOG", "1")
    checkpoint = save_checkpoint(network, tmp_path / "model.pt")
    act = {"GELU": "gelu", "GELUTanh": "gelu_tanh", "QuickGELU": "quick_gelu"}[type(network.blocks[0].mlp.act).__name__]
    model = tmp_path / "model.onnx"
    export(
        checkpoint,
        model,
        calib=inputs(network, 16),
        num_heads=3,
        img_size=network.patch_embed.img_size,
        act=act,
        flat=flat,
    )
    twin = load_twin(model, checkpoint)
    image = pixels(3, size=network.patch_embed.img_size[0])
    with torch.inference_mode():
        expected = twin(torch.from_numpy(image)).numpy()
    for options in ({"kernels": False}, {"kernels": True}, {"provider": "ivit-cpu"}):
        session = ivit_onnx.create_session(str(model), **options)
        (output,) = session.get_outputs()
        (found,) = session.run(None, {"image": image})
        assert output.name == ("logits" if network.num_classes else "features")
        assert found.dtype == np.int32
        assert found.shape == (3, network.num_classes or network.embed_dim)
        np.testing.assert_array_equal(found, expected)
    log = capfd.readouterr().err
    assert log.count("ivit: compiles") == 1
    assert "ivit: leaves" not in log


def test_training_mode_reaches_every_parameter(network: TimmVisionTransformer) -> None:
    twin = calibrated(network).train()
    twin(torch.from_numpy(inputs(network, 4, seed=3))).square().sum().backward()
    for name, parameter in twin.named_parameters():
        if parameter.numel() and not (name == "patch_embed.bias" and twin.norm_pre is not None):
            assert parameter.grad is not None, f"{name} has no gradient"
            assert parameter.grad.abs().sum() > 0, f"{name} gets no gradient"


def test_features_have_more_than_8_bits() -> None:
    network = timm_network(num_classes=0)
    twin = calibrated(network)
    x = torch.from_numpy(inputs(network, 4))
    with torch.inference_mode():
        assert twin(x).abs().max() > 2**12


def test_commands_on_a_model_without_head(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = timm_network(num_classes=0)
    checkpoint, model, data = (tmp_path / name for name in ("model.pt", "model.onnx", "images.npz"))
    save_checkpoint(network, checkpoint)
    np.savez(data, images=pixels(8))
    done = call(capsys, "export", checkpoint, "-o", model, "--calib", data, "--num-heads", "3")
    assert done.status == 0
    assert "features without a head" in done.out
    assert call(capsys, "verify", model, "--against", checkpoint, "--count", "2").status == 0
    assert "returns features" in call(capsys, "run", model, data).error()


def test_old_names_of_layer_scale(tmp_path: Path) -> None:
    network = timm_network(init_values=0.3)
    new = save_checkpoint(network, tmp_path / "new.pt")
    state_dict = {re.sub(r"ls(\d)\.gamma", r"gamma_\1", name): tensor for name, tensor in network.state_dict().items()}
    torch.save(state_dict, tmp_path / "old.pt")
    assert load_checkpoint(tmp_path / "old.pt", heads=3).fingerprint == load_checkpoint(new, heads=3).fingerprint


@pytest.mark.parametrize("registers", [0, 4])
def test_dinov2_as_its_authors_publish_it(tmp_path: Path, registers: int) -> None:
    network = timm_network(init_values=0.3, reg_tokens=registers, no_embed_class=registers > 0, num_classes=0)
    published = {**network.state_dict(), "mask_token": torch.zeros(1, 48)}
    if registers:
        published["register_tokens"] = published.pop("reg_token")
        published["pos_embed"] = torch.cat([torch.randn(1, 1, 48), published["pos_embed"]], dim=1)
    torch.save(published, tmp_path / "published.pth")
    network.load_state_dict(checkpoint_filter_fn(dict(published), network))
    loaded = load_checkpoint(tmp_path / "published.pth", heads=3)
    assert loaded.arch.reg_tokens == registers
    expected = network.state_dict()
    assert loaded.state_dict.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(loaded.state_dict[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("features", [{}, {"reg_tokens": 2}, {"no_embed_class": True}, GAP], ids=str)
@pytest.mark.parametrize("size", [24, 64])
def test_position_table_for_another_image_size(tmp_path: Path, features: dict[str, Any], size: int) -> None:
    """The same network as timm makes it for that size, with timm's own resizing."""
    network = timm_network(**features)
    checkpoint = save_checkpoint(network, tmp_path / "model.pt")
    other = timm_network(img_size=size, **features)
    prefix = 0 if network.no_embed_class else network.num_prefix_tokens
    table = resample_abs_pos_embed(network.pos_embed, [size // 8, size // 8], num_prefix_tokens=prefix)
    other.load_state_dict({**network.state_dict(), "pos_embed": table.detach()})
    loaded = load_checkpoint(checkpoint, heads=3, image_size=size)
    assert loaded.arch.image_size == (size, size)
    torch.testing.assert_close(loaded.state_dict["pos_embed"], table.detach(), rtol=1e-5, atol=1e-6)

    # The other presets change what the network computes.
    options = {"num_heads": 3, "img_size": size, "calib_preset": "fast"}
    export(checkpoint, tmp_path / "m.onnx", calib=inputs(other, 8), **options)
    twin = load_twin(tmp_path / "m.onnx", checkpoint)
    twin.set_quantized(False)
    x = torch.from_numpy(inputs(other, 2))
    with torch.inference_mode():
        torch.testing.assert_close(twin(x), other(x), rtol=1e-4, atol=1e-4)


def test_what_shapes_do_not_tell() -> None:
    with torch.device("meta"):
        state_dict = TimmVisionTransformer(img_size=224, patch_size=16, pre_norm=True).state_dict()
    plain = read_architecture(state_dict)
    assert (plain.name, plain.act, plain.eps) == ("vit_base_patch16_clip_224", "gelu", 1e-5)
    named = read_architecture(state_dict, name="vit_base_patch16_clip_quickgelu_224")
    assert (named.act, named.eps) == ("quick_gelu", 1e-5)
    assert read_architecture(state_dict, act="quick_gelu").act == "quick_gelu"
    with pytest.raises(CheckpointError, match="act is gelu_tanh, expected gelu"):
        read_architecture(state_dict, name="vit_base_patch16_clip_224", act="gelu_tanh")
    with pytest.raises(CheckpointError, match="expected an activation of gelu, gelu_tanh, quick_gelu, found 'relu'"):
        read_architecture(state_dict, act="relu")


def test_ambiguous_activation_is_a_warning(tmp_path: Path) -> None:
    from ivit_onnx.checkpoints.facts import Facts
    from ivit_onnx.checkpoints.vit import READER

    with torch.device("meta"):
        state_dict = TimmVisionTransformer(img_size=224, patch_size=16, pre_norm=True).state_dict()
    assert ["--act" in warning for warning in READER.read(state_dict, Facts()).warnings] == [True]
    assert READER.read(state_dict, Facts.asked(act="gelu")).warnings == ()
    assert READER.read(state_dict, Facts.asked(name="vit_base_patch16_clip_224")).warnings == ()


def test_a_file_for_another_size_than_the_named_model() -> None:
    with torch.device("meta"):
        state_dict = TimmVisionTransformer(img_size=384, patch_size=16).state_dict()
    with pytest.raises(CheckpointError, match="image_size is 384, expected 224"):
        read_architecture(state_dict, name="vit_base_patch16_224")
    assert read_architecture(state_dict, name="vit_base_patch16_224", image_size=384).image_size == (384, 384)
    assert read_architecture(state_dict, image_size=448).image_size == (448, 448)
    with pytest.raises(CheckpointError, match=r"do not divide an image of 250; pass --img-size"):
        read_architecture(state_dict, image_size=250)


@pytest.mark.parametrize(
    ("name", "feature"),
    [
        ("vit_base_patch16_siglip_224", "attention pooling"),
        ("vit_base_patch16_rpn_224", "res-post-norm"),
        ("vit_giant_patch14_dinov2", "SwiGLU"),
        ("vit_giant_patch14_reg4_dinov2", "SwiGLU"),
        ("vit_small_patch16_18x2_224", "parallel blocks"),
        ("aimv2_large_patch14_224", "SwiGLU"),
        ("eva02_base_patch14_224", "rotary"),
        ("beit_base_patch16_224", "relative position bias"),
        ("vit_base_r50_s16_224", "convolutional stems"),
    ],
)
def test_names_of_unsupported_models(tmp_path: Path, name: str, feature: str) -> None:
    """Refused by feature before the file is looked at."""
    with pytest.raises(CheckpointError, match=f"{name} is not supported yet: .*{feature}"):
        load_checkpoint(tmp_path / "nowhere.pt", arch=name)


TIMM_FEATURES = {
    "test_vit3": "attention pooling",
    "test_vit4": "RMSNorm",
    "vit_base_patch16_siglip_224": "attention pooling",
    "vit_giant_patch14_dinov2": "SwiGLU",
    "vit_small_patch16_18x2_224": "parallel blocks",
    "vit_base_patch16_xp_224": "parallel blocks",
    "aimv2_large_patch14_224": "SwiGLU",
    "beit3_base_patch16_224": "normalisation inside attention or MLP",
    "beit_base_patch16_224": "relative position bias",
    "vit_base_patch16_radio_v3": "without final normalisation",
    "vit_dlittle_patch16_reg1_gap_256": "normalised queries|normalisation inside|other projections",
    "vit_tiny_r_s16_p8_224": "backbone",
}


@pytest.mark.parametrize("name", TIMM_FEATURES)
def test_unsupported_networks_of_timm_are_told_by_their_tensors(name: str) -> None:
    import timm

    with torch.device("meta"):
        state_dict = timm.create_model(name).state_dict()
    with pytest.raises(CheckpointError, match=f"not supported yet: .*({TIMM_FEATURES[name]})"):
        read_architecture(state_dict)


def test_unsupported_names_are_not_known() -> None:
    assert len(KNOWN) > 100
    for name in KNOWN:
        assert known_architecture(name).name == name
