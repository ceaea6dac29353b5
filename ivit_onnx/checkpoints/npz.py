"""Arrays of NumPy by name, as the JAX code of ViT (augreg, big_vision) publishes weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

import numpy as np
import torch

from ivit_onnx.arrays import open_npz
from ivit_onnx.errors import CheckpointError

__all__ = ["is_npz", "read_npz"]

#: Where big_vision keeps the weights and its optimizer.
_PARAMETERS, _OPTIMIZER = "params.", "opt."


def is_npz(names: Iterable[str]) -> bool:
    """Whether a zip archive with these names holds arrays of NumPy."""
    listed = list(names)
    return bool(listed) and all(name.endswith(".npy") for name in listed)


def read_npz(file: BinaryIO) -> dict[str, torch.Tensor]:
    """The tensors by name, parts joined with "." ("Transformer.encoderblock_0.LayerNorm_0.scale").

    Raises CheckpointError for arrays of other types than numbers, and whatever a damaged file leads to.
    """
    arrays = open_npz(file)
    tensors = {name.replace("/", "."): _tensor(name, arrays[name]) for name in arrays}
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(_OPTIMIZER)}
    return {name.removeprefix(_PARAMETERS): tensor for name, tensor in tensors.items()}


def _tensor(name: str, array: np.ndarray) -> torch.Tensor:  # type: ignore[type-arg]
    if array.dtype == np.dtype("V2"):  # how NumPy stores bfloat16, which it does not know
        return torch.from_numpy(array.view(np.uint16).copy()).view(torch.bfloat16)
    if array.dtype.kind not in "fiub":
        raise CheckpointError(f"array {name} is of type {array.dtype}, expected numbers")
    return torch.from_numpy(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="))).reshape(array.shape))
