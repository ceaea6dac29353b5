"""timm: files whose tensors do not tell the network, so that a reader has to be told, to refuse, or to warn.

Each case is a network with the tensor names and shapes of another one.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from case import Case, Made
from sources import forward, of_timm, randomise, timm_swin, timm_vit

EITHER = "accept or refuse, never wrong"

#: By name: arguments of VisionTransformer, options, what a warning has to name.
VITS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "mean without fc_norm": ({"global_pool": "avg", "fc_norm": False}, {}, "pool"),
    "pooling by max": ({"global_pool": "max"}, {}, "pool"),
    "pooling by max, without class token": ({"global_pool": "max", "class_token": False}, {}, "pool"),
    "pooling by avgmax": ({"global_pool": "avgmax"}, {}, "pool"),
    "pooling with prefix tokens": (
        {"global_pool": "avg", "pool_include_prefix": True, "reg_tokens": 2},
        {},
        "pool",
    ),
    "ReLU": ({"act_layer": "relu"}, {}, "activation"),
    "SiLU": ({"act_layer": "silu"}, {}, "activation"),
    "quick_gelu without --act": ({"act_layer": "quick_gelu"}, {}, "activation"),
    "gelu_tanh without --act": ({"act_layer": "gelu_tanh"}, {}, "activation"),
    "heads of 32 channels without --num-heads": ({}, {"num_heads": None}, "heads"),
    "heads of 128 channels without --num-heads": ({"num_heads": 1}, {"num_heads": None}, "heads"),
    "images of 16 x 64": ({"img_size": (16, 64)}, {}, "square"),
    "images of 24 x 40, 15 patches and a class token": ({"img_size": (24, 40)}, {}, "img-size"),
    "images of 32 x 64": ({"img_size": (32, 64)}, {}, "square"),
    "eps of 0.1": ({"norm_layer": partial(torch.nn.LayerNorm, eps=0.1)}, {}, "eps|epsilon"),
}

#: Architectures with the tensors of another one, by what a warning or a refusal has to name.
SAME_NAMES: dict[str, tuple[dict[str, Any], str]] = {
    "vit_small_patch16_rope_ape_224": ({}, "rope|rotary|img-size"),
    "vit_base_patch16_rpn_224": ({}, "res-post-norm|rpn|after each branch|pre-norm"),
    "vit_pe_core_small_patch16_384": ({"global_pool": "token"}, "rope|rotary"),
    "vit_pe_core_small_patch16_384 ": ({"global_pool": ""}, "rope|rotary|pool"),
}
SMALL = {"img_size": 64, "embed_dim": 128, "depth": 2, "num_heads": 4, "num_classes": 7}

#: Architectures whose published weights are normalised otherwise than those of others with their shapes.
NORMALISED = ("vit_tiny_patch16_224", "deit_tiny_patch16_224")


def cases() -> Iterator[Case]:
    """What neither names nor shapes tell, and with it what an option, a key or a name tells."""
    for name, (changes, options, words) in VITS.items():
        make = partial(_vit, changes=changes, options=options)
        yield _case(f"untold: {name}", make, words=words)
    for name, (changes, words) in SAME_NAMES.items():
        make = partial(_created, name=name.strip(), changes=changes)
        yield _case(f"untold: {name.strip()}{', no pooling' if name.endswith(' ') else ''}", make, words=words)
        if not name.endswith(" "):
            make = partial(_train_args, name=name, changes=changes)
            yield _case(f"told by args: {name}", make, expect="refuse", words=words)
    yield _case("untold: vit_small_patch16_rope_ape_224, its own size", _rope_ape, words="rope|rotary")
    yield _case(
        "told by arch: vit_small_patch16_rope_ape_224, its own size",
        partial(_rope_ape, told=True),
        expect="refuse",
        words="rope|rotary",
    )
    yield _case(
        "told by --arch: vit_small_patch16_rope_ape_224, its own size",
        partial(_rope_ape, arch="vit_small_patch16_rope_ape_224"),
        expect="refuse",
        words="rope|rotary",
    )
    for name in NORMALISED:
        yield _case(f"untold: normalisation of {name}", partial(_normalised, name=name), words="normali")
        make = partial(_normalised, name=name, told=True)
        yield _case(f"told by --arch: normalisation of {name}", make, expect="accept")
    make = partial(_normalised, name="vit_tiny_patch16_224", bare_name=True)
    yield _case("told by arch: normalisation of vit_tiny_patch16_224", make, expect="accept")
    yield _case("untold: Swin on images of 32 x 64", _swin_rectangle, words="size|square")
    yield _case("untold: Swin without --img-size", _swin_unsized, words="size")
    for name in ("swinv2_tiny_window8_256", "samvit_base_patch16", "vit_pe_core_tiny_patch16_384", "hiera_tiny_224"):
        make = partial(_named, name=name)
        yield _case(
            f"told by --arch: {name}", make, expect="refuse", words=f"not supported.*{name}|{name}.*not supported"
        )


def _case(name: str, make: Any, expect: Any = EITHER, **more: Any) -> Case:
    return Case(name, "timm, untold by tensors", make, expect, needs=("timm",), **more)


def _vit(folder: Path, changes: dict[str, Any], options: dict[str, Any]) -> Made:
    network = timm_vit(**changes)
    torch.save(network.state_dict(), folder / "model.pth")
    return of_timm(folder / "model.pth", network, **options)


def _created(folder: Path, name: str, changes: dict[str, Any]) -> Made:
    import timm

    network = randomise(timm.create_model(name, **{**SMALL, **changes}))
    torch.save(network.state_dict(), folder / "model.pth")
    features = forward(network, lambda n, x: n.forward_head(n.forward_features(x)[:, 0]))
    reference = features if changes.get("global_pool") == "" else forward(network)
    return Made(folder / "model.pth", reference, 64, {"num_heads": 4})


def _train_args(folder: Path, name: str, changes: dict[str, Any]) -> Made:
    """As timm's train.py saves it: the architecture and its arguments beside the weights."""
    made = _created(folder, name, changes)
    told = {"arch": name, "args": argparse.Namespace(model=name, model_kwargs={**SMALL, **changes})}
    torch.save({**told, "state_dict": torch.load(made.checkpoint)}, made.checkpoint)
    return made


def _rope_ape(folder: Path, *, told: bool = False, **options: Any) -> Made:
    import timm

    name = "vit_small_patch16_rope_ape_224"
    network = randomise(timm.create_model(name))
    tensors = network.state_dict()
    torch.save({"arch": name, "state_dict": tensors} if told else tensors, folder / "model.pth")
    return Made(folder / "model.pth", forward(network), 224, options)


def _normalised(folder: Path, name: str, *, told: bool = False, bare_name: bool = False) -> Made:
    import timm
    from timm.data import create_transform, resolve_data_config

    network = randomise(timm.create_model(name))
    tensors = network.state_dict()
    torch.save({"arch": name, "state_dict": tensors} if bare_name else tensors, folder / "model.pth")
    prepare = create_transform(**resolve_data_config({}, model=network))
    return Made(folder / "model.pth", forward(network), 224, {"arch": name} if told else {}, prepare)


def _swin_rectangle(folder: Path) -> Made:
    network = timm_swin(img_size=(32, 64))
    torch.save(network.state_dict(), folder / "model.pth")
    return of_timm(folder / "model.pth", network, img_size=None)


def _swin_unsized(folder: Path) -> Made:
    network = timm_swin()
    torch.save(network.state_dict(), folder / "model.pth")
    return of_timm(folder / "model.pth", network, img_size=None)


def _named(folder: Path, name: str) -> Made:
    network = timm_vit()
    torch.save(network.state_dict(), folder / "model.pth")
    return Made(folder / "model.pth", options={"arch": name})
