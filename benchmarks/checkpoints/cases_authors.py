"""Layouts of the authors of DINO, DINOv2, MAE, I-JEPA, DeiT, Swin and others, whose code is not in a package.

Each file is made from a network of timm that computes the same function, by the maps of names in this file.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from case import Case, Expect, Made
from sources import Tensors, forward, of_timm, randomise, renamed, tensors_of, timm_swin, timm_vit

EITHER: Expect = "accept or refuse, never wrong"
FEATURES = {"num_classes": 0}


def cases() -> Iterator[Case]:
    """By group of authors."""
    for group in (_dino, _dino2, _mae, _deit, _self_supervised, _swin, _mmpretrain, _jax, _unsupported):
        yield from group()


def _case(name: str, make: Callable[[Path], Made], expect: Expect = "accept", words: str = "") -> Case:
    return Case(name, "authors' code", make, expect, words, needs=("timm",))


def _prefixed(tensors: Tensors, prefix: str) -> Tensors:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def _saved(folder: Path, content: Any, network: Any, **options: Any) -> Made:
    torch.save(content, folder / "checkpoint.pth")
    return of_timm(folder / "checkpoint.pth", network, **options)


# -- DINO


def _dino() -> Iterator[Case]:
    yield _case("DINO, backbone", lambda f: _saved(f, tensors_of(timm_vit(**FEATURES)), timm_vit(**FEATURES)))
    yield _case("DINO, full checkpoint", _dino_full, words="teacher")
    yield _case("DINO, linear classifier on four layers", _dino_linear, "refuse")


def _dino_head() -> Tensors:
    widths = {"mlp.0": (64, 128), "mlp.2": (64, 64), "mlp.4": (32, 64)}
    head = {f"{name}.weight": torch.randn(shape) for name, shape in widths.items()}
    head |= {f"{name}.bias": torch.randn(shape[0]) for name, shape in widths.items()}
    return {**head, "last_layer.weight_g": torch.ones(100, 1), "last_layer.weight_v": torch.randn(100, 32)}


def _dino_full(folder: Path) -> Made:
    student, teacher = timm_vit(seed=1, **FEATURES), timm_vit(**FEATURES)
    content = {
        "student": _prefixed(tensors_of(student), "module.backbone.") | _prefixed(_dino_head(), "module.head."),
        "teacher": _prefixed(tensors_of(teacher), "backbone.") | _prefixed(_dino_head(), "head."),
        "optimizer": {"state": {}, "param_groups": []},
        "epoch": 100,
        "args": argparse.Namespace(arch="vit_small", patch_size=8),
        "dino_loss": {"center": torch.zeros(1, 100)},
        "fp16_scaler": {"scale": 65536.0},
    }
    return _saved(folder, content, teacher)


def _dino_linear(folder: Path) -> Made:
    tensors = {"module.linear.weight": torch.randn(7, 512), "module.linear.bias": torch.zeros(7)}
    torch.save({"epoch": 1, "state_dict": tensors, "best_acc": 77.0}, folder / "checkpoint.pth")
    return Made(folder / "checkpoint.pth")


# -- DINOv2, DINOv3


def _dino2() -> Iterator[Case]:
    yield _case("DINOv2", _dino2_file)
    yield _case("DINOv2 with registers", partial(_dino2_file, registers=4))
    for size in (48, 24):
        at = partial(_dino2_file, size=size)
        yield _case(f"DINOv2, --img-size {size}", at, EITHER, "resiz|interpol")
    yield _case("DINOv2, --img-size 48 with registers", partial(_dino2_file, registers=4, size=48), EITHER, "resiz")
    yield _case("DINOv2, blocks in chunks", _dino2_chunks)
    yield _case("DINOv2, training checkpoint", _dino2_training, words="teacher")
    yield _case("DINOv2, linear classifier beside the backbone", _dino2_linear, EITHER, "linear_head")
    yield _case("DINOv2 giant", _dino2_giant, EITHER, "SwiGLU")
    yield _case("DINOv3", _dino3, EITHER, "rope|rotary")
    yield _case("Depth Anything", _depth_anything, EITHER, "depth_head|decoder")


def _dino2_tensors(network: Any) -> Tensors:
    """With mask_token; with registers the class token has a position of its own, which timm adds to it."""
    tensors = {**tensors_of(network), "mask_token": torch.randn(1, 128)}
    if "reg_token" in tensors:
        position = torch.randn(1, 1, 128, generator=torch.Generator().manual_seed(5))
        tensors["register_tokens"] = tensors.pop("reg_token")
        tensors["cls_token"] = tensors["cls_token"] - position
        tensors["pos_embed"] = torch.cat([position, tensors["pos_embed"]], dim=1)
    return tensors


def _dino2_network(registers: int = 0, **changes: Any) -> Any:
    given = {"reg_tokens": registers, "no_embed_class": registers > 0, "init_values": 0.5, **FEATURES}
    return timm_vit(**{**given, **changes})


def _dino2_file(folder: Path, registers: int = 0, size: int | None = None) -> Made:
    """`size`: the network at that size, resampled as the authors do: offset by 0.1; with registers antialiased."""
    network = _dino2_network(registers)
    tensors = _dino2_tensors(network)
    if size is None:
        return _saved(folder, tensors, network)
    larger, table = _dino2_network(registers, img_size=size), tensors_of(network)["pos_embed"]
    prefix, side = (0 if registers else 1), size // 8
    patches = table[:, prefix:].reshape(1, 4, 4, -1).permute(0, 3, 1, 2)
    how = {"size": (side, side), "antialias": True} if registers else {"scale_factor": ((side + 0.1) / 4,) * 2}
    patches = torch.nn.functional.interpolate(patches, mode="bicubic", **how).permute(0, 2, 3, 1).flatten(1, 2)
    resampled = torch.cat([table[:, :prefix], patches], dim=1)
    larger.load_state_dict({**tensors_of(network), "pos_embed": resampled})
    return _saved(folder, tensors, larger, img_size=size)


def _dino2_chunks(folder: Path) -> Made:
    network = _dino2_network(depth=4)
    chunked = {r"^blocks\.([01])\.": r"blocks.0.\1.", r"^blocks\.([23])\.": r"blocks.1.\1."}
    return _saved(folder, renamed(_dino2_tensors(network), chunked), network)


def _dino2_training(folder: Path) -> Made:
    network = _dino2_network()
    heads = _prefixed(_dino_head(), "dino_head.") | _prefixed(_dino_head(), "ibot_head.")
    return _saved(folder, {"teacher": _prefixed(_dino2_tensors(network), "backbone.") | heads}, network)


def _dino2_linear(folder: Path) -> Made:
    network = _dino2_network()
    head = {"linear_head.weight": torch.randn(7, 5 * 128), "linear_head.bias": torch.zeros(7)}
    return _saved(folder, _prefixed(_dino2_tensors(network), "backbone.") | head, network)


def _dino2_giant(folder: Path) -> Made:
    from timm.layers import SwiGLUPacked

    network = _dino2_network(mlp_layer=SwiGLUPacked, mlp_ratio=4)
    rules = {r"mlp\.fc1\.": "mlp.w12.", r"mlp\.fc2\.": "mlp.w3."}
    return _saved(folder, renamed(_dino2_tensors(network), rules), network)


def _dino3(folder: Path) -> Made:
    import timm

    settings = {"img_size": 64, "patch_size": 16, "embed_dim": 128, "depth": 2, "num_heads": 4}
    network = randomise(timm.create_model("vit_small_patch16_dinov3", **settings, num_classes=0))
    tensors = renamed(tensors_of(network), {r"\.gamma_([12])$": r".ls\1.gamma", "^reg_token$": "storage_tokens"})
    for block in range(2):
        tensors[f"blocks.{block}.attn.qkv.bias"] = torch.zeros(384)
        tensors[f"blocks.{block}.attn.qkv.bias_mask"] = torch.ones(384)
    tensors |= {"mask_token": torch.zeros(1, 128), "rope_embed.periods": torch.ones(8)}
    torch.save(tensors, folder / "dinov3_vits16.pth")
    return Made(folder / "dinov3_vits16.pth", forward(network), 64, {"num_heads": 4})


def _depth_anything(folder: Path) -> Made:
    network = _dino2_network()
    head = {f"projects.{i}.weight": torch.randn(8, 128, 1, 1) for i in range(4)}
    tensors = _prefixed(_dino2_tensors(network), "pretrained.") | _prefixed(head, "depth_head.")
    return _saved(folder, tensors, network)


# -- MAE


def _mae() -> Iterator[Case]:
    yield _case("MAE, encoder", lambda f: _saved(f, {"model": tensors_of(timm_vit(**FEATURES))}, timm_vit(**FEATURES)))
    yield _case("MAE with decoder", _mae_decoder, EITHER, "decoder")
    yield _case("MAE, fine-tuned", _mae_tuned)
    yield _case("MAE, linear probe", _mae_probe, EITHER, "head")


def _mae_decoder(folder: Path) -> Made:
    network, decoder = timm_vit(**FEATURES), timm_vit(embed_dim=64, depth=1, **FEATURES)
    kept = r"^(blocks|norm|pos_embed)"
    decoded = {f"decoder_{name}": t for name, t in tensors_of(decoder).items() if re.match(kept, name)}
    decoded |= {"mask_token": torch.randn(1, 1, 64), "decoder_embed.weight": torch.randn(64, 128)}
    decoded |= {"decoder_embed.bias": torch.randn(64), "decoder_pred.weight": torch.randn(192, 64)}
    decoded |= {"decoder_pred.bias": torch.randn(192)}
    return _saved(folder, {"model": {**tensors_of(network), **decoded}}, network)


def _mae_tuned(folder: Path) -> Made:
    network = timm_vit(global_pool="avg")
    args = argparse.Namespace(model="vit_base_patch16", global_pool=True, nb_classes=7)
    scaler = {"scale": 65536.0, "growth_factor": 2.0}
    content = {"model": tensors_of(network), "optimizer": {"state": {}}, "epoch": 99, "scaler": scaler, "args": args}
    return _saved(folder, content, network)


def _mae_probe(folder: Path) -> Made:
    """A BatchNorm without factors before the head."""
    network = timm_vit()
    tensors = tensors_of(network)
    norm = randomise(torch.nn.BatchNorm1d(128, affine=False, eps=1e-6))
    norm.running_mean.normal_(std=0.3)
    norm.running_var.uniform_(0.5, 2)
    linear = torch.nn.Linear(128, 7)
    linear.load_state_dict({"weight": tensors.pop("head.weight"), "bias": tensors.pop("head.bias")})
    tensors |= _prefixed(tensors_of(norm), "head.0.") | _prefixed(tensors_of(linear), "head.1.")
    made = _saved(folder, {"model": tensors}, network)
    network.head = torch.nn.Sequential(norm, linear)
    return made


# -- DeiT


def _deit() -> Iterator[Case]:
    yield _case("DeiT", lambda f: _saved(f, {"model": tensors_of(timm_vit())}, timm_vit()))
    yield _case("DeiT distilled", _deit_distilled)
    yield _case("DeiT III", _deit3)
    yield _case("DeiT, training checkpoint with model_ema", _deit_training, words=r"\bema\b|_ema\b|averaged")


def _deit_distilled(folder: Path) -> Made:
    from timm.models.deit import VisionTransformerDistilled

    network = VisionTransformerDistilled(img_size=32, patch_size=8, embed_dim=128, depth=2, num_heads=4, num_classes=7)
    network = randomise(network)
    network.set_distilled_training(False)
    return _saved(folder, {"model": tensors_of(network)}, network)


_GAMMAS = {r"\.ls([12])\.gamma": r".gamma_\1"}


def _deit3(folder: Path) -> Made:
    network = timm_vit(no_embed_class=True, init_values=0.5)
    return _saved(folder, {"model": renamed(tensors_of(network), _GAMMAS)}, network, img_size=32, plain=True)


def _deit_training(folder: Path) -> Made:
    network, averaged = timm_vit(seed=1), timm_vit()
    content = {"model": tensors_of(network), "model_ema": tensors_of(averaged), "optimizer": {}, "epoch": 1}
    content |= {"scaler": {}, "args": argparse.Namespace(model="deit_tiny_patch16_224", output_dir="out")}
    return _saved(folder, content, averaged)


# -- I-JEPA, MoCo v3, iBOT


def _self_supervised() -> Iterator[Case]:
    yield _case("I-JEPA", _ijepa, words="target_encoder")
    yield _case("I-JEPA, encoder alone", _ijepa_encoder)
    yield _case("MoCo v3", _moco, EITHER, "base_encoder|momentum_encoder")
    yield _case("MoCo v3, linear probe", lambda f: _saved(f, _moco_linear(timm_vit()), timm_vit()))
    yield _case("iBOT, teacher", lambda f: _saved(f, _ibot(timm_vit(**FEATURES)), timm_vit(**FEATURES)))
    yield _case("iBOT with relative positions", _ibot_relative, "refuse", "relative position")


IJEPA: dict[str, Any] = {"class_token": False, "global_pool": "avg", "fc_norm": False, "num_classes": 0}


def _ijepa(folder: Path) -> Made:
    network, other = timm_vit(**IJEPA), timm_vit(seed=1, **IJEPA)
    predictor = {"predictor_embed.weight": torch.randn(64, 128), "mask_token": torch.randn(1, 1, 64)}
    content = {
        "encoder": _prefixed(tensors_of(other), "module."),
        "predictor": _prefixed(predictor, "module."),
        "opt": {"state": {}, "param_groups": []},
        "scaler": {"scale": 65536.0},
        "target_encoder": _prefixed(tensors_of(network), "module."),
        "epoch": 300,
        "loss": 0.1,
        "batch_size": 128,
        "world_size": 16,
        "lr": 1e-3,
    }
    return _saved(folder, content, network)


def _ijepa_encoder(folder: Path) -> Made:
    network = timm_vit(**IJEPA)
    return _saved(folder, {"target_encoder": _prefixed(tensors_of(network), "module.")}, network)


def _moco(folder: Path) -> Made:
    network, momentum = timm_vit(**FEATURES), timm_vit(seed=1, **FEATURES)
    head = {
        "head.0.weight": torch.randn(64, 128),
        "head.1.weight": torch.ones(64),
        "head.1.running_mean": torch.ones(64),
    }
    tensors = _prefixed(tensors_of(network) | head, "module.base_encoder.")
    tensors |= _prefixed(tensors_of(momentum) | head, "module.momentum_encoder.")
    tensors |= _prefixed({"0.weight": torch.randn(64, 64)}, "module.predictor.")
    return _saved(folder, {"epoch": 300, "arch": "vit_small", "state_dict": tensors}, network)


def _moco_linear(network: Any) -> dict[str, Any]:
    return {
        "epoch": 90,
        "arch": "vit_small",
        "state_dict": _prefixed(tensors_of(network), "module."),
        "best_acc1": 73.2,
    }


def _ibot(network: Any) -> dict[str, Any]:
    return {"state_dict": {**tensors_of(network), "masked_embed": torch.randn(1, 128)}}


def _ibot_relative(folder: Path) -> Made:
    tensors = tensors_of(timm_vit(**FEATURES))
    tensors |= {f"blocks.{i}.attn.relative_position_bias_table": torch.randn(52, 4) for i in range(2)}
    torch.save({"state_dict": tensors}, folder / "checkpoint.pth")
    return Made(folder / "checkpoint.pth")


# -- Swin


def _swin() -> Iterator[Case]:
    yield _case("Swin", _swin_file)
    yield _case("Swin, own image size from its masks", partial(_swin_file, told=False))
    yield _case("Swin, no classes", partial(_swin_file, num_classes=0))
    yield _case("Swin, training checkpoint", _swin_training)
    yield _case("Swin, absolute positions", _swin_absolute, EITHER, "absolute")
    yield _case("Swin V2", _swin2, EITHER, "Swin V2|cosine")
    yield _case("Swin-MLP", _swin_mlp, "refuse", "Swin-MLP|spatial_mlp")
    yield _case("Swin, backbone of a detector", _swin_detector, EITHER, "norm0|norm1|feature map|stage")


def _swin_tensors(network: Any) -> Tensors:
    """A merging counts to the stage before it; masks and indices are saved."""
    rules = {r"^layers\.(\d+)\.downsample\.": lambda m: f"layers.{int(m[1]) - 1}.downsample.", r"^head\.fc\.": "head."}
    tensors = {}
    for name, tensor in tensors_of(network).items():
        for pattern, replacement in rules.items():
            name = re.sub(pattern, replacement, name)
        tensors[name] = tensor
    buffers = {name: buffer for name, buffer in network.named_buffers() if buffer is not None}
    assert any(name.endswith("attn_mask") for name in buffers)
    assert any(name.endswith("relative_position_index") for name in buffers)
    return tensors | buffers


def _swin_file(folder: Path, told: bool = True, **changes: Any) -> Made:
    network = timm_swin(window_size=4, img_size=64, **changes)
    return _saved(folder, {"model": _swin_tensors(network)}, network, **({} if told else {"img_size": None}))


def _swin_training(folder: Path) -> Made:
    network = timm_swin()
    content = {"model": _swin_tensors(network), "optimizer": {"state": {}}, "lr_scheduler": {}, "max_accuracy": 81.2}
    return _saved(folder, {**content, "scaler": {}, "epoch": 299, "config": {"MODEL": {"TYPE": "swin"}}}, network)


def _swin_absolute(folder: Path) -> Made:
    tensors = _swin_tensors(timm_swin()) | {"absolute_pos_embed": torch.randn(1, 64, 64)}
    torch.save({"model": tensors}, folder / "checkpoint.pth")
    return Made(folder / "checkpoint.pth", options={"img_size": 32})


def _swin2(folder: Path) -> Made:
    from timm.models.swin_transformer_v2 import SwinTransformerV2

    settings = {"img_size": 32, "embed_dim": 32, "depths": (2, 2), "num_heads": (2, 4), "window_size": 4}
    network = randomise(SwinTransformerV2(**settings, num_classes=7))
    torch.save({"model": _swin_tensors(network)}, folder / "checkpoint.pth")
    return Made(folder / "checkpoint.pth", forward(network), options={"img_size": 32})


def _swin_mlp(folder: Path) -> Made:
    tensors = {name: t for name, t in _swin_tensors(timm_swin()).items() if ".attn" not in name}
    for stage in range(2):
        for block in range(2):
            tensors[f"layers.{stage}.blocks.{block}.spatial_mlp.weight"] = torch.randn(32, 16, 1)
    torch.save({"model": tensors}, folder / "checkpoint.pth")
    return Made(folder / "checkpoint.pth", options={"img_size": 32})


def _swin_detector(folder: Path) -> Made:
    tensors = {n: t for n, t in _swin_tensors(timm_swin(num_classes=0)).items() if not n.startswith("norm.")}
    for stage, width in enumerate((64, 128)):
        tensors |= {f"norm{stage}.weight": torch.ones(width), f"norm{stage}.bias": torch.zeros(width)}
    neck = {"neck.lateral_convs.0.conv.weight": torch.randn(8, 64, 1, 1)}
    content = {"meta": {"epoch": 12}, "state_dict": _prefixed(tensors, "backbone.") | neck}
    torch.save(content, folder / "checkpoint.pth")
    return Made(folder / "checkpoint.pth", options={"img_size": 32})


# -- mmpretrain


def _mmpretrain() -> Iterator[Case]:
    yield _case("mmpretrain ViT", _mm_vit)
    yield _case("mmpretrain ViT, backbone alone", partial(_mm_vit, alone=True))
    yield _case("mmpretrain Swin", _mm_swin)


MM_VIT = {
    r"^patch_embed\.proj\.": "patch_embed.projection.",
    r"^blocks\.": "layers.",
    r"\.norm([12])\.": r".ln\1.",
    r"^norm\.": "ln1.",
    r"\.mlp\.fc1\.": ".ffn.layers.0.0.",
    r"\.mlp\.fc2\.": ".ffn.layers.1.",
    r"^": "backbone.",
    r"^backbone\.head\.": "head.layers.head.",
}


def _mm_vit(folder: Path, alone: bool = False) -> Made:
    network = timm_vit(**FEATURES) if alone else timm_vit()
    tensors = renamed(tensors_of(network), MM_VIT)
    if alone:
        return _saved(folder, renamed(tensors, {r"^backbone\.": ""}), network)
    meta = {"epoch": 300, "mmengine_version": "0.10.5", "dataset_meta": {"classes": ["cat", "dog"]}}
    return _saved(folder, {"meta": meta, "state_dict": tensors, "message_hub": {}}, network)


MM_SWIN = {
    r"^patch_embed\.proj\.": "patch_embed.projection.",
    r"^layers\.": "stages.",
    r"\.attn\.": ".attn.w_msa.",
    r"\.mlp\.fc1\.": ".ffn.layers.0.0.",
    r"\.mlp\.fc2\.": ".ffn.layers.1.",
    r"^norm\.": "norm1.",
    r"^": "backbone.",
    r"^backbone\.head\.fc\.": "head.fc.",
}


def _mm_swin(folder: Path) -> Made:
    """Merging is written with nn.Unfold: other names of the stage, and another order of the four neighbours."""
    network = timm_swin()
    tensors: Tensors = {}
    for name, tensor in renamed(tensors_of(network), MM_SWIN).items():
        merging = re.match(r"backbone\.stages\.(\d+)\.downsample\.(.*)", name)
        if merging:
            name = f"backbone.stages.{int(merging[1]) - 1}.downsample.{merging[2]}"
            quarters = tensor.unflatten(-1, (4, -1))[..., [0, 2, 1, 3], :]
            tensor = quarters.transpose(-1, -2).flatten(-2)
        tensors[name] = tensor
    for name, buffer in network.named_buffers():
        if name.endswith("relative_position_index"):
            tensors[re.sub(r"^layers", "backbone.stages", name).replace(".attn.", ".attn.w_msa.")] = buffer
    return _saved(folder, {"meta": {"epoch": 300}, "state_dict": tensors}, network)


# -- JAX


def _jax() -> Iterator[Case]:
    yield _case("augreg .npz", _augreg)
    yield _case("augreg .npz without classes", partial(_augreg, num_classes=0))
    yield _case("augreg .npz with pre_logits", _augreg_logits, EITHER, "pre_logits|representation")
    yield _case("big_vision .npz", _big_vision, EITHER, "params/img|big_vision|JAX|npz|kernel")


def _augreg_arrays(network: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Matrices are [inputs, outputs], those of attention have an axis of heads."""
    tensors = {name: tensor.numpy() for name, tensor in tensors_of(network).items()}
    heads, width = network.blocks[0].attn.num_heads, network.embed_dim
    found = {
        "cls": tensors["cls_token"],
        "Transformer/posembed_input/pos_embedding": tensors["pos_embed"],
        "embedding/kernel": tensors["patch_embed.proj.weight"].transpose(2, 3, 1, 0),
        "embedding/bias": tensors["patch_embed.proj.bias"],
    }
    norms = {"norm": "Transformer/encoder_norm"}
    linears = {"head": "head"} if "head.weight" in tensors else {}
    for i in range(len(network.blocks)):
        block, layer = f"blocks.{i}.", f"Transformer/encoderblock_{i}/"
        norms |= {f"{block}norm1": f"{layer}LayerNorm_0", f"{block}norm2": f"{layer}LayerNorm_2"}
        linears |= {f"{block}mlp.fc1": f"{layer}MlpBlock_3/Dense_0", f"{block}mlp.fc2": f"{layer}MlpBlock_3/Dense_1"}
        attention = f"{layer}MultiHeadDotProductAttention_1/"
        weights = np.split(tensors[f"{block}attn.qkv.weight"], 3)
        biases = np.split(tensors[f"{block}attn.qkv.bias"], 3)
        for part, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
            found[f"{attention}{part}/kernel"] = weight.T.reshape(width, heads, -1)
            found[f"{attention}{part}/bias"] = bias.reshape(heads, -1)
        found[f"{attention}out/kernel"] = tensors[f"{block}attn.proj.weight"].T.reshape(heads, -1, width)
        found[f"{attention}out/bias"] = tensors[f"{block}attn.proj.bias"]
    for name, path in norms.items():
        found |= {f"{path}/scale": tensors[f"{name}.weight"], f"{path}/bias": tensors[f"{name}.bias"]}
    for name, path in linears.items():
        found |= {f"{path}/kernel": tensors[f"{name}.weight"].T, f"{path}/bias": tensors[f"{name}.bias"]}
    return found


def _augreg(folder: Path, **changes: Any) -> Made:
    network = timm_vit(**changes)
    np.savez(folder / "Ti_16.npz", **_augreg_arrays(network))
    return of_timm(folder / "Ti_16.npz", network, num_heads=None)


def _augreg_logits(folder: Path) -> Made:
    network = timm_vit()
    logits = {"pre_logits/kernel": np.ones((128, 128), np.float32), "pre_logits/bias": np.ones(128, np.float32)}
    np.savez(folder / "Ti_16.npz", **_augreg_arrays(network), **logits)
    return Made(folder / "Ti_16.npz")


def _big_vision(folder: Path) -> Made:
    """Blocks stacked in one array each, beside a text tower."""
    arrays = {
        "params/img/embedding/kernel": np.ones((8, 8, 3, 128), np.float32),
        "params/img/pos_embedding": np.ones((1, 16, 128), np.float32),
        "params/img/Transformer/encoderblock/LayerNorm_0/scale": np.ones((2, 128), np.float32),
        "params/txt/Embed_0/embedding": np.ones((99, 128), np.float32),
        "params/t": np.ones(1, np.float32),
    }
    np.savez(folder / "siglip.npz", **arrays)
    return Made(folder / "siglip.npz")


# -- what is not supported


def _unsupported() -> Iterator[Case]:
    yield _case("BEiT", _beit, EITHER, "relative position")
    yield _case("EVA-02", _eva2, EITHER, "rope|rotary|SwiGLU|normalisation")
    yield _case("EVA-CLIP", partial(_eva2, prefix="visual."), EITHER, "rope|rotary|SwiGLU|normalisation")
    yield _case("EVA giant", _eva_giant, EITHER, "bias")
    for name, prefix in (("image encoder", ""), ("sam_vit_b.pth", "image_encoder.")):
        words = "SAM|relative position|neck"
        make = partial(_sam, prefix=prefix)
        needs = ("segment_anything",)
        yield Case(f"SAM, {name}", "authors' code", make, EITHER, words, needs=needs)


def _as_files(folder: Path, name: str, prefix: str = "", rules: dict[str, str] | None = None, **changes: Any) -> Made:
    import timm

    settings = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 2, "num_heads": 4, "num_classes": 7}
    network = randomise(timm.create_model(name, **{**settings, **changes}))
    tensors = _prefixed(renamed(tensors_of(network), rules or {}), prefix)
    torch.save({"model": tensors}, folder / "checkpoint.pth")
    return Made(folder / "checkpoint.pth", forward(network), options={"num_heads": 4})


def _beit(folder: Path) -> Made:
    return _as_files(folder, "beit_base_patch16_224")


def _eva2(folder: Path, prefix: str = "") -> Made:
    return _as_files(folder, "eva02_tiny_patch14_224", prefix, {r"mlp\.fc1_g\.": "mlp.w1.", r"mlp\.fc1_x\.": "mlp.w2."})


def _eva_giant(folder: Path) -> Made:
    return _as_files(folder, "eva_giant_patch14_224", mlp_ratio=4)


def _sam(folder: Path, prefix: str) -> Made:
    from segment_anything.modeling import ImageEncoderViT

    encoder = ImageEncoderViT(
        img_size=64, patch_size=16, embed_dim=128, depth=2, num_heads=4, use_rel_pos=True, window_size=2
    )
    tensors = _prefixed(tensors_of(randomise(encoder)), prefix)
    if prefix:
        tensors |= {"prompt_encoder.no_mask_embed.weight": torch.randn(1, 256)}
        tensors |= {"mask_decoder.iou_token.weight": torch.randn(1, 256)}
    torch.save(tensors, folder / "sam_vit_b.pth")
    return Made(folder / "sam_vit_b.pth", options={"num_heads": 4})
