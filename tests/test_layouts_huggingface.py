"""Checkpoints in the naming of Hugging Face transformers: the same network, in both spellings."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")

from ivit_onnx.checkpoints.layouts.huggingface_config import DEFAULTS  # noqa: E402
from ivit_onnx.errors import CheckpointError  # noqa: E402
from layouts import assert_same_network, opened, randomised  # noqa: E402

Forward = Callable[[Any, torch.Tensor], torch.Tensor]

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
VIT = {**SMALL, "intermediate_size": 64}
DECODER = {"decoder_num_attention_heads": 2, "decoder_hidden_size": 16, "decoder_num_hidden_layers": 1}
TEXT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 50}
TEXT = {**TEXT, "max_position_embeddings": 8, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
SWIN = {"embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4, "image_size": 32, "patch_size": 4}


def clip(**changes: Any) -> Any:
    return transformers.CLIPConfig(text_config=TEXT, vision_config={**VIT, **changes}, projection_dim=24)


def siglip(**changes: Any) -> Any:
    return transformers.SiglipConfig(text_config=TEXT, vision_config={**VIT, **changes}, num_labels=5)


def logits(network: Any, images: torch.Tensor) -> torch.Tensor:
    return network(pixel_values=images).logits


def class_token(network: Any, images: torch.Tensor) -> torch.Tensor:
    return network(pixel_values=images).last_hidden_state[:, 0]


def mean_of_tokens(network: Any, images: torch.Tensor) -> torch.Tensor:
    return network(pixel_values=images).last_hidden_state.mean(1)


def pooled(network: Any, images: torch.Tensor) -> torch.Tensor:
    return network(pixel_values=images).pooler_output


def image_embeds(network: Any, images: torch.Tensor) -> torch.Tensor:
    return network(pixel_values=images).image_embeds


def image_features(network: Any, images: torch.Tensor) -> torch.Tensor:
    features = network.get_image_features(pixel_values=images)
    return features if isinstance(features, torch.Tensor) else features.pooler_output


def unmasked(network: Any, images: torch.Tensor) -> torch.Tensor:
    """MAE hides patches at random; all of them stay here, in their order."""
    noise = torch.arange(16.0).repeat(len(images), 1)
    return network(pixel_values=images, noise=noise).last_hidden_state[:, 0]


def unmasked_encoder(network: Any, images: torch.Tensor) -> torch.Tensor:
    return unmasked(network.vit, images)


#: By class: its configuration, what stands for its output, words of the notes.
NETWORKS: dict[str, tuple[Callable[[], Any], Forward, str]] = {
    "ViTForImageClassification": (lambda: transformers.ViTConfig(**VIT, num_labels=5), logits, ""),
    "ViTForImageClassification without bias": (
        lambda: transformers.ViTConfig(**VIT, num_labels=5, qkv_bias=False),
        logits,
        "",
    ),
    "ViTForImageClassification with gelu_new": (
        lambda: transformers.ViTConfig(**VIT, num_labels=5, hidden_act="gelu_new"),
        logits,
        "",
    ),
    "ViTModel": (lambda: transformers.ViTConfig(**VIT), class_token, "left out the pooler"),
    "ViTForMaskedImageModeling": (
        lambda: transformers.ViTConfig(**VIT, encoder_stride=8),
        lambda network, images: class_token(network.vit, images),
        "left out the decoder .*left out the mask token",
    ),
    "DeiTForImageClassification": (lambda: transformers.DeiTConfig(**VIT, num_labels=5), logits, ""),
    "DeiTForImageClassificationWithTeacher": (lambda: transformers.DeiTConfig(**VIT, num_labels=5), logits, ""),
    "DeiTModel": (lambda: transformers.DeiTConfig(**VIT), class_token, "left out the pooler"),
    "Dinov2Model": (lambda: transformers.Dinov2Config(**SMALL), class_token, "left out the mask token"),
    "Dinov2WithRegistersModel": (lambda: transformers.Dinov2WithRegistersConfig(**SMALL), class_token, "mask token"),
    "IJepaModel": (lambda: transformers.IJepaConfig(**VIT), mean_of_tokens, ""),
    "IJepaForImageClassification": (lambda: transformers.IJepaConfig(**VIT, num_labels=5), logits, ""),
    "ViTMAEModel": (lambda: transformers.ViTMAEConfig(**VIT, mask_ratio=0.0), unmasked, ""),
    "ViTMAEForPreTraining": (
        lambda: transformers.ViTMAEConfig(**VIT, **DECODER, decoder_intermediate_size=32, mask_ratio=0.0),
        unmasked_encoder,
        "left out the decoder",
    ),
    "ViTMSNModel": (lambda: transformers.ViTMSNConfig(**VIT), class_token, ""),
    "ViTMSNForImageClassification": (lambda: transformers.ViTMSNConfig(**VIT, num_labels=5), logits, ""),
    "CLIPVisionModel": (lambda: clip().vision_config, pooled, ""),
    "CLIPVisionModel with gelu": (lambda: clip(hidden_act="gelu").vision_config, pooled, ""),
    "CLIPVisionModelWithProjection": (
        lambda: transformers.CLIPVisionConfig(**VIT, projection_dim=24),
        image_embeds,
        "24 features of the projection",
    ),
    "CLIPModel": (clip, image_features, "left out the text tower .*24 features of the projection"),
    "SiglipForImageClassification": (siglip, logits, "left out the MAP head"),
    "SwinForImageClassification": (lambda: transformers.SwinConfig(**SWIN, num_labels=5), logits, ""),
    "SwinModel": (lambda: transformers.SwinConfig(**SWIN), pooled, ""),
    "SwinForMaskedImageModeling": (
        lambda: transformers.SwinConfig(**SWIN, encoder_stride=8),
        lambda network, images: mean_of_tokens(network.swin, images),
        "left out the decoder",
    ),
}


def built(name: str, config: Any) -> Any:
    torch.manual_seed(0)
    return randomised(getattr(transformers, name.partition(" ")[0])(config))


def saved(network: Any, folder: Path) -> dict[str, torch.Tensor]:
    network.save_pretrained(folder)
    return dict(safetensors.load_file(folder / "model.safetensors"))


def spellings(network: Any, folder: Path) -> Iterator[dict[str, torch.Tensor]]:
    """The names that transformers saves, and those of the module."""
    yield saved(network, folder)
    yield dict(network.state_dict())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_network(name: str, tmp_path: Path) -> None:
    make, forward, words = NETWORKS[name]
    network = built(name, make())
    for tensors in spellings(network, tmp_path):
        checkpoint = opened(tensors, network.config.to_dict())
        assert_same_network(checkpoint, lambda images: forward(network, images))
        assert checkpoint.facts.value("act") == ("gelu_tanh" if "gelu_new" in name else checkpoint.facts.value("act"))
        assert [*checkpoint.facts.assumed()] == []
        assert re.search(words, " ".join(checkpoint.notes))


@pytest.mark.parametrize("name", ["ViTForImageClassification", "CLIPModel", "Dinov2Model", "SwinModel"])
def test_without_configuration_defaults_are_assumed(name: str) -> None:
    """The small networks have the activation function and eps that transformers takes by default."""
    make, forward, _ = NETWORKS[name]
    network = built(name, make())
    checkpoint = opened(network.state_dict(), **({"image_size": 32} if "Swin" in name else {"heads": 4}))
    assert "act" in checkpoint.facts.assumed()
    assert_same_network(checkpoint, lambda images: forward(network, images))


def test_defaults_are_those_of_transformers() -> None:
    for model_type, defaults in DEFAULTS.items():
        config = transformers.AutoConfig.for_model(model_type).to_dict()
        assert {key: config[key] for key in defaults} == defaults, model_type


@pytest.mark.parametrize("prefix", ["model.", "module.net.", "encoder."])
def test_any_prefix(prefix: str) -> None:
    network = built("ViTForImageClassification", transformers.ViTConfig(**VIT, num_labels=5))
    tensors = {prefix + name: tensor for name, tensor in network.state_dict().items()}
    checkpoint = opened({**tensors, "criterion.weight": torch.ones(5)}, network.config.to_dict())
    assert_same_network(checkpoint, lambda images: logits(network, images))
    assert checkpoint.notes == (
        f"took the network under {prefix!r}",
        "left out 1 tensor outside the network (criterion.weight)",
    )


def test_a_prefix_that_leaves_the_head_out() -> None:
    """Dinov2ForImageClassification has a head that is not supported, on a network that is."""
    network = built("Dinov2ForImageClassification", transformers.Dinov2Config(**SMALL, num_labels=5))
    with pytest.raises(CheckpointError, match=r"class token and the mean of the patches .*--prefix dinov2"):
        opened(network.state_dict(), network.config.to_dict())
    checkpoint = opened(network.state_dict(), network.config.to_dict(), prefix="dinov2")
    assert_same_network(checkpoint, lambda images: class_token(network.dinov2, images))
    assert "left out 2 tensors outside the network (classifier.bias, classifier.weight)" in checkpoint.notes


def test_the_encoder_of_a_text_reader(tmp_path: Path) -> None:
    """TrOCR: a ViT that a decoder reads."""
    decoder = transformers.TrOCRConfig(d_model=16, decoder_layers=1, decoder_attention_heads=2, vocab_size=50)
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        transformers.ViTConfig(**VIT), decoder
    )
    network = randomised(transformers.VisionEncoderDecoderModel(config))
    for tensors in spellings(network, tmp_path):
        checkpoint = opened(tensors, network.config.to_dict())
        assert_same_network(checkpoint, lambda images: class_token(network.encoder, images))
        assert "outside the network (decoder." in checkpoint.notes[-1]


def test_a_timm_network_in_transformers() -> None:
    import timm

    config = {"architecture": "vit_tiny_patch16_224", "num_classes": 5, "model_type": "timm_wrapper"}
    network = randomised(timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=5, depth=2))
    tensors = {f"timm_model.{name}": tensor for name, tensor in network.state_dict().items()}
    assert_same_network(opened(tensors, config), network)


def test_names_of_classes() -> None:
    names = {0: "cat", 1: "dog", 2: "fox", 3: "hen", 4: "owl"}
    network = built("ViTForImageClassification", transformers.ViTConfig(**VIT, id2label=names))
    assert opened(network.state_dict(), network.config.to_dict()).facts.value("labels") == tuple(names.values())
    written = json.loads(network.config.to_json_string())
    assert opened(network.state_dict(), written).facts.value("labels") == tuple(names.values())
    for table in ({0: "cat"}, {index: f"LABEL_{index}" for index in range(5)}, {**names, 4: 7}, [*names.values()]):
        assert "labels" not in opened(network.state_dict(), {**written, "id2label": table}).facts


def test_a_side_that_is_no_multiple_of_the_patches() -> None:
    """A convolution never reaches the rest of the image: SigLIP's 384 pixels with patches of 14."""
    network = built("SiglipForImageClassification", siglip(image_size=35))
    checkpoint = opened(network.state_dict(), network.config.to_dict())
    assert checkpoint.arch.image_size == 32
    images = torch.randn(2, 3, 35, 35)
    with torch.inference_mode():
        torch.testing.assert_close(logits(network, images[:, :, :32, :32]), logits(network, images))
    assert_same_network(checkpoint, lambda images: logits(network, images))


@pytest.mark.parametrize(
    ("name", "config", "words"),
    [
        ("CLIPForImageClassification", lambda: clip(), "CLIPForImageClassification, .*without the final normalisation"),
        ("SiglipModel", siglip, "attention pooling"),
        ("SiglipVisionModel", lambda: siglip().vision_config, "attention pooling"),
        ("Dinov2Model", lambda: transformers.Dinov2Config(**SMALL, use_swiglu_ffn=True), "SwiGLU"),
        ("SwinBackbone", lambda: transformers.SwinConfig(**SWIN), "outputs of several stages"),
        (
            "SwinModel",
            lambda: transformers.SwinConfig(**SWIN, use_absolute_embeddings=True),
            "absolute position embedding",
        ),
        ("SwinModel", lambda: transformers.SwinConfig(**SWIN, layer_norm_eps=1e-6), "eps of 1e-06"),
        ("ViTModel", lambda: transformers.ViTConfig(**VIT, hidden_act="relu"), "found 'relu'"),
    ],
)
def test_what_is_not_supported_is_named(name: str, config: Callable[[], Any], words: str, tmp_path: Path) -> None:
    network = built(name, config())
    for tensors in spellings(network, tmp_path):
        with pytest.raises(CheckpointError, match=words):
            opened(tensors, network.config.to_dict())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "llava"}, "says model_type 'llava', but the tensors are named as ViT"),
        ({"model_type": "swin"}, "says model_type 'swin', but the tensors are named as ViT"),
        ({"num_attention_heads": "4"}, "expected a positive integer as num_attention_heads, found '4'"),
        ({"layer_norm_eps": -1}, "expected a number between 0 and 1 as layer_norm_eps, found -1"),
        ({"hidden_act": 3}, "expected a name as hidden_act, found 3"),
        ({"image_size": [32]}, r"expected image_size as a number or as \[height, width\], found \[32\]"),
        ({"quantization_config": {"bits": 4}}, "quantised checkpoint"),
    ],
)
def test_a_configuration_that_does_not_fit(changes: dict[str, Any], words: str) -> None:
    network = built("ViTModel", transformers.ViTConfig(**VIT))
    with pytest.raises(CheckpointError, match=words) as error:
        opened(network.state_dict(), {**network.config.to_dict(), **changes})
    assert "\n" not in str(error.value)


def test_one_tensor_in_two_spellings() -> None:
    network = built("ViTModel", transformers.ViTConfig(**VIT))
    tensors = dict(network.state_dict())
    tensors["encoder.layer.0.layernorm_before.weight"] = tensors["layers.0.layernorm_before.weight"] + 1
    with pytest.raises(CheckpointError, match="the same tensor in two spellings"):
        opened(tensors, network.config.to_dict())


@pytest.mark.parametrize("missing", ["q_proj", "k_proj", "v_proj"])
def test_a_matrix_of_attention_that_is_missing(missing: str) -> None:
    network = built("ViTModel", transformers.ViTConfig(**VIT))
    tensors = {name: tensor for name, tensor in network.state_dict().items() if missing not in name}
    with pytest.raises(CheckpointError, match="expected matrices q, k and v, found"):
        opened(tensors, network.config.to_dict())
