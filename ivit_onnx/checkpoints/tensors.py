"""Tensors of a checkpoint: taken out of a file by name, compared with expected shapes, identified by a fingerprint."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from typing import Any

import torch

from ivit_onnx.budgets import check_expansion
from ivit_onnx.errors import CheckpointError

__all__ = [
    "StateDict",
    "Tensors",
    "check_dense",
    "check_tensors",
    "checked_names",
    "checkpoint_fingerprint",
    "shape_of",
    "to_float32",
]

StateDict = dict[str, torch.Tensor]
Tensors = Mapping[str, torch.Tensor]

FLOAT_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def checked_names(content: Mapping[Any, Any], title: str) -> StateDict:
    """The tensors of a mapping that is a state_dict. Raises CheckpointError where it holds anything else.

    Names can be printed, and no tensor has more elements than are stored.
    """
    if not content:
        raise CheckpointError(f"{title} holds an empty state_dict")
    for name, tensor in content.items():
        if not isinstance(tensor, torch.Tensor):
            kind = getattr(tensor, "name", type(tensor).__name__)
            raise CheckpointError(f"{title} is not a state_dict: {str(name)[:100]!r} is a {kind}, not a tensor")
        if not str(name).isprintable():
            raise CheckpointError(f"{title} is not a state_dict: {str(name)[:100]!r} is not the name of a tensor")
        if _repeats_elements(tensor):
            raise CheckpointError(
                f"tensor {name} has more elements than the file ({list(tensor.shape)}): it was saved from an expanded "
                "tensor; save tensor.contiguous()"
            )
    _check_shared(content.values(), title)
    return {str(name): tensor for name, tensor in content.items()}


def _check_shared(tensors: Collection[torch.Tensor], title: str) -> None:
    """Raise CheckpointError where many tensors are views of the same few bytes, which become copies."""
    dense = [tensor for tensor in tensors if tensor.layout is torch.strided and not tensor.is_meta]
    stored = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in dense}
    views = sum(tensor.numel() * tensor.element_size() for tensor in dense)
    check_expansion(sum(stored.values()), views, f"tensors of {title}", CheckpointError)


def check_tensors(
    state_dict: Mapping[str, torch.Tensor], shapes: Mapping[str, tuple[int, ...]], *, optional: str, family: str
) -> None:
    """Raise CheckpointError unless every tensor of `shapes` is there, of its shape, floating point and finite.

    Names that match `optional` may be absent. A tensor that `shapes` does not have is an error too: ignoring it would
    silently change what the network computes.
    """
    missing = [name for name in shapes if name not in state_dict and not re.search(optional, name)]
    if missing:
        raise CheckpointError(f"tensor {missing[0]} is missing{_and_more(missing)}")
    unknown = [name for name in state_dict if name not in shapes]
    if unknown:
        raise CheckpointError(f"not supported yet: tensor {unknown[0]}, which a {family} lacks{_and_more(unknown)}")
    for name, shape in shapes.items():
        if name not in state_dict:
            continue
        tensor = state_dict[name]
        if tuple(tensor.shape) != shape:
            raise CheckpointError(f"tensor {name} has shape {list(tensor.shape)}, expected {list(shape)}")
        check_dense(name, tensor)
        finite = torch.isfinite(tensor)
        if not finite.all():
            count = int((~finite).sum())
            raise CheckpointError(f"tensor {name} has {count} NaN or infinite values of {tensor.numel()}")


def check_dense(name: str, tensor: torch.Tensor) -> None:
    """Raise CheckpointError unless the tensor is floating point, with all its elements in the file."""
    if tensor.layout is not torch.strided or tensor.dtype not in FLOAT_TYPES:
        raise CheckpointError(f"tensor {name} is {_kind(tensor)}, expected dense floating point")
    if tensor.is_meta:
        raise CheckpointError(f"tensor {name} has no data (it was saved from the meta device)")


def shape_of(state_dict: Mapping[str, torch.Tensor], name: str, rank: int) -> tuple[int, ...]:
    """The shape of a tensor that must be there, of that rank and not empty."""
    if name not in state_dict:
        raise CheckpointError(f"tensor {name} is missing")
    shape = tuple(state_dict[name].shape)
    if len(shape) != rank or 0 in shape:
        raise CheckpointError(f"tensor {name} has shape {list(shape)}, expected {rank} axes, none of them empty")
    return shape


def to_float32(tensor: torch.Tensor) -> torch.Tensor:
    """A contiguous float32 copy, or the tensor itself where it is one."""
    return tensor.detach().to(torch.float32).contiguous()


def checkpoint_fingerprint(state_dict: Mapping[str, torch.Tensor]) -> str:
    """SHA-256, in hexadecimal, over the sorted names with types, shapes and bytes of the tensors."""
    digest = hashlib.sha256()
    for name in sorted(state_dict):
        tensor = state_dict[name].detach().contiguous()
        digest.update(f"{name}:{tensor.dtype}:{list(tensor.shape)};".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _repeats_elements(tensor: torch.Tensor) -> bool:
    """Whether a few bytes stand for many elements: their copies could need any amount of memory."""
    dense = tensor.layout is torch.strided and not tensor.is_meta
    return dense and tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()


def _kind(tensor: torch.Tensor) -> str:
    layout = "" if tensor.layout is torch.strided else f" ({str(tensor.layout).removeprefix('torch.')})"
    return str(tensor.dtype).removeprefix("torch.") + layout


def _and_more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
