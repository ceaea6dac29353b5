"""timm: state_dicts, hub folders, checkpoints of train.py, modules, and architectures that are not supported."""

from __future__ import annotations

import argparse
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from case import Case, Made
from sources import forward, of_timm, randomise, tensors_of, timm_swin, timm_vit

TIMM = ("timm",)
EITHER = "accept or refuse, never wrong"
GAP = {"class_token": False, "global_pool": "avg"}

#: What a warning has to name when nothing that lies beside the tensors was read.
BESIDE = "heads|normali"

#: Arguments of VisionTransformer, and what has to be said in an option beside the number of heads.
VITS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "mean of patches": (GAP, {}),
    "mean of patches, with class token": ({"global_pool": "avg"}, {}),
    "mean of normalised patches": ({**GAP, "fc_norm": False}, {}),
    "register tokens": ({"reg_tokens": 3, "no_embed_class": True, "init_values": 0.5}, {"img_size": 32}),
    "register tokens with positions": ({"reg_tokens": 2}, {}),
    "class token without position": ({"no_embed_class": True}, {"img_size": 32}),
    "LayerScale": ({"init_values": 0.5}, {}),
    "normalisation before the blocks": ({"pre_norm": True, "norm_layer": partial(torch.nn.LayerNorm, eps=1e-5)}, {}),
    "qkv without bias": ({"qkv_bias": False}, {}),
    "quick_gelu": ({"act_layer": "quick_gelu"}, {"act": "quick_gelu"}),
    "gelu_tanh": ({"act_layer": "gelu_tanh"}, {"act": "gelu_tanh"}),
    "features": ({"num_classes": 0}, {}),
}

#: Architectures of timm that are not supported, with arguments that make them small and what a refusal has to name.
SMALL_VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 2, "num_heads": 4, "num_classes": 7}
SMALL_SWIN = {"img_size": 32, "embed_dim": 32, "depths": (2, 2), "num_heads": (2, 4), "window_size": 4}
OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "vit_small_patch16_dinov3": (SMALL_VIT, "rope|rotary"),
    "vit_small_plus_patch16_dinov3": (SMALL_VIT, "rope|rotary|SwiGLU"),
    "eva02_tiny_patch14_224": (SMALL_VIT, "rope|rotary|SwiGLU"),
    "eva_giant_patch14_224": ({**SMALL_VIT, "mlp_ratio": 4}, "bias"),
    "vit_pe_core_tiny_patch16_384": (SMALL_VIT, "attention pooling|rope|rotary"),
    "beit_base_patch16_224": (SMALL_VIT, "relative position"),
    "beitv2_base_patch16_224": (SMALL_VIT, "relative position"),
    "beit3_base_patch16_224": (SMALL_VIT, "normalisation"),
    "vit_relpos_small_patch16_224": (SMALL_VIT, "relative position"),
    "vit_srelpos_small_patch16_224": (SMALL_VIT, "relative position"),
    "vit_small_patch16_18x2_224": (SMALL_VIT, "parallel"),
    "vit_giant_patch14_dinov2": (SMALL_VIT, "SwiGLU"),
    "aimv2_large_patch14_224": (SMALL_VIT, "SwiGLU|RMSNorm"),
    "vit_base_patch16_siglip_224": (SMALL_VIT, "attention pooling"),
    "vit_base_r50_s16_224": ({"embed_dim": 128, "depth": 2, "num_heads": 4, "num_classes": 7}, "backbone|convolution"),
    "samvit_base_patch16": ({**SMALL_VIT, "global_attn_indexes": (1,)}, "relative position"),
    "swinv2_tiny_window8_256": (SMALL_SWIN, "Swin V2|cosine"),
    "swinv2_cr_tiny_ns_224": (SMALL_SWIN, ""),
    "hiera_tiny_224": ({"embed_dim": 32, "stages": (1, 1, 1, 1)}, ""),
    "cait_xxs24_224": ({"depth": 2}, ""),
    "xcit_nano_12_p16_224": ({"depth": 2}, ""),
    "mixer_s32_224": ({}, ""),
    "levit_128s": ({}, ""),
    "pvt_v2_b0": ({}, ""),
    "mobilevit_xxs": ({}, ""),
    "resnet18": ({}, ""),
    "convnext_atto": ({}, ""),
}


def cases() -> Iterator[Case]:
    """Files with a state_dict, what is beside it in files and folders, modules, what is not supported."""
    for name, (changes, said) in VITS.items():
        yield _case("timm file", f"timm ViT, {name}", lambda f, c=changes, s=said: _pth(f, timm_vit(**c), **s))
    for name, changes in {
        "plain": {},
        "features": {"num_classes": 0},
        "three stages": {"depths": (2, 2, 2), "num_heads": (2, 2, 4)},
        "windows of each stage": {"window_size": 8, "img_size": 64},
    }.items():
        yield _case("timm file", f"timm Swin, {name}", lambda f, c=changes: _pth(f, timm_swin(**c)))
    yield _case("timm file", "timm DeiT with distillation token", lambda f: _pth(f, _distilled()))
    yield _case("timm file", "timm --img-size 64, resampled", _resampled, expect=EITHER, words="resiz|position table")
    for name, save in SAVES.items():
        expect, words = (EITHER, "pickle") if "pickle.dump" in name else ("accept", "")
        yield _case("timm file", f"timm ViT, {name}", lambda f, s=save: _saved(f, s), expect=expect, words=words)
    for name, make in FOLDERS.items():
        yield _case("timm folder", f"timm folder, {name}", make, doubt=BESIDE)
    yield from _folders_refused()
    for name, make in TRAINED.items():
        yield _case(
            "timm train.py", f"train.py, {name}", make, words=r"\bema\b|_ema\b|averaged" if "EMA" in name else ""
        )
    yield from _modules()
    for name, (changes, words) in OTHERS.items():
        make = partial(_other, name=name, changes=changes)
        yield _case("timm, other architectures", f"timm {name}", make, expect=EITHER, words=words)


def _case(kind: str, name: str, make: Callable[[Path], Made], **more: Any) -> Case:
    return Case(name, kind, make, needs=TIMM, **more)


def _pth(folder: Path, network: Any, **options: Any) -> Made:
    torch.save(network.state_dict(), folder / "model.pth")
    return of_timm(folder / "model.pth", network, **options)


def _distilled() -> Any:
    from timm.models.deit import VisionTransformerDistilled

    settings = {key: value for key, value in SMALL_VIT.items() if key != "patch_size"}
    network = randomise(VisionTransformerDistilled(patch_size=8, **settings))
    network.set_distilled_training(False)
    return network


def _resampled(folder: Path) -> Made:
    """The checkpoint at another size: timm's own filter resamples the position table."""
    from timm.models.vision_transformer import checkpoint_filter_fn

    network, larger = timm_vit(), timm_vit(img_size=64)
    larger.load_state_dict(checkpoint_filter_fn(network.state_dict(), larger))
    torch.save(network.state_dict(), folder / "model.pth")
    return of_timm(folder / "model.pth", larger, img_size=64)


def _safetensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def _saved(folder: Path, save: Callable[[Any, Path], Path | None]) -> Made:
    network = timm_vit()
    path = save(network, folder / "model.pth") or folder / "model.pth"
    return of_timm(path, network)


def _of_type(dtype: torch.dtype) -> Callable[[Any, Path], None]:
    """A file of that type; the network is rounded to it, so that both are the same."""

    def save(network: Any, path: Path) -> None:
        torch.save(network.to(dtype).state_dict(), path)
        network.float()

    return save


def _as_safetensors(network: Any, path: Path) -> Path:
    _safetensors(tensors_of(network), path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


def _any_suffix(network: Any, path: Path) -> Path:
    torch.save(network.state_dict(), path.with_suffix(".weights"))
    return path.with_suffix(".weights")


SAVES: dict[str, Callable[[Any, Path], Path | None]] = {
    "safetensors": _as_safetensors,
    "a suffix of its own": _any_suffix,
    "torch.save before 1.6": lambda n, path: torch.save(n.state_dict(), path, _use_new_zipfile_serialization=False),
    "parameters, not tensors": lambda n, path: torch.save(dict(n.named_parameters()), path),
    "a plain dict": lambda n, path: torch.save(tensors_of(n), path),
    "pickle protocol 4": lambda n, path: torch.save(n.state_dict(), path, pickle_protocol=4),
    "float16": _of_type(torch.float16),
    "bfloat16": _of_type(torch.bfloat16),
    "float64": _of_type(torch.float64),
    "transposed memory": lambda n, path: torch.save(
        {name: t.mT.contiguous().mT if t.ndim == 2 else t for name, t in tensors_of(n).items()}, path
    ),
    "an OrderedDict of another order": lambda n, path: torch.save(
        OrderedDict(sorted(n.state_dict().items(), reverse=True)), path
    ),
    "pickle.dump of tensors": lambda n, path: path.write_bytes(pickle.dumps(tensors_of(n))) and None,
}


def _created(name: str, folder: Path, args: dict[str, Any], safe: bool = True, **config: Any) -> Made:
    """A folder as timm writes it for the hub, of a network with arguments of its own and another normalisation."""
    import timm
    from timm.data import create_transform, resolve_data_config
    from timm.models import save_for_hf

    network = randomise(timm.create_model(name, **args))
    network.pretrained_cfg = {**network.pretrained_cfg, "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3), **config}
    network.pretrained_cfg |= {
        "input_size": (3, args["img_size"], args["img_size"]),
        "num_classes": network.num_classes,
    }
    save_for_hf(network, folder, model_config=dict(network.pretrained_cfg), model_args=args, safe_serialization=safe)
    prepare = create_transform(**resolve_data_config({}, model=network))
    return Made(folder, forward(network), args["img_size"], prepare=prepare)


_ARGS = {key: value for key, value in SMALL_VIT.items() if key != "patch_size"}
_ARGS["img_size"] = 64
_SWIN_ARGS = {"img_size": 64, "embed_dim": 32, "depths": [2, 2], "num_heads": [2, 4], "window_size": 8}
FOLDERS: dict[str, Callable[[Path], Made]] = {
    "ViT": partial(_created, "vit_tiny_patch16_224", args=_ARGS),
    "ViT, crop_mode squash": partial(_created, "vit_tiny_patch16_224", args=_ARGS, crop_mode="squash"),
    "ViT, crop_pct 1 and bilinear": partial(
        _created, "vit_tiny_patch16_224", args=_ARGS, crop_pct=1.0, interpolation="bilinear"
    ),
    "ViT, mean of tokens without fc_norm": partial(
        _created, "vit_tiny_patch16_224", args={**_ARGS, "global_pool": "avg", "fc_norm": False}
    ),
    "CLIP with GELU": partial(_created, "vit_base_patch16_clip_224", args=_ARGS),
    "CLIP with quick_gelu": partial(_created, "vit_base_patch16_clip_quickgelu_224", args=_ARGS),
    "SigLIP gap, gelu_tanh": partial(_created, "vit_so400m_patch16_siglip_gap_256", args={**_ARGS, "mlp_ratio": 4}),
    "DINOv2 with registers": partial(_created, "vit_small_patch14_reg4_dinov2", args={**_ARGS, "img_size": 56}),
    "DeiT III": partial(_created, "deit3_small_patch16_224", args=_ARGS),
    "DeiT distilled": partial(_created, "deit_tiny_distilled_patch16_224", args=_ARGS),
    "Swin": partial(_created, "swin_tiny_patch4_window7_224", args=_SWIN_ARGS),
}


def _file_in_folder(folder: Path) -> Made:
    made = _created("vit_tiny_patch16_224", folder, _ARGS)
    return Made(folder / "model.safetensors", made.reference, made.size, prepare=made.prepare)


FOLDERS["ViT, the file in it"] = _file_in_folder
FOLDERS["ViT, pytorch_model.bin alone"] = partial(_created, "vit_tiny_patch16_224", args=_ARGS, safe=False)


def _folders_refused() -> Iterator[Case]:
    """Architectures and options that only config.json tells from supported ones."""
    for name, arch, changes, words in (
        ("rope_ape", "vit_small_patch16_rope_ape_224", {}, "rope|rotary"),
        ("res-post-norm", "vit_base_patch16_rpn_224", {}, "res-post-norm|rpn|after each branch"),
        ("PE without attention pooling", "vit_pe_core_small_patch16_384", {"global_pool": "token"}, "rope|rotary"),
        ("pooling by max", "vit_tiny_patch16_224", {"global_pool": "max"}, "pool"),
        ("ReLU", "vit_tiny_patch16_224", {"act_layer": "relu"}, "relu|activation"),
    ):
        make = partial(_created_or_refused, name=arch, changes=changes)
        yield _case("timm folder", f"timm folder, {name}", make, expect="refuse", words=words)


def _created_or_refused(folder: Path, name: str, changes: dict[str, Any]) -> Made:
    import timm
    from timm.models import save_for_hf

    args = {**_ARGS, **changes}
    network = randomise(timm.create_model(name, **args))
    config = {**network.pretrained_cfg, "num_classes": network.num_classes}
    save_for_hf(network, folder, model_config=config, model_args=args, safe_serialization=True)
    return Made(folder, forward(network), args["img_size"])


def _trained(
    folder: Path, *, ema: bool = False, name: str = "vit_tiny_patch16_224", model_kwargs: bool = True, **changes: Any
) -> Made:
    """A checkpoint of timm's train.py, with optimiser and arguments; `ema` adds averaged weights, which are others."""
    import timm

    given = {**_ARGS, **changes}
    network = randomise(timm.create_model(name, **given))
    averaged = randomise(timm.create_model(name, **given), seed=1)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.zeros(1, 3, 64, 64)).sum().backward()
    optimizer.step()
    content = {
        "epoch": 3,
        "arch": name,
        "state_dict": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "version": 2,
        "args": argparse.Namespace(
            model=name, model_kwargs=given if model_kwargs else {}, lr=1e-3, mean=(0.4, 0.5, 0.6), std=None
        ),
        "amp_scaler": {"scale": 65536.0, "growth_factor": 2.0},
        "metric": 71.2,
    }
    if ema:
        content["state_dict_ema"] = averaged.state_dict()
    torch.save(content, folder / "model_best.pth.tar")
    return of_timm(folder / "model_best.pth.tar", averaged if ema else network)


TRAINED: dict[str, Callable[[Path], Made]] = {
    "raw weights": _trained,
    "EMA beside raw weights": partial(_trained, ema=True),
    "quick_gelu in args": partial(_trained, name="vit_base_patch16_clip_quickgelu_224"),
    "fc_norm": partial(_trained, global_pool="avg"),
}


def _modules() -> Iterator[Case]:
    """Objects for `ivit_onnx.export`."""
    for name, changes in {
        "plain": {},
        "mean without fc_norm": {"global_pool": "avg", "fc_norm": False},
        "quick_gelu": {"act_layer": "quick_gelu"},
        "features": {"num_classes": 0},
        "images that are not square": {"img_size": (32, 128)},
    }.items():
        yield _case("modules", f"module of timm, {name}", lambda f, c=changes: _module(timm_vit(**c)))
    yield _case("modules", "module of timm, Swin", lambda f: _module(timm_swin()))
    yield _case("modules", "module of timm, DeiT distilled", lambda f: _module(_distilled()))
    yield _case("modules", "state_dict of timm", lambda f: _object(timm_vit()))
    yield _case("modules", "module of timm in DataParallel", lambda f: _module(timm_vit(), torch.nn.DataParallel))
    yield _case("modules", "module of timm in torch.compile", lambda f: _module(timm_vit(), torch.compile))
    for name, changes, words in (
        ("pooling by max", {"global_pool": "max"}, "pool"),
        ("pooling by avgmax", {"global_pool": "avgmax"}, "pool"),
        ("pooling with prefix tokens", {"global_pool": "avg", "pool_include_prefix": True}, "pool"),
        ("ReLU", {"act_layer": "relu"}, "relu|activation"),
    ):
        make = lambda f, c=changes: _module(timm_vit(**c))  # noqa: E731
        yield _case("modules", f"module of timm, {name}", make, expect="refuse", words=words)
    for name, words in (
        ("vit_small_patch16_rope_ape_224", "rope|rotary"),
        ("vit_base_patch16_rpn_224", "after each branch"),
    ):
        make = partial(_other_module, name=name)
        yield _case("modules", f"module of timm, {name}", make, expect="refuse", words=words)
    yield _case("modules", "open file of torch.save", _open_file, expect=EITHER, words="path|file")
    yield _case("modules", "an integer", lambda f: Made(7), expect="refuse", words="int")
    yield _case("modules", "a Linear", lambda f: Made(torch.nn.Linear(3, 4)), expect="refuse")


def _module(network: Any, wrap: Callable[[Any], Any] = lambda network: network) -> Made:
    made = of_timm(wrap(network), network, num_heads=None, img_size=None)
    return Made(made.checkpoint, made.reference, made.size)


def _object(network: Any) -> Made:
    return of_timm(tensors_of(network), network)


def _other_module(folder: Path, name: str) -> Made:
    import timm

    network = randomise(timm.create_model(name, **_ARGS))
    return Made(network, forward(network), 64)


def _open_file(folder: Path) -> Made:
    made = _pth(folder, timm_vit())
    return Made((folder / "model.pth").open("rb"), made.reference, made.size, made.options)


def _other(folder: Path, name: str, changes: dict[str, Any]) -> Made:
    import timm

    network = randomise(timm.create_model(name, **changes))
    torch.save(network.state_dict(), folder / "model.pth")
    heads = {"num_heads": 4} if changes.get("num_heads") == 4 else {}
    return Made(folder / "model.pth", forward(network), changes.get("img_size", 224), heads)
