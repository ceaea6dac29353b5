"""torchvision: its VisionTransformer and SwinTransformer, as files of its references and as modules."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from case import Case, Expect, Made
from sources import forward, randomise, tensors_of

EITHER: Expect = "accept or refuse, never wrong"


def _vit(**changes: Any) -> Any:
    from torchvision.models.vision_transformer import VisionTransformer

    settings = {"image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 4, "hidden_dim": 128}
    return randomise(VisionTransformer(**{**settings, "mlp_dim": 256, "num_classes": 7, **changes}))


def _swin(version: int = 1, **changes: Any) -> Any:
    from torchvision.models import swin_transformer as swin

    settings: dict[str, Any] = {"patch_size": [4, 4], "embed_dim": 32, "depths": [2, 2], "num_heads": [2, 4]}
    if version == 2:
        settings |= {"block": swin.SwinTransformerBlockV2, "downsample_layer": swin.PatchMergingV2}
    return randomise(swin.SwinTransformer(**{**settings, "window_size": [4, 4], "num_classes": 7, **changes}))


def _represented() -> Any:
    """With the representation layer of the paper before the head."""
    return _vit(representation_size=64)


def _headless() -> Any:
    network = _vit()
    network.heads = torch.nn.Identity()
    return network


#: By name: the network, the options of a file, what is expected and what a refusal has to name.
NETWORKS: dict[str, tuple[Callable[[], Any], dict[str, Any], Expect, str]] = {
    "vit_b_16, small": (_vit, {"num_heads": 4}, "accept", ""),
    "vit_b_16 without heads": (_headless, {"num_heads": 4}, "accept", ""),
    "vit_b_16 with a representation layer": (_represented, {"num_heads": 4}, EITHER, "pre_logits|representation"),
    "swin_t, small": (_swin, {"img_size": 32}, "accept", ""),
    "swin_v2_t, small": (partial(_swin, 2), {"img_size": 32}, EITHER, "Swin V2|cosine"),
}


def cases() -> Iterator[Case]:
    """Every network as a state_dict, in a checkpoint of torchvision's references, and as a module."""
    for name, (build, options, expect, words) in NETWORKS.items():
        for form in ("state_dict", "checkpoint of references", "module", "pickled module"):
            make = partial(_made, build=build, form=form, options=options)
            yield Case(f"torchvision {name}, {form}", "torchvision", make, expect, words, needs=("torchvision",))
    yield Case("torchvision resnet18", "torchvision", _resnet, "refuse", needs=("torchvision",))
    yield Case("torchvision resnet18, module", "torchvision", _resnet_module, "refuse", needs=("torchvision",))


def _made(folder: Path, build: Callable[[], Any], form: str, options: dict[str, Any]) -> Made:
    network, path = build(), folder / "model.pth"
    if form == "module":
        return Made(network, forward(network), options={key: options[key] for key in options if key == "img_size"})
    if form == "state_dict":
        torch.save(network.state_dict(), path)
    elif form == "pickled module":
        torch.save(network, path)
    else:
        optimizer = torch.optim.SGD(network.parameters(), 0.1).state_dict()
        averaged = {"n_averaged": torch.tensor(5)} | {f"module.{n}": t for n, t in tensors_of(network).items()}
        args = argparse.Namespace(model="vit_b_16", lr=0.1)
        content = {"model": network.state_dict(), "optimizer": optimizer, "epoch": 1, "args": args}
        torch.save({**content, "model_ema": averaged}, path)
    return Made(path, forward(network), options=options)


def _resnet(folder: Path) -> Made:
    import torchvision

    torch.save(torchvision.models.resnet18().state_dict(), folder / "resnet18.pth")
    return Made(folder / "resnet18.pth")


def _resnet_module(folder: Path) -> Made:
    import torchvision

    return Made(torchvision.models.resnet18())
