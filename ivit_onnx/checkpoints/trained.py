"""Checkpoints that `ivit-train` writes: weights under timm's names, and all that the integers depend on besides.

A safetensors file, so that nothing is unpickled. Its metadata holds JSON by key:

* `format`: `ivit-onnx-qat 1`; `version`: that of ivit-onnx;
* `arch`, `preprocess`, `softmax_bits`, `nonlinear`: as in the metadata of an exported model;
* `quantization`: the quantisation state of the twin, every scale and every n by name;
* `fingerprint`: that of the tensors, to find damage.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ivit_onnx._version import __version__
from ivit_onnx.architectures import Architecture, Preprocess, architecture_from_json
from ivit_onnx.checkpoints.files import File
from ivit_onnx.checkpoints.tensors import StateDict, checkpoint_fingerprint
from ivit_onnx.errors import CheckpointError, IvitError
from ivit_onnx.files import atomic_write, parse_json
from ivit_onnx.options.choices import SOFTMAX_BITS, Nonlinear
from ivit_onnx.quant.tables import nonlinear_named
from ivit_onnx.safetensors_header import header_length

__all__ = ["Trained", "read_trained", "write_trained"]

_FORMAT = "ivit-onnx-qat"
_VERSION = 1


@dataclass(frozen=True)
class Trained:
    """What a quantisation-aware training decided besides the weights. `state`: see `Twin.quantization_state`."""

    arch: Architecture
    preprocess: Preprocess
    softmax_bits: int
    nonlinear: Nonlinear
    state: dict[str, Any]


def write_trained(path: str | os.PathLike[str], weights: Mapping[str, Tensor], trained: Trained) -> None:
    """Write a checkpoint, atomically, replacing an older one. `weights` have timm's names.

    Raises ExportError when the file cannot be written.
    """
    from safetensors.torch import save

    whole = torch.contiguous_format
    tensors = {name: tensor.detach().cpu().clone(memory_format=whole) for name, tensor in weights.items()}
    metadata = {
        "format": f"{_FORMAT} {_VERSION}",
        "version": __version__,
        "arch": json.dumps(trained.arch.to_json()),
        "preprocess": json.dumps(trained.preprocess.to_json()),
        "softmax_bits": str(trained.softmax_bits),
        "nonlinear": trained.nonlinear,
        "quantization": json.dumps(trained.state),
        "fingerprint": checkpoint_fingerprint(tensors),
    }
    with atomic_write(path, force=True) as temporary:
        Path(temporary).write_bytes(save(tensors, metadata))


def read_trained(file: File, tensors: StateDict) -> Trained | None:
    """What the metadata of a checkpoint file says; None for a file that `ivit-train` did not write.

    Raises CheckpointError when it is of another version or damaged. `tensors` are those of the file.
    """
    metadata = _metadata(file)
    name, _, version = metadata.get("format", "").partition(" ")
    if name != _FORMAT:
        return None
    if version != str(_VERSION):
        raise CheckpointError(
            f"{file.title} is a checkpoint of ivit-train in format {version}, expected {_VERSION}; "
            f"ivit-onnx {metadata.get('version', 'of another version')} wrote it"
        )
    try:
        found = Trained(
            arch=architecture_from_json(parse_json(metadata["arch"])),
            preprocess=Preprocess.from_json(parse_json(metadata["preprocess"])),
            softmax_bits=_softmax_bits(metadata["softmax_bits"]),
            nonlinear=nonlinear_named(metadata.get("nonlinear", "ivit")),
            state=dict(parse_json(metadata["quantization"])),
        )
        fingerprint = metadata["fingerprint"]
        if found.preprocess.size != found.arch.image_size:
            raise ValueError(f"images of {found.preprocess.size} pixels for a network of {found.arch.image_size}")
    except (KeyError, TypeError, ValueError, IvitError) as error:
        raise CheckpointError(f"{file.title}: damaged metadata of a checkpoint of ivit-train ({error})") from None
    if checkpoint_fingerprint(tensors) != fingerprint:
        raise CheckpointError(f"{file.title} is damaged: its tensors are not those that ivit-train wrote (fingerprint)")
    return found


def _softmax_bits(text: str) -> int:
    if text not in map(str, SOFTMAX_BITS):
        raise ValueError(f"softmax_bits: expected one of {', '.join(map(str, SOFTMAX_BITS))}, found {text}")
    return int(text)


def _metadata(file: File) -> dict[str, str]:
    """The metadata of a safetensors file that has been read; {} for a file of another kind."""
    with file.open() as opened:
        try:
            header = parse_json(opened.read(header_length(opened)))
        except ValueError:
            return {}
    found = header.get("__metadata__") if isinstance(header, dict) else None
    return found if isinstance(found, dict) else {}
