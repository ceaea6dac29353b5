"""Checkpoints in the naming of torchvision, open_clip, mmpretrain, JAX and of the authors of a network."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from timm.models.eva import Eva
from timm.models.swin_transformer import SwinTransformer as TimmSwin
from timm.models.vision_transformer import VisionTransformer as TimmVisionTransformer
from timm.models.vision_transformer import _load_weights

from ivit_onnx.checkpoints import Checkpoint, Source, check_source
from ivit_onnx.checkpoints.facts import Facts
from ivit_onnx.checkpoints.layouts import LAYOUTS
from ivit_onnx.errors import CheckpointError
from layouts import assert_same_network, opened, randomised
from networks import timm_network, timm_swin

Tensors = dict[str, torch.Tensor]


def vit(**changes: Any) -> TimmVisionTransformer:
    network: TimmVisionTransformer = randomised(timm_network(**changes))
    return network


def prefixed(prefix: str, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def renamed(tensors: Mapping[str, torch.Tensor], *rules: tuple[str, str]) -> Tensors:
    """Every rule on every name, one after the other."""
    result = {}
    for name, tensor in tensors.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        result[name] = tensor
    return result


def assert_tensors_of(checkpoint: Checkpoint, network: torch.nn.Module) -> None:
    expected = network.state_dict()
    assert checkpoint.state_dict.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(checkpoint.state_dict[name], tensor), name


# torchvision


def torchvision_vit(**changes: Any) -> torch.nn.Module:
    settings = {"image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 4, "hidden_dim": 48, "mlp_dim": 96}
    network: torch.nn.Module = randomised(torchvision.models.VisionTransformer(**settings, num_classes=7, **changes))
    return network


def torchvision_swin(**changes: Any) -> torch.nn.Module:
    settings = {"patch_size": [4, 4], "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": [4, 4]}
    network: torch.nn.Module = randomised(torchvision.models.SwinTransformer(**settings, num_classes=7, **changes))
    return network


@pytest.mark.parametrize("prefix", ["", "model.", "module."])
def test_torchvision_vit(prefix: str) -> None:
    network = torchvision_vit()
    checkpoint = opened(prefixed(prefix, network.state_dict()), heads=4)
    assert_same_network(checkpoint, network)
    assert checkpoint.preprocess()[0].mean == (0.485, 0.456, 0.406)
    old = renamed(network.state_dict(), (r"mlp\.0\.", "mlp.linear_1."), (r"mlp\.3\.", "mlp.linear_2."))
    assert opened(old, heads=4).fingerprint == checkpoint.fingerprint


def test_torchvision_swin() -> None:
    network = torchvision_swin()
    checkpoint = opened(network.state_dict(), image_size=32)
    assert checkpoint.layout == "Swin of torchvision"
    assert_same_network(checkpoint, network)


def test_torchvision_networks_that_are_not_supported() -> None:
    from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2

    second = torchvision_swin(block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2)
    with pytest.raises(CheckpointError, match="is Swin V2, not supported: cosine attention"):
        opened(second.state_dict())
    with pytest.raises(CheckpointError, match="pre_logits"):
        opened(torchvision_vit(representation_size=24).state_dict(), heads=4)


# open_clip and OpenAI


@pytest.fixture
def open_clip() -> Any:
    return pytest.importorskip("open_clip", reason="open_clip is not installed")


VISION = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 2, "head_width": 16}
CLIP_TEXT = {"context_length": 8, "vocab_size": 50, "width": 32, "heads": 2, "layers": 1}


def open_clip_model(open_clip: Any, custom: bool = False, **changes: Any) -> tuple[torch.nn.Module, dict[str, Any]]:
    """A CLIP, and the `model_cfg` of its configuration."""
    quick = changes.pop("quick_gelu", False)
    vision = changes.pop("timm", None) or {**VISION, **changes}
    config = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": CLIP_TEXT, "quick_gelu": quick}
    torch.manual_seed(0)
    kind = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    return randomised(kind(**config)), config


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"quick_gelu": True},
        {"no_ln_pre": True},
        {"ls_init_value": 0.5},
        {"pool_type": "avg"},
        {"pool_type": "avg", "final_ln_after_pool": True},
        {"norm_kwargs": {"eps": 1e-3}},
        {"act_kwargs": {"approximate": "tanh"}},
    ],
    ids=str,
)
@pytest.mark.parametrize("custom", [False, True], ids=["CLIP", "CustomTextCLIP"])
def test_open_clip(open_clip: Any, custom: bool, changes: dict[str, Any]) -> None:
    network, config = open_clip_model(open_clip, custom, **changes)
    checkpoint = opened(network.state_dict(), config)
    assert_same_network(checkpoint, network.encode_image)
    assert checkpoint.arch.classes == 24
    assert any("text tower" in note for note in checkpoint.notes)
    assert any("24 features of the projection" in note for note in checkpoint.notes)


def test_openai_files_say_their_activation_function(open_clip: Any) -> None:
    network, _ = open_clip_model(open_clip, quick_gelu=True)
    sizes = {"input_resolution": 32, "context_length": 8, "vocab_size": 50}
    tensors = {**network.state_dict(), **{name: torch.tensor(size) for name, size in sizes.items()}}
    assert_same_network(opened(tensors, heads=4), network.encode_image)
    assert_same_network(opened(network.visual.state_dict(), heads=4, act="quick_gelu"), network.encode_image)


@pytest.mark.parametrize("bias", [False, True])
def test_timm_network_in_open_clip(open_clip: Any, bias: bool) -> None:
    """As in open_clip, but that the network of timm is a small one."""
    trunk = vit(num_classes=0, global_pool="avg")
    head = randomised(torch.nn.Linear(48, 24, bias=bias))
    tensors = prefixed("visual.trunk.", trunk.state_dict()) | prefixed("visual.head.proj.", head.state_dict())
    checkpoint = opened({**tensors, "text.ln_final.weight": torch.ones(3), "logit_scale": torch.ones(())}, heads=3)
    assert_same_network(checkpoint, lambda images: head(trunk(images)))
    assert opened(tensors, heads=3, prefix="visual.trunk").arch.classes == 0


def test_timm_swin_in_open_clip(open_clip: Any) -> None:
    trunk = randomised(timm_swin(num_classes=0))
    head = randomised(torch.nn.Linear(32, 24, bias=False))
    tensors = prefixed("visual.trunk.", trunk.state_dict()) | prefixed("visual.head.proj.", head.state_dict())
    assert_same_network(opened(tensors, image_size=32), lambda images: head(trunk(images)))


def test_open_clip_networks_that_are_not_supported(open_clip: Any) -> None:
    network, config = open_clip_model(open_clip, attentional_pool=True, attn_pooler_heads=2)
    with pytest.raises(CheckpointError, match="attention pooling"):
        opened(network.state_dict(), config)
    with pytest.raises(CheckpointError, match="CLIP with a ResNet"):
        opened({"visual.layer1.0.conv1.weight": torch.ones(1), "visual.attnpool.c_proj.weight": torch.ones(1)})
    network, config = open_clip_model(open_clip)
    with pytest.raises(CheckpointError, match="expected a head_width that divides 64, found 'wide'"):
        opened(network.state_dict(), {**config, "vision_cfg": {**VISION, "head_width": "wide"}})


# mmpretrain: names and shapes as version 1.2.0 has them


MMPRETRAIN = (
    (r"^blocks\.(\d+)\.", r"backbone.layers.\1."),
    (r"\.norm([12])\.", r".ln\1."),
    (r"\.mlp\.fc1\.", ".ffn.layers.0.0."),
    (r"\.mlp\.fc2\.", ".ffn.layers.1."),
    (r"layers\.(\d+)\.ls1\.gamma", r"layers.\1.attn.gamma1.weight"),
    (r"layers\.(\d+)\.ls2\.gamma", r"layers.\1.ffn.gamma2.weight"),
    (r"^patch_embed\.proj", "backbone.patch_embed.projection"),
    (r"^norm_pre", "backbone.pre_norm"),
    (r"^norm\.", "backbone.ln1."),
    (r"^fc_norm\.", "backbone.ln2."),
    (r"^(cls_token|dist_token|pos_embed)$", r"backbone.\1"),
    (r"^head(_dist)?\.", r"head.layers.head\1."),
)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"distilled": True},
        {"global_pool": "avg"},
        {"init_values": 0.5, "no_embed_class": True},
        {"pre_norm": True},
        {"num_classes": 0},
    ],
    ids=str,
)
def test_mmpretrain_vit(changes: dict[str, Any]) -> None:
    network = vit(**changes)
    checkpoint = opened(renamed(network.state_dict(), *MMPRETRAIN), heads=3)
    assert checkpoint.layout == "ViT, DeiT or DeiT III of mmpretrain"
    assert_tensors_of(checkpoint, network)
    assert_same_network(checkpoint, network)


def test_mmpretrain_linear_head() -> None:
    network = vit()
    tensors = renamed(network.state_dict(), *MMPRETRAIN, (r"^head\.layers\.head\.", "head.fc."))
    assert_tensors_of(opened(tensors, heads=3), network)


def unfolded(tensor: torch.Tensor) -> torch.Tensor:
    """The inputs of patch merging in the order of `torch.nn.Unfold`: channels, rows, columns."""
    width = tensor.shape[-1] // 4
    order = [(2 * column + row) * width + channel for channel in range(width) for row in (0, 1) for column in (0, 1)]
    return tensor[..., order]


def mmpretrain_swin(network: TimmSwin) -> Tensors:
    tensors = renamed(
        network.state_dict(),
        (r"^layers\.(\d+)\.downsample", lambda m: f"backbone.stages.{int(m[1]) - 1}.downsample"),
        (r"^layers\.", "backbone.stages."),
        (r"\.attn\.", ".attn.w_msa."),
        (r"\.mlp\.fc1\.", ".ffn.layers.0.0."),
        (r"\.mlp\.fc2\.", ".ffn.layers.1."),
        (r"^patch_embed\.proj", "backbone.patch_embed.projection"),
        (r"^patch_embed\.norm", "backbone.patch_embed.norm"),
        (r"^norm\.", "backbone.norm1."),
    )
    return {name: unfolded(t) if ".downsample." in name else t for name, t in tensors.items()}


def test_mmpretrain_swin() -> None:
    network = randomised(timm_swin())
    checkpoint = opened(mmpretrain_swin(network), image_size=32)
    assert checkpoint.layout == "Swin of mmpretrain"
    assert_tensors_of(checkpoint, network)
    assert_same_network(checkpoint, network)


def test_patch_merging_of_mmpretrain_is_an_unfolding() -> None:
    """The order in `unfolded` is that of the channels which timm concatenates and torch unfolds."""
    from timm.models.swin_transformer import PatchMerging

    merging = PatchMerging(3)
    images = torch.randn(1, 4, 4, 3)
    rows = torch.nn.functional.unfold(images.permute(0, 3, 1, 2), 2, stride=2).transpose(1, 2)
    concatenated = images.reshape(1, 2, 2, 2, 2, 3).permute(0, 1, 3, 4, 2, 5).flatten(3).reshape(1, 4, 12)
    assert torch.equal(unfolded(concatenated), rows)
    with torch.inference_mode():
        expected = merging(images).reshape(1, 4, 6)
        found = merging.reduction(merging.norm(concatenated))
    torch.testing.assert_close(found, expected)


def test_mmpretrain_networks_that_are_not_supported() -> None:
    swin = mmpretrain_swin(randomised(timm_swin()))
    with pytest.raises(
        CheckpointError, match=r"outputs of several stages, each with a normalisation \(backbone.norm1.weight, "
    ):
        opened({**swin, "backbone.norm0.weight": torch.ones(16)}, image_size=32)
    with pytest.raises(CheckpointError, match="Swin V2"):
        opened({**swin, "backbone.stages.0.blocks.0.attn.w_msa.logit_scale": torch.ones(2, 1, 1)}, image_size=32)
    gated = {**renamed(vit().state_dict(), *MMPRETRAIN), "backbone.layers.0.ffn.w12.weight": torch.ones(1)}
    with pytest.raises(CheckpointError, match="SwiGLU"):
        opened(gated, heads=3)


# JAX


def augreg(network: TimmVisionTransformer, big_vision: bool = False) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays as flax has them, by the names of the .npz files."""
    heads, width = network.blocks[0].attn.num_heads, network.embed_dim
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    position = "pos_embedding" if big_vision else "Transformer/posembed_input/pos_embedding"
    arrays = {
        position: state["pos_embed"],
        "embedding/kernel": state["patch_embed.proj.weight"].transpose(2, 3, 1, 0),
        "embedding/bias": state["patch_embed.proj.bias"],
        "Transformer/encoder_norm/scale": state["norm.weight"],
        "Transformer/encoder_norm/bias": state["norm.bias"],
        "head/kernel": state["head.weight"].T,
        "head/bias": state["head.bias"],
    }
    if "cls_token" in state:
        arrays["cls"] = state["cls_token"]
    attention, mlp, norm = (
        ("MultiHeadDotProductAttention_0", "MlpBlock_0", "LayerNorm_1")
        if big_vision
        else ("MultiHeadDotProductAttention_1", "MlpBlock_3", "LayerNorm_2")
    )
    for index in range(len(network.blocks)):
        ours, theirs = f"blocks.{index}.", f"Transformer/encoderblock_{index}/"
        for name, module in (("LayerNorm_0", "norm1"), (norm, "norm2")):
            arrays[f"{theirs}{name}/scale"] = state[f"{ours}{module}.weight"]
            arrays[f"{theirs}{name}/bias"] = state[f"{ours}{module}.bias"]
        matrices, biases = np.split(state[f"{ours}attn.qkv.weight"], 3), np.split(state[f"{ours}attn.qkv.bias"], 3)
        for name, matrix, bias in zip(("query", "key", "value"), matrices, biases, strict=True):
            arrays[f"{theirs}{attention}/{name}/kernel"] = matrix.T.reshape(width, heads, -1)
            arrays[f"{theirs}{attention}/{name}/bias"] = bias.reshape(heads, -1)
        arrays[f"{theirs}{attention}/out/kernel"] = state[f"{ours}attn.proj.weight"].T.reshape(heads, -1, width)
        arrays[f"{theirs}{attention}/out/bias"] = state[f"{ours}attn.proj.bias"]
        for number in (0, 1):
            arrays[f"{theirs}{mlp}/Dense_{number}/kernel"] = state[f"{ours}mlp.fc{number + 1}.weight"].T
            arrays[f"{theirs}{mlp}/Dense_{number}/bias"] = state[f"{ours}mlp.fc{number + 1}.bias"]
    return arrays


def dotted(arrays: Mapping[str, np.ndarray[Any, Any]]) -> Tensors:
    return {name.replace("/", "."): torch.from_numpy(array.copy()) for name, array in arrays.items()}


def test_jax_arrays_are_what_timm_makes_of_them(tmp_path: Any) -> None:
    network = vit(num_heads=4)
    arrays = augreg(network)
    np.savez(tmp_path / "model.npz", **arrays)
    loaded = timm_network(num_heads=4)
    _load_weights(loaded, str(tmp_path / "model.npz"))
    checkpoint = opened(dotted(arrays))
    assert checkpoint.arch.heads == 4
    assert checkpoint.facts.found["heads"].origin == "shapes"
    assert_tensors_of(checkpoint, loaded)
    assert_same_network(checkpoint, network)
    assert "gelu_tanh" in checkpoint.notes[-1]


@pytest.mark.parametrize("prefix", ["", "params.", "params.img.", "opt.target."])
def test_big_vision(prefix: str) -> None:
    network = vit(class_token=False, global_pool="avg", fc_norm=False)
    arrays = augreg(network, big_vision=True)
    assert_same_network(opened(prefixed(prefix, dotted(arrays))), network)
    block = "Transformer/encoderblock_0/"
    stacked = {
        name.replace("_0/", "/", 1): np.stack([array, arrays[name.replace("encoderblock_0", "encoderblock_1")]])
        for name, array in arrays.items()
        if name.startswith(block)
    }
    rest = {name: array for name, array in arrays.items() if "encoderblock_" not in name}
    assert_same_network(opened(prefixed(prefix, dotted({**rest, **stacked}))), network)


@pytest.mark.parametrize(
    ("name", "words"),
    [("MAPHead_0.probe", "attention pooling"), ("pre_logits.bias", "pre_logits"), ("conv_root.kernel", "stem")],
)
def test_jax_networks_that_are_not_supported(name: str, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        opened({**dotted(augreg(vit())), name: torch.ones(1)})


# Authors


AUTHORS: dict[str, tuple[dict[str, Any], Tensors, str]] = {
    "MAE with decoder": (
        {"num_classes": 0},
        {
            "mask_token": torch.ones(1, 1, 4),
            "decoder_pos_embed": torch.ones(1, 17, 4),
            "decoder_embed.weight": torch.ones(4, 48),
            "decoder_blocks.0.norm1.weight": torch.ones(4),
            "decoder_norm.weight": torch.ones(4),
            "decoder_pred.weight": torch.ones(192, 4),
        },
        r"left out the mask token \(1 tensor\) left out the decoder \(5 tensors\)",
    ),
    "iBOT or DINO with its head": (
        {"num_classes": 0},
        {
            "head.mlp.0.weight": torch.ones(8, 48),
            "head.last_layer.weight_g": torch.ones(8, 1),
            "head.last_layer2.x": torch.ones(1),
        },
        r"left out the projection head of self-supervised training \(3 tensors\)",
    ),
    "MoCo v3": (
        {"num_classes": 0},
        {"head.0.weight": torch.ones(8, 48), "head.1.running_mean": torch.ones(8), "head.3.weight": torch.ones(4, 8)},
        r"left out the projection head",
    ),
}


@pytest.mark.parametrize("name", AUTHORS)
def test_parts_that_only_training_needs(name: str) -> None:
    changes, beside, words = AUTHORS[name]
    network = vit(**changes)
    checkpoint = opened({**network.state_dict(), **beside}, heads=3)
    assert_tensors_of(checkpoint, network)
    assert re.search(words, " ".join(checkpoint.notes))


def test_a_linear_probe_with_a_normalisation_keeps_its_head() -> None:
    probe = {
        "head.0.running_mean": torch.ones(48),
        "head.1.weight": torch.ones(7, 48),
        "head.1.running_mean": torch.ones(1),
    }
    with pytest.raises(CheckpointError, match=r"tensor head\.0\.running_mean"):
        opened({**vit(num_classes=0).state_dict(), **probe}, heads=3)


def test_dinov2_in_chunks() -> None:
    network = vit(init_values=0.5, num_classes=0)
    tensors = renamed(network.state_dict(), (r"^blocks\.(\d+)\.", r"blocks.0.\1."))
    checkpoint = opened({**tensors, "mask_token": torch.zeros(1, 48)}, heads=3)
    assert_tensors_of(checkpoint, network)
    assert checkpoint.facts.value("position_resize") == "dinov2"


def test_dino_teacher_and_student() -> None:
    network = vit(num_classes=0)
    beside = {"head.mlp.0.weight": torch.ones(4, 48)}
    checkpoint = opened(prefixed("backbone.", network.state_dict()) | beside, heads=3)
    assert_tensors_of(checkpoint, network)
    both = prefixed("student.backbone.", network.state_dict()) | prefixed("teacher.backbone.", network.state_dict())
    with pytest.raises(CheckpointError, match=r"holds 2 networks, under 'student.backbone.', 'teacher.backbone.'"):
        opened(both, heads=3)
    assert_tensors_of(opened(both, heads=3, prefix="teacher.backbone"), network)
    with pytest.raises(CheckpointError, match="expected a network under --prefix 'ema', found networks under 'student"):
        opened(both, heads=3, prefix="ema")


def eva(**changes: Any) -> Eva:
    settings = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 7}
    network: Eva = randomised(Eva(**{**settings, **changes}))
    return network


@pytest.mark.parametrize("pool", ["avg", "token"])
def test_eva_giant_is_a_vit_without_bias_of_keys(pool: str) -> None:
    network = eva(global_pool=pool)
    assert "blocks.0.attn.q_bias" in network.state_dict()
    assert_same_network(opened(network.state_dict(), heads=3), network)
    with_zeros = {**network.state_dict(), "blocks.0.attn.k_bias": torch.zeros(48)}
    assert opened(with_zeros, heads=3).fingerprint == opened(network.state_dict(), heads=3).fingerprint


def test_eva_enormous_normalises_after_each_branch() -> None:
    with torch.device("meta"):
        tensors = timm.create_model("eva02_enormous_patch14_clip_224").state_dict()
    with pytest.raises(CheckpointError, match="after each branch"):
        opened(tensors)


def test_original_swin_and_its_mask_token() -> None:
    network = randomised(timm_swin())
    original = renamed(
        network.state_dict(),
        (r"^layers\.(\d+)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample"),
        (r"^head\.fc", "head"),
    )
    checkpoint = opened({**original, "mask_token": torch.ones(1, 1, 16)}, image_size=32)
    assert_tensors_of(checkpoint, network)
    assert checkpoint.notes == ("left out the mask token (1 tensor)",)


# What is not read


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["image_encoder.patch_embed.proj.weight", "image_encoder.blocks.0.attn.rel_pos_h"], "SAM, or a ViTDet"),
        (["image_encoder.trunk.pos_embed_window", "image_encoder.trunk.patch_embed.proj.weight"], "SAM 2"),
        (["segformer.encoder.patch_embeddings.0.proj.weight"], "is SegFormer"),
        (["pretrained.patch_embed.proj.weight", "depth_head.scratch.output_conv1.weight"], "Depth Anything"),
        (["beit3.encoder.embed_positions.A.weight"], "BEiT-3"),
        (["visual.rope.freqs_cos", "visual.patch_embed.proj.weight"], "EVA-02 or EVA-CLIP"),
        (["rope_embed.periods", "storage_tokens", "patch_embed.proj.weight"], "is DINOv3, .*rotary"),
        (["patch_embed.proj.weight", "blocks.0.norm1.weight", "reg_token"], "without position table .*DINOv3"),
        (
            ["patch_embed.proj.weight", "layers.0.blocks.0.norm1.weight", "norm0.weight", "norm3.weight"],
            "backbone of a",
        ),
        (["owlv2.vision_model.embeddings.class_embedding"], "OWLv2"),
        (["transformer.decoder.bbox_embed.layers.0.weight"], "RF-DETR"),
        (["visual.attn_pool.probe", "visual.class_embedding"], "Perception Encoder"),
        (["radio_model.model.patch_generator.embedder.weight"], "RADIO"),
        (["preprocessor.patchifier.proj.weight"], "AIMv2"),
        (["stages.0.blocks.0.conv_dw.weight"], "ConvNeXt"),
        (["layer1.0.conv1.weight", "bn1.weight"], "ResNet"),
        (["blocks.0.0.conv_dw.weight"], "EfficientNet"),
        (["base_model.model.vit.layers.0.attention.q_proj.lora_A.weight"], "adapter .LoRA."),
        (["vit.layers.0.attention.q_proj.qweight"], "quantised checkpoint"),
        (["vit/encoder/layer_0/kernel:0"], "TensorFlow"),
        (["bert.embeddings.word_embeddings.weight", "bert.pooler.dense.weight"], "a text model has no images"),
        (["text_model.a.weight", "text_model.b.weight", "x"], r"found text_model\.\* \(2\), x"),
    ],
)
def test_networks_that_are_known_and_not_read(names: list[str], words: str) -> None:
    with pytest.raises(CheckpointError, match=words) as error:
        opened({name: torch.ones(1) for name in names})
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("title", "words"),
    [("model-00001-of-00003.safetensors", "one of 3 files"), ("a/pytorch_model-00002-of-00002.bin", "2 files")],
)
def test_one_file_of_several(title: str, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        check_source(Source(title, dict(vit().state_dict())), Facts.asked(heads=3))
    check_source(Source("model-00001-of-00001.safetensors", dict(vit().state_dict())), Facts.asked(heads=3))


ODD = (torch.ones(()), torch.ones(2, 3, 4, 5, 6), torch.ones(3, 5).to_sparse())
NAMES: list[Callable[[], Tensors]] = [
    lambda: dict(vit().state_dict()),
    lambda: dict(timm_swin().state_dict()),
    lambda: dict(torchvision_vit().state_dict()),
    lambda: dict(torchvision_swin().state_dict()),
    lambda: renamed(vit().state_dict(), *MMPRETRAIN),
    lambda: mmpretrain_swin(timm_swin()),
    lambda: dotted(augreg(vit())),
]


@pytest.mark.parametrize("tensors", NAMES)
def test_anchors_exclude_each_other(tensors: Callable[[], Tensors]) -> None:
    found = [
        layout.title
        for layout in LAYOUTS
        for name in tensors()
        if re.fullmatch(rf"(?:.*\.)?{layout.anchor}", name) is not None
    ]
    assert len(found) == 1


@pytest.mark.parametrize("tensors", NAMES)
def test_damaged_tensors(tensors: Callable[[], Tensors]) -> None:
    """A missing or misshapen tensor is an error, unless it may be absent; nothing else is raised."""
    whole = tensors()
    for name in [name for name in whole if not re.search(r"[1-9]", name)] + [*whole][-2:]:
        absent = {other: tensor for other, tensor in whole.items() if other != name}
        for damaged in (absent, *({**whole, name: odd} for odd in ODD)):
            with contextlib.suppress(CheckpointError):
                opened(damaged)
                assert damaged is absent, f"{name} may have any shape"
