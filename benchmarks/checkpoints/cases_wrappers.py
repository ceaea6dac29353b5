"""What training code puts around weights: prefixes, keys, averages, other networks, and plain data beside tensors."""

from __future__ import annotations

import argparse
import collections
import datetime
import enum
import pickle
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PosixPath
from typing import Any

import numpy as np
import torch
from case import Case, Expect, Made
from sources import Tensors, of_timm, renamed, tensors_of, timm_swin, timm_vit

EITHER: Expect = "accept or refuse, never wrong"
TIMM = ("timm",)

PREFIXES = (
    "module.",
    "_orig_mod.",
    "module._orig_mod.",
    "_orig_mod.module.",
    "_fsdp_wrapped_module.",
    "model.",
    "model.model.",
    "model._orig_mod.",
    "net.",
    "network.",
    "backbone.",
    "encoder.",
    "vit.",
    "trunk.",
    "student.",
    "visual.",
    "visual.trunk.",
    "timm_model.",
    "ema_model.",
    "ema_model.module.",
    "base_encoder.",
    "feature_extractor.",
    "pretrained.",
    "0.",
    "0.model.",
    "a_name_of_my_own.",
)

#: Keys, outermost first, under which the weights lie.
KEYS = (
    ("state_dict",),
    ("model",),
    ("model_state_dict",),
    ("model_state",),
    ("model_weights",),
    ("net",),
    ("network",),
    ("weights",),
    ("params",),
    ("params_ema",),
    ("ema",),
    ("ema_state_dict",),
    ("model_ema",),
    ("state_dict_ema",),
    ("teacher",),
    ("student",),
    ("target_encoder",),
    ("encoder",),
    ("backbone",),
    ("module",),
    ("model", "state_dict"),
    ("state_dict", "model"),
    ("checkpoint", "model", "state_dict"),
    ("a_name_of_my_own",),
)


class Kind(enum.Enum):
    """Something that only its author can unpickle."""

    BEST = 1


class Settings:
    """The same, as an object."""

    def __init__(self) -> None:
        self.rate = 0.1


def _omegaconf() -> Any:
    import omegaconf

    return omegaconf.OmegaConf.create({"model": {"name": "vit", "depth": 2}, "list": [1, 2]})


def _yacs() -> Any:
    import yacs.config

    return yacs.config.CfgNode({"MODEL": {"TYPE": "swin"}})


#: Plain data that lies beside the weights, and the packages that make it.
BESIDE: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "numbers and strings": (lambda: {"acc": 0.5, "epoch": 3, "name": "vit", "done": True, "none": None}, ()),
    "argparse.Namespace": (lambda: argparse.Namespace(lr=0.1, output=None), ()),
    "numpy scalar": (lambda: np.float64(71.2), ()),
    "numpy array": (lambda: np.arange(3), ()),
    "pathlib.Path": (lambda: argparse.Namespace(output=PosixPath("out")), ()),
    "defaultdict": (lambda: collections.defaultdict(list, loss=[0.1]), ()),
    "Counter": (lambda: collections.Counter(a=1), ()),
    "datetime": (lambda: datetime.datetime(2026, 11, 30), ()),
    "OmegaConf": (_omegaconf, ("omegaconf",)),
    "yacs CfgNode": (_yacs, ("yacs",)),
    "set": (lambda: {1, 2}, ()),
    "torch.Size and dtype": (lambda: (torch.Size([2, 3]), torch.float16), ()),
    "enumeration of a script": (lambda: Kind.BEST, ()),
    "object of a script": (Settings, ()),
    "random states": (lambda: {"torch": torch.get_rng_state(), "numpy": np.random.RandomState(0).get_state()}, ()),
    "optimizer": (lambda: torch.optim.AdamW(torch.nn.Linear(2, 2).parameters()).state_dict(), ()),
    "names of classes": (lambda: {"classes": ["cat", "dog"], "idx_to_class": {0: "cat", 1: "dog"}}, ()),
}


def cases() -> Iterator[Case]:
    """Prefixes and keys for a ViT and a Swin, frameworks, plain data, several networks in one file."""
    for prefix in PREFIXES:
        for family, build in {"ViT": timm_vit, "Swin": timm_swin}.items():
            make = partial(_made, build=build, wrap=partial(_prefixed, prefix=prefix))
            yield Case(f"{family} with prefix {prefix}", "prefixes", make, needs=TIMM)
    for keys in KEYS:
        make = partial(_made, build=timm_vit, wrap=partial(_nested, keys=keys))
        yield Case(f"weights under {' / '.join(keys)}", "keys", make, needs=TIMM)
    for name, (value, needs) in BESIDE.items():
        make = partial(_beside, value=value)
        yield Case(f"{name} beside the weights", "plain data", make, needs=(*TIMM, *needs))
    for name, wrap in FRAMEWORKS.items():
        make = partial(_made, build=timm_vit, wrap=wrap)
        expect: Expect = EITHER if name in OPEN else "accept"
        yield Case(name, "frameworks", make, expect, OPEN.get(name, ""), needs=TIMM)
    yield Case("Lightning, Trainer's .ckpt", "frameworks", _lightning, needs=(*TIMM, "pytorch_lightning"))
    metric = partial(_lightning, metric=True)
    yield Case(
        "Lightning, .ckpt with a metric", "frameworks", metric, needs=(*TIMM, "pytorch_lightning", "torchmetrics")
    )
    yield Case("AveragedModel", "frameworks", _averaged, needs=TIMM)
    for name, (make, expect, words) in SEVERAL.items():
        yield Case(name, "several networks", make, expect, words, needs=TIMM)


def _prefixed(tensors: Tensors, prefix: str) -> Tensors:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def _nested(tensors: Tensors, keys: tuple[str, ...]) -> Any:
    content: Any = tensors
    for key in reversed(keys):
        content = {"epoch": 3, key: content}
    return content


def _made(folder: Path, build: Callable[[], Any], wrap: Callable[[Tensors], Any]) -> Made:
    network = build()
    torch.save(wrap(tensors_of(network)), folder / "checkpoint.pth")
    return of_timm(folder / "checkpoint.pth", network)


def _beside(folder: Path, value: Callable[[], Any]) -> Made:
    network = timm_vit()
    torch.save({"state_dict": tensors_of(network), "extra": value()}, folder / "checkpoint.pth")
    return of_timm(folder / "checkpoint.pth", network)


def _lightning_content(tensors: Tensors) -> dict[str, Any]:
    return {
        "epoch": 3,
        "global_step": 300,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": _prefixed(tensors, "model."),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"current": {"ready": 3}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'loss'}": {"best_model_score": torch.tensor(0.1)}},
        "optimizer_states": [{"state": {}, "param_groups": []}],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {"lr": 1e-3, "model_name": "vit_tiny_patch16_224"},
    }


def _beside_tensors(tensors: Tensors) -> Any:
    others = {"criterion.weight": torch.ones(7), "acc.tp": torch.zeros(7, dtype=torch.int64)}
    return {"state_dict": _prefixed(tensors, "model.") | others}


#: What frameworks write around a state_dict, without their packages.
FRAMEWORKS: dict[str, Callable[[Tensors], Any]] = {
    "Lightning, by hand": _lightning_content,
    "Lightning, criterion and metric beside model.": _beside_tensors,
    "DeepSpeed": lambda t: {
        "module": _prefixed(t, "module."),
        "optimizer": None,
        "ds_version": "0.17.0",
        "ds_config": {"zero_optimization": {"stage": 1}},
        "mp_world_size": 1,
        "param_shapes": [collections.OrderedDict((name, tensor.shape) for name, tensor in t.items())],
    },
    "fastai": lambda t: {"model": _prefixed(t, "0.model."), "opt": {"state": [], "hypers": []}},
    "mmengine": lambda t: {"meta": {"epoch": 3, "seed": 0}, "state_dict": _prefixed(t, "backbone."), "message_hub": {}},
    "ema-pytorch": lambda t: (
        _prefixed(t, "ema_model.")
        | _prefixed({name: tensor + 1 for name, tensor in t.items()}, "online_model.")
        | {"initted": torch.tensor(True), "step": torch.tensor(100)}
    ),
    "SWA beside raw": lambda t: {
        "model": {name: tensor + 1 for name, tensor in t.items()},
        "model_ema": {"n_averaged": torch.tensor(5), **_prefixed(t, "module.")},
    },
    "Ignite": lambda t: {"model": t, "optimizer": {"state": {}}, "trainer": {"iteration": 100, "epoch_length": 10}},
    "Composer": lambda t: {"state": {"model": _prefixed(t, "module."), "timestamp": {"epoch": 3}}, "rng": []},
    "VISSL": lambda t: {"classy_state_dict": {"base_model": {"model": {"trunk": t, "heads": {}}}}},
    "solo-learn": lambda t: {"state_dict": _prefixed(t, "backbone.") | {"classifier.weight": torch.ones(7, 128)}},
    "lightly": lambda t: {
        "state_dict": _prefixed(t, "student_backbone.")
        | _prefixed({name: tensor + 1 for name, tensor in t.items()}, "teacher_backbone.")
    },
}
#: These have two networks, or keys that only their framework has: a refusal that names them is right as well.
OPEN = {
    "ema-pytorch": "ema_model|online_model",
    "solo-learn": "classifier",
    "lightly": "student_backbone|teacher_backbone",
    "VISSL": "classy_state_dict",
    "Composer": "state",
}


def _lightning(folder: Path, metric: bool = False) -> Made:
    """A checkpoint that a Trainer of Lightning writes after a step."""
    import logging

    import pytorch_lightning as pl

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    network = timm_vit()

    class Module(pl.LightningModule):
        def __init__(self, lr: float = 0.0) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.model = network
            self.criterion = torch.nn.CrossEntropyLoss(weight=torch.ones(7))
            if metric:
                import torchmetrics

                self.accuracy = torchmetrics.ConfusionMatrix("multiclass", num_classes=7)
                self.accuracy.persistent(True)

        def training_step(self, batch: Any, index: int) -> Any:
            return self.criterion(self.model(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.0)

    data = torch.utils.data.TensorDataset(torch.zeros(2, 3, 32, 32), torch.zeros(2, dtype=torch.long))
    trainer = pl.Trainer(
        max_steps=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(Module(), torch.utils.data.DataLoader(data, batch_size=2))
    trainer.save_checkpoint(folder / "last.ckpt")
    network.eval()
    return of_timm(folder / "last.ckpt", network)


def _averaged(folder: Path) -> Made:
    network = timm_vit()
    torch.save(torch.optim.swa_utils.AveragedModel(network).state_dict(), folder / "checkpoint.pth")
    return of_timm(folder / "checkpoint.pth", network)


# -- several networks in one file


def _several(folder: Path, content: Callable[[Tensors, Tensors], Any], **options: Any) -> Made:
    network = timm_vit()
    torch.save(content(tensors_of(network), tensors_of(timm_vit(seed=1))), folder / "checkpoint.pth")
    return of_timm(folder / "checkpoint.pth", network, **options)


def _two_towers(one: Tensors, other: Tensors) -> Tensors:
    return _prefixed(one, "image.") | _prefixed(other, "sketch.")


def _adapted(one: Tensors, other: Tensors) -> Tensors:
    """LoRA of loralib or peft that was not merged: ignoring the small matrices would be another network."""
    names = [name for name in one if name.endswith("qkv.weight")]
    small = {f"{name.removesuffix('weight')}lora_A": torch.randn(4, 128) for name in names}
    return one | small | {f"{name.removesuffix('weight')}lora_B": torch.randn(384, 4) for name in names}


def _of_peft(one: Tensors, other: Tensors) -> Tensors:
    base = renamed(one, {r"\.qkv\.": ".qkv.base_layer.", r"^": "base_model.model."})
    small = {f"base_model.model.blocks.{i}.attn.qkv.lora_A.default.weight": torch.randn(4, 128) for i in range(2)}
    small |= {f"base_model.model.blocks.{i}.attn.qkv.lora_B.default.weight": torch.randn(384, 4) for i in range(2)}
    return base | small


def _normed(one: Tensors, other: Tensors) -> Tensors:
    """Weight normalisation: the weights of a layer are in two tensors."""
    weight = one["head.weight"]
    others = {name: tensor for name, tensor in one.items() if name != "head.weight"}
    length = weight.norm(dim=1, keepdim=True)
    return {
        **others,
        "head.parametrizations.weight.original0": length,
        "head.parametrizations.weight.original1": weight,
    }


def _pruned(one: Tensors, other: Tensors) -> Tensors:
    weight = one["blocks.0.mlp.fc1.weight"]
    others = {name: tensor for name, tensor in one.items() if name != "blocks.0.mlp.fc1.weight"}
    mask = (weight > 0).float()
    return {**others, "blocks.0.mlp.fc1.weight_orig": weight, "blocks.0.mlp.fc1.weight_mask": mask}


def _pickled(folder: Path) -> Made:
    """The state_dict by pickle, of numpy arrays."""
    network = timm_vit()
    arrays = {name: tensor.numpy() for name, tensor in tensors_of(network).items()}
    (folder / "weights.pkl").write_bytes(pickle.dumps(arrays))
    return of_timm(folder / "weights.pkl", network)


def _arrays(folder: Path) -> Made:
    """torch.save of numpy arrays."""
    network = timm_vit()
    torch.save({name: tensor.numpy() for name, tensor in tensors_of(network).items()}, folder / "weights.pth")
    return of_timm(folder / "weights.pth", network)


SEVERAL: dict[str, tuple[Callable[[Path], Made], Expect, str]] = {
    "student and teacher": (
        partial(_several, content=lambda one, other: {"student": other, "teacher": one}),
        EITHER,
        "teacher|student",
    ),
    "state_dict and params_ema": (
        partial(_several, content=lambda one, other: {"params": other, "params_ema": one}),
        EITHER,
        "params_ema",
    ),
    "two towers of the same shapes": (partial(_several, content=_two_towers), EITHER, "image|sketch|several|two"),
    "generator and discriminator": (
        partial(_several, content=lambda one, other: {"generator": other, "discriminator": one}),
        EITHER,
        "generator|discriminator|several",
    ),
    "a list of two state_dicts": (
        partial(_several, content=lambda one, other: [other, one]),
        "refuse",
        "list",
    ),
    "LoRA, not merged": (partial(_several, content=_adapted), "refuse", "LoRA|lora_"),
    "LoRA of peft, not merged": (partial(_several, content=_of_peft), "refuse", "LoRA|lora_"),
    "weight normalisation": (partial(_several, content=_normed), EITHER, "parametri"),
    "pruning, not made permanent": (partial(_several, content=_pruned), "refuse", "weight_mask|weight_orig|prun"),
    "head of another name": (
        partial(_several, content=lambda one, other: renamed(one, {r"^head\.": "classifier."})),
        EITHER,
        "classifier",
    ),
    "a second head": (
        partial(_several, content=lambda one, other: {**one, "aux_head.weight": torch.ones(3, 128)}),
        EITHER,
        "aux_head",
    ),
    "an embedding of time": (
        partial(_several, content=lambda one, other: {**one, "time_embed.weight": torch.ones(3, 128)}),
        "refuse",
        "time_embed",
    ),
    "numpy arrays by pickle": (_pickled, EITHER, "not a tensor"),
    "numpy arrays by torch.save": (_arrays, EITHER, "ndarray|numpy"),
}
