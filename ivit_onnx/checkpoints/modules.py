"""Modules of PyTorch: given as objects, pickled as a whole, or in a TorchScript archive. Tensors by their names.

A pickled module is an `Inert`, whose state says all that `state_dict()` would: no class of it is imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from ivit_onnx.checkpoints.inert import Global, Inert, entries
from ivit_onnx.errors import CheckpointError

__all__ = ["children", "class_name", "is_module", "look", "module_tensors", "script_tensors"]

#: Modules in modules in a file: more than any network has.
_MOST_NESTED = 64


def is_module(value: Any) -> bool:
    """Whether this is a module, or the remains of one that was pickled."""
    if isinstance(value, Inert):
        state = entries(value)
        return isinstance(state.get("_modules"), dict) and isinstance(state.get("_parameters"), dict)
    return isinstance(value, nn.Module)


def class_name(value: Any) -> str:
    """The class of a value with its module: "timm.models.vision_transformer.Block"; the name of a function as it is."""
    if isinstance(value, Inert):
        return value.name
    if isinstance(value, Global):
        return value.name
    if callable(value) and not isinstance(value, nn.Module):
        return str(getattr(value, "__name__", type(value).__name__))
    return f"{type(value).__module__}.{type(value).__qualname__}"


def children(module: Any) -> Iterator[tuple[str, Any]]:
    """The modules that are parts of a module, by name."""
    found = entries(module)["_modules"] if isinstance(module, Inert) else module._modules
    yield from ((str(name), child) for name, child in found.items() if is_module(child))


def look(module: Any, path: str) -> Any:
    """What stands under a path of attributes, such as "blocks.0.attn.num_heads"; None where there is nothing."""
    value = module
    for part in path.split("."):
        if isinstance(value, Inert):
            state = entries(value)
            parts = [state.get(where) for where in ("_modules", "_parameters", "_buffers")]
            value = next((own[part] for own in parts if isinstance(own, dict) and part in own), state.get(part))
        elif isinstance(value, nn.Module) and part in value._modules:
            value = value._modules[part]
        else:
            try:
                value = getattr(value, part, None)
            except Exception:  # a property of a foreign class
                return None
        if value is None:
            return None
    return value


def module_tensors(module: Any) -> dict[str, torch.Tensor]:
    """The tensors of a module by the names of its state_dict.

    Raises CheckpointError where they are not all that the module computes with: parametrizations, the meta device.
    """
    if isinstance(module, Inert):
        return dict(_pickled(module, "", _MOST_NESTED))
    name = class_name(module).rpartition(".")[2]
    if any(parametrize.is_parametrized(part) for part in module.modules()):
        raise CheckpointError(
            f"the module {name} computes weights from others (parametrizations): remove them first with "
            "torch.nn.utils.parametrize.remove_parametrizations"
        )
    try:
        found = dict(module.state_dict())
    except Exception as error:  # a foreign class
        raise CheckpointError(f"the module {name} has no state_dict ({' '.join(str(error).split())[:200]})") from None
    meta = next((key for key, value in found.items() if isinstance(value, torch.Tensor) and value.is_meta), None)
    if meta is not None:
        raise CheckpointError(f"the module {name} is on the meta device: {meta} has no values; load its weights first")
    return {
        key: value.detach().cpu() if isinstance(value, torch.Tensor) else value
        for key, value in found.items()
        if not key.endswith("_extra_state")
    }


def _pickled(module: Inert, prefix: str, depth: int) -> Iterator[tuple[str, torch.Tensor]]:
    """What `state_dict()` would give: parameters, buffers that are saved, then parts."""
    state = entries(module)
    if depth == 0:
        raise CheckpointError(f"the pickled module {module.name} has itself as a part")
    if state.get("_state_dict_hooks"):
        raise CheckpointError(f"the pickled module {module.name} renames its tensors by code, which is not run")
    buffers = state.get("_buffers")
    transient = state.get("_non_persistent_buffers_set")
    tensors = dict(state["_parameters"])
    for name, value in (buffers if isinstance(buffers, dict) else {}).items():
        if not isinstance(transient, list | set) or name not in transient:
            tensors[name] = value
    yield from ((f"{prefix}{name}", value) for name, value in tensors.items() if isinstance(value, torch.Tensor))
    for name, child in children(module):
        yield from _pickled(child, f"{prefix}{name}.", depth - 1)


def script_tensors(module: Any, prefix: str = "", depth: int = _MOST_NESTED) -> dict[str, torch.Tensor]:
    """The tensors of a module in a TorchScript archive, whose attributes are its tensors and its parts."""
    if not isinstance(module, Inert) or depth == 0:
        raise CheckpointError("a TorchScript archive without a module, or with one that has itself as a part")
    found: dict[str, torch.Tensor] = {}
    for name, value in entries(module).items():
        if isinstance(value, torch.Tensor):
            found[f"{prefix}{name}"] = value
        elif isinstance(value, Inert):
            found |= script_tensors(value, f"{prefix}{name}.", depth - 1)
    return found
