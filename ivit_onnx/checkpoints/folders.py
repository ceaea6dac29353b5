"""Folders of a model, as Hugging Face, timm and open_clip save them: the file of weights, and what is beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ivit_onnx.checkpoints.configs import CONFIGS, Configured, read_configs
from ivit_onnx.errors import CheckpointError

__all__ = ["INDEX", "configs_beside", "part_of", "weights_in"]

#: The end of the names of files that say which tensor is in which part.
INDEX = ".index.json"
#: Files of weights that a library writes, preferred first.
_NAMES = (
    "model.safetensors",
    f"model.safetensors{INDEX}",
    "pytorch_model.bin",
    f"pytorch_model.bin{INDEX}",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)
_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".tar", ".npz")
_PART = re.compile(r"(?P<name>.+)-\d{5}-of-(?P<count>\d{5})(?P<suffix>\.\w+)")
_MOST_SHOWN = 3


@dataclass(frozen=True)
class _Refused:
    """A folder that is read by another program. `marks`: patterns, all of which are among its files."""

    marks: tuple[str, ...]
    sentence: str


_REFUSED = (
    _Refused((r"saved_model\.pb",), "is a SavedModel of TensorFlow: give a PyTorch checkpoint of the same network"),
    _Refused(
        (r"zero_to_fp32\.py|zero_pp_rank_.*|mp_rank_\d+_model_states\.pt",),
        "is a checkpoint of DeepSpeed in parts: join them with `python zero_to_fp32.py . joined` there, give joined",
    ),
    _Refused(
        (r"\.metadata", r".*\.distcp"),
        "is a distributed checkpoint of PyTorch: join it with "
        "`python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER joined.pt`, give joined.pt",
    ),
    _Refused((r"adapter_config\.json",), "holds an adapter (LoRA), not a network: merge it first (merge_and_unload)"),
    _Refused(
        (r"(tf_model\.h5|flax_model\.msgpack|.*\.onnx|.*\.mlmodel)",),
        "has no weights of PyTorch: give the folder of the model it was made from",
    ),
)


def weights_in(folder: Path) -> Path:
    """The file of weights, or of the index of its parts, in a folder.

    Raises CheckpointError where there is none or more than one, and for folders of other programs.
    """
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise CheckpointError(f"cannot read the folder {folder}: {error.strerror}") from None
    known = next((name for name in _NAMES if name in names), None)
    if known is not None:
        return folder / known
    weights = [name for name in names if name.endswith(_SUFFIXES) and name not in CONFIGS]
    for refused in _REFUSED:
        alone = not weights or refused is not _REFUSED[-1]
        if alone and all(any(re.fullmatch(mark, name) for name in names) for mark in refused.marks):
            raise CheckpointError(f"{folder} {refused.sentence}")
    weights = [name for name in weights if _PART.fullmatch(name) is None] or weights
    if len(weights) == 1:
        return folder / weights[0]
    if weights:
        raise CheckpointError(
            f"{folder} is a folder with {len(weights)} files of weights ({_shown(weights)}): give one of them"
        )
    found = f"found {_shown(names)}" if names else "it is empty"
    raise CheckpointError(
        f"{folder} is a folder without weights: expected model.safetensors, pytorch_model.bin or one checkpoint file; "
        f"{found}"
    )


def configs_beside(path: Path) -> tuple[Configured, list[str]]:
    """What the configuration beside a file of weights says, and a note about what was read or not.

    It is read where the file has the name that libraries give to weights, or is the only one in its folder: then
    the configuration is of this file. A note says so, or that it was not read.
    """
    folder = path.parent
    present = [name for name in CONFIGS if (folder / name).is_file()]
    if not present:
        return Configured(), []
    others = [entry.name for entry in folder.iterdir() if entry.name.endswith(_SUFFIXES) and entry.name != path.name]
    belongs = path.name in _NAMES or re.fullmatch(r"(open_clip_)?(pytorch_)?model[\w.-]*\.(safetensors|bin)", path.name)
    if not (belongs or not others or _PART.fullmatch(path.name)):
        return Configured(), [
            f"did not read {present[0]} beside the file: {len(others)} other files of weights are there too"
        ]
    found = read_configs(folder)
    return found, [f"read {' and '.join(found.read)} beside the weights"]


def part_of(path: Path) -> str | None:
    """The name of the index of a file that is one part of several; None for a whole one."""
    match = _PART.fullmatch(path.name)
    if match is None or int(match["count"]) < 2:
        return None
    return f"{match['name']}{match['suffix']}{INDEX}"


def _shown(names: list[str]) -> str:
    return ", ".join(names[:_MOST_SHOWN]) + (", ..." if len(names) > _MOST_SHOWN else "")
