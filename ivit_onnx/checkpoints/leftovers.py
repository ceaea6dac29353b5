"""What is in a state_dict besides the network: averages of the same weights, counters, losses and metrics."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

from ivit_onnx.checkpoints.source import Choice
from ivit_onnx.errors import CheckpointError

__all__ = ["without_leftovers"]

#: Prefixes that DistributedDataParallel and torch.compile put in front of every name.
_WRAPPING = ("module.", "_orig_mod.")
#: The counter of torch.optim.swa_utils.AveragedModel.
_AVERAGED_MODEL = "n_averaged"
#: Prefixes of averaged copies within one module.
_AVERAGES = ("ema_model.", "model_ema.", "ema.", "averaged_model.")
#: First parts of names of losses and metrics.
_METRICS = re.compile(
    r"(criterion|loss|loss_(fn|func|module)|metrics?|(train|val|valid|test)_(acc\w*|metrics?|loss\w*|f1\w*|auroc\w*))\."
)

#: Whole numbers by which a layout knows the files of OpenAI's CLIP.
_TELLING = ("context_length", "input_resolution", "vocab_size")

StateDict = dict[str, torch.Tensor]


def without_leftovers(
    tensors: Mapping[str, torch.Tensor], choice: Choice, title: str, *, averaged: bool = False
) -> tuple[StateDict, list[str]]:
    """The tensors of the network, and sentences about what was left out.

    No tensor that a network could have is left out: only whole copies of it, single whole numbers, and what is named as
    a loss or a metric. `averaged`: whether these are known to be averages. Raises CheckpointError when `choice` asks
    for averaged weights and there are none, or for the last ones where there are only averages.
    """
    found = dict(tensors)
    notes: list[str] = []
    if found.pop(_AVERAGED_MODEL, None) is not None:
        if choice.weights == "raw":
            raise CheckpointError(f"{title} holds averaged weights only ({_AVERAGED_MODEL}); leave out --weights raw")
        averaged = True
        notes.append(f"the weights are averages ({_AVERAGED_MODEL})")
    found = _unwrapped(found)
    found, chosen = _one_copy(found, choice)
    notes += chosen
    if choice.weights == "ema" and not (averaged or chosen):
        raise CheckpointError(f"{title} has no averaged weights; leave out --weights ema")
    dropped = [name for name, tensor in found.items() if _is_leftover(name, tensor)]
    if dropped and len(dropped) < len(found):
        notes.append(f"left out {_shown(dropped)}: counters, losses or metrics")
        found = {name: tensor for name, tensor in found.items() if name not in set(dropped)}
    return found, notes


def _unwrapped(tensors: StateDict) -> StateDict:
    """The tensors without a prefix that is in front of every name."""
    for prefix in _WRAPPING * 2:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _one_copy(tensors: StateDict, choice: Choice) -> tuple[StateDict, list[str]]:
    """One of two copies of the same network, the last weights and their average, and a note."""
    for average in _AVERAGES:
        copy = {name.removeprefix(average): name for name in tensors if name.startswith(average)}
        copy = {re.sub(r"^(module\.|_orig_mod\.)+", "", name): full for name, full in copy.items()}
        others = {name: tensor for name, tensor in tensors.items() if not name.startswith(average)}
        last = _last_copy(set(copy), others)
        if last is None:
            continue
        place = f"under {last!r}" if last else "without a prefix"
        if choice.weights == "raw":
            return others, [f"took the last weights, {place}, not the averaged ones under {average!r}"]
        left = {last + name for name in copy}
        kept = {name: tensor for name, tensor in tensors.items() if name not in left}
        return kept, [
            f"took the averaged weights under {average!r}; the last ones, {place}, are taken with --weights raw"
        ]
    return tensors, []


def _last_copy(copy: set[str], others: StateDict) -> str | None:
    """The prefix under which just the tensors of an averaged copy are once more; None where they are not."""
    longest = max(copy, key=len, default="")
    if "." not in longest:
        return None
    for name in others:
        prefix = name.removesuffix(longest)
        if prefix == name or (prefix and not prefix.endswith(".")):
            continue
        own = {other.removeprefix(prefix): tensor for other, tensor in others.items() if other.startswith(prefix)}
        if copy <= own.keys() and all(_is_leftover(other, own[other]) for other in own.keys() - copy):
            return prefix
    return None


def _is_leftover(name: str, tensor: torch.Tensor) -> bool:
    return (_is_counter(tensor) and name not in _TELLING) or _METRICS.match(name) is not None


def _is_counter(tensor: torch.Tensor) -> bool:
    """A single whole number, as of batches or steps: no network computes with one."""
    return tensor.ndim == 0 and not tensor.is_floating_point() and not tensor.is_complex()


def _shown(names: list[str]) -> str:
    return ", ".join(sorted(names)[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")
