"""open_clip, and OpenAI's CLIP, whose image encoder has the same names: towers, checkpoints, archives, hub folders."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from case import Case, Expect, Made
from sources import Tensors, forward, randomise, tensors_of

EITHER: Expect = "accept or refuse, never wrong"
TEXT = {"context_length": 12, "vocab_size": 99, "width": 64, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "layers": 2, "width": 128, "head_width": 64, "patch_size": 8}
TIMM = {"timm_model_name": "vit_tiny_patch16_224", "timm_model_pretrained": False, "timm_pool": "token"}
TIMM |= {"timm_proj": "linear", "image_size": 224}
NEEDS = ("open_clip",)


def _clip(quick_gelu: bool = False, **vision: Any) -> Any:
    import open_clip

    return randomise(open_clip.CLIP(48, {**VISION, **vision}, TEXT, quick_gelu=quick_gelu))


def _timm_tower(pool: str = "token", proj: str | None = "linear", name: str = "vit_tiny_patch16_224") -> Any:
    import open_clip

    vision = {**TIMM, "timm_model_name": name, "timm_pool": pool, "timm_proj": proj}
    return randomise(open_clip.CustomTextCLIP(48 if proj else 192, vision, TEXT))


def _coca() -> Any:
    import open_clip

    decoder = {**TEXT, "mlp_ratio": 2}
    return randomise(open_clip.CoCa(48, {**TEXT, "embed_cls": True}, decoder, {**VISION, "attentional_pool": True}))


def _bare(folder: Path, network: Any) -> None:
    torch.save(network.state_dict(), folder / "open_clip_pytorch_model.bin")


def _visual_alone(folder: Path, network: Any) -> None:
    torch.save(network.visual.state_dict(), folder / "visual.pt")


def _training(folder: Path, network: Any) -> None:
    tensors = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters()).state_dict()
    content = {"epoch": 3, "name": "2026_11_30-model_ViT-B-32", "state_dict": tensors, "optimizer": optimizer}
    torch.save({**content, "scaler": {"scale": 65536.0}}, folder / "epoch_3.pt")


def _hub(folder: Path, network: Any, quick_gelu: bool = False) -> None:
    """The folder that open_clip pushes to the hub; its configuration tells the activation and the normalisation."""
    from safetensors.torch import save_file

    save_file(tensors_of(network), folder / "open_clip_model.safetensors")
    model = {"embed_dim": 48, "vision_cfg": VISION, "text_cfg": TEXT, "quick_gelu": quick_gelu}
    preprocess = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3], "interpolation": "bicubic"}
    config = {"model_cfg": model, "preprocess_cfg": {**preprocess, "resize_mode": "shortest"}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))


def _openai(tensors: Tensors, dtype: torch.dtype = torch.float32) -> Tensors:
    """The state_dict of OpenAI's CLIP: that of open_clip, and three numbers."""
    numbers = {"input_resolution": 32, "context_length": 12, "vocab_size": 99}
    numbers = {name: torch.tensor(number) for name, number in numbers.items()}
    return {**{name: tensor.to(dtype) for name, tensor in tensors.items()}, **numbers}


class Archived(torch.nn.Module):
    """What OpenAI's archives hold: a program, with the state_dict as its parameters."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.visual = network.visual
        self.transformer = network.transformer
        self.token_embedding = network.token_embedding
        self.ln_final = network.ln_final
        self.positional_embedding = network.positional_embedding
        self.text_projection = network.text_projection
        self.logit_scale = network.logit_scale
        for name, number in {"input_resolution": 32, "context_length": 12, "vocab_size": 99}.items():
            self.register_buffer(name, torch.tensor(number))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.visual(images)


def _archive(folder: Path, network: Any) -> None:
    torch.jit.trace(Archived(network), torch.zeros(1, 3, 32, 32), check_trace=False).save(str(folder / "ViT-B-32.pt"))


#: How a network is saved, and whether the file lies in a folder that is the checkpoint.
FORMS: dict[str, tuple[Callable[[Path, Any], None], bool]] = {
    "state_dict": (_bare, False),
    "image encoder alone": (_visual_alone, False),
    "training checkpoint": (_training, False),
    "hub folder": (_hub, True),
}


def cases() -> Iterator[Case]:
    """CLIP of open_clip and of OpenAI in every form, towers of timm, and what is not supported."""
    for form, (save, told) in FORMS.items():
        for act, changes in {"gelu": {}, "quick_gelu": {"quick_gelu": True}}.items():
            written = partial(_hub, quick_gelu=act == "quick_gelu") if told else save
            options = {} if told else {"num_heads": 2, "act": act}
            yield _case(f"{act}, {form}", _made(partial(_clip, **changes), written, told, options))
    heads = {"num_heads": 4, "act": "gelu"}
    yield _case("32 channels a head", _made(partial(_clip, head_width=32), _bare, False, heads))
    yield _case("hub folder, 32 channels a head", _made(partial(_clip, head_width=32), _hub32, True, {}))
    for form, tensors in {"": torch.float32, ", float16": torch.float16}.items():
        yield _case(f"OpenAI's state_dict{form}", partial(_openai_file, dtype=tensors), kind="OpenAI CLIP")
    told = {"num_heads": 2, "act": "quick_gelu"}
    archive = _made(partial(_clip, quick_gelu=True), _archive, False, told)
    yield _case("OpenAI's archive", archive, kind="OpenAI CLIP")
    archive = _made(partial(_clip, quick_gelu=True), _archive, False, {})
    yield _case("OpenAI's archive without options", archive, kind="OpenAI CLIP")
    tower = _made(_timm_tower, _bare, False, {"num_heads": 3, "act": "gelu"}, 224)
    yield _case("tower of timm", tower, needs=("open_clip", "timm"))
    tower = _made(partial(_timm_tower, "avg"), _bare, False, {"num_heads": 3, "act": "gelu"}, 224)
    yield _case("tower of timm, mean of tokens", tower, EITHER, "pool", needs=("open_clip", "timm"))
    siglip = partial(_timm_tower, "map", None, "vit_base_patch16_siglip_224")
    tower = _made(siglip, _bare, False, {"num_heads": 12}, 224)
    yield _case("SigLIP", tower, EITHER, "attention pooling|MAP", needs=("open_clip", "timm"))
    pooled = partial(_clip, pool_type="avg")
    yield _case("pooling by mean", _made(pooled, _bare, False, told), EITHER, "pool")
    pooled = partial(_clip, attentional_pool=True)
    yield _case("attention pooling", _made(pooled, _bare, False, told), EITHER, "attention|attn_pool")
    dropped = partial(_clip, final_ln_after_pool=True, pool_type="avg")
    yield _case("normalisation after pooling", _made(dropped, _bare, False, told), EITHER, "pool")
    scaled = partial(_clip, ls_init_value=0.5)
    yield _case("LayerScale", _made(scaled, _bare, False, {"num_heads": 2, "act": "gelu"}), EITHER, "LayerScale|ls_1")
    resnet = partial(_clip, layers=[1, 1, 1, 1], width=16, image_size=64)
    yield _case("ResNet", _made(resnet, _bare, False, {}), "refuse", "ResNet|convolution")
    yield _case("CoCa", _made(_coca, _bare, False, told), EITHER, "attn_pool|attention pooling|CoCa")


def _case(name: str, make: Callable[[Path], Made], expect: Expect = "accept", words: str = "", **more: Any) -> Case:
    return Case(f"CLIP {name}", make=make, expect=expect, words=words, **{"kind": "open_clip", "needs": NEEDS, **more})


def _made(
    build: Callable[[], Any],
    save: Callable[[Path, Any], None],
    told: bool,
    options: dict[str, Any],
    size: int = 32,
) -> Callable[[Path], Made]:
    """A function that makes the checkpoint; `told` if its folder is the checkpoint."""
    return partial(_write, build, save, told, options, size)


def _write(
    build: Callable[[], Any],
    save: Callable[[Path, Any], None],
    told: bool,
    options: dict[str, Any],
    size: int,
    folder: Path,
) -> Made:
    network = build()
    save(folder, network)

    def features(visual: Any, images: torch.Tensor) -> torch.Tensor:
        found = visual(images)
        return found[0] if isinstance(found, tuple) else found

    return Made(folder if told else next(folder.iterdir()), forward(network.visual, features), size, options)


def _hub32(folder: Path, network: Any) -> None:
    _hub(folder, network)
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"]["head_width"] = 32
    (folder / "open_clip_config.json").write_text(json.dumps(config))


def _openai_file(folder: Path, dtype: torch.dtype) -> Made:
    network = _clip(quick_gelu=True).to(dtype)
    torch.save(_openai(tensors_of(network), dtype), folder / "ViT-B-32.pt")
    network.float()
    return Made(folder / "ViT-B-32.pt", forward(network.visual), options={"num_heads": 2, "act": "quick_gelu"})
