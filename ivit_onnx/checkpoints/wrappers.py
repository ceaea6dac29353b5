"""Where in the object of a file the weights are: under which keys, and whether averaged or last ones.

Training scripts put a state_dict, or a whole module, into dictionaries with their state. Averages of the weights over
the training are kept beside the last ones; they are what is published and used.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ivit_onnx.checkpoints.beside import OPTIONS
from ivit_onnx.checkpoints.inert import Inert
from ivit_onnx.checkpoints.modules import is_module
from ivit_onnx.checkpoints.source import Choice
from ivit_onnx.errors import CheckpointError

__all__ = ["AVERAGED", "RAW", "Weights", "find_weights"]

#: Keys of averaged weights, preferred first. The teacher of DINO and the target encoder of I-JEPA are averages.
AVERAGED: tuple[str, ...] = (
    "state_dict_ema",
    "model_ema",
    "model_state_dict_ema",
    "params_ema",
    "ema_state_dict",
    "ema_model",
    "ema",
)
AVERAGED += ("teacher", "target_encoder")
#: Keys of the last weights.
RAW = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "module", "student", "encoder")
#: Beginnings of keys of training state, which has tensors too.
_TRAINING = ("optim", "opt", "sched", "lr_", "scaler", "amp", "loss", "criterion", "callback", "loop", "rng", "metric")
_MOST_LEVELS = 3
_MOST_SHOWN = 5


@dataclass(frozen=True)
class Weights:
    """What was found: a mapping of names to tensors or a module, the key it is under, "" at the top.

    `levels`: the mappings on the way, in which options may stand. `averaged`: whether a key said so.
    """

    found: Any
    key: str
    levels: tuple[Mapping[Any, Any], ...]
    averaged: bool = False
    notes: tuple[str, ...] = field(default=())


def find_weights(content: Any, choice: Choice, title: str) -> Weights:
    """Find the weights in the object of a file. Raises CheckpointError where there are none, or no one choice."""
    if choice.key:
        return _follow(content, choice.key, title)
    levels: list[Mapping[Any, Any]] = []
    keys: list[str] = []
    notes: list[str] = []
    averaged = False
    while not is_module(content) and len(keys) < _MOST_LEVELS:
        mapping = _mapping(content)
        levels.append(mapping)
        key, note, average = _next_key(mapping, choice, title)
        if not key:
            break
        notes += note
        averaged |= average
        keys.append(key)
        content = mapping[key]
    if not (is_module(content) or _holds_tensors(content)):
        return _only_one(content, levels, keys, title)
    return Weights(content, ".".join(keys), tuple(levels), averaged, tuple(notes))


def _next_key(mapping: Mapping[Any, Any], choice: Choice, title: str) -> tuple[str, list[str], bool]:
    """The key under which the weights are, "" for none, a note where others are there, and whether it says averaged."""
    found = [key for key in (*AVERAGED, *RAW) if _leads(mapping.get(key))]
    averages, last = ([key for key in found if key in kind] for kind in (AVERAGED, RAW))
    if choice.weights == "raw" and averages and not last:
        raise CheckpointError(
            f"{title}: expected last weights beside the averaged ones under {averages[0]!r}, found none; "
            "leave out --weights raw"
        )
    if averages and (choice.weights != "raw" or not last):
        note = f"took the averaged weights under {averages[0]!r}"
        if last:
            note += f"; the last ones, under {last[0]!r}, are taken with --weights raw"
        return averages[0], [note], True
    if not last:
        return "", [], False
    others = [*averages, *last[1:]]
    note = f"took the weights under {last[0]!r}, not those under {', '.join(map(repr, others))}"
    return last[0], [note] if others else [], False


def _follow(content: Any, key: str, title: str) -> Weights:
    """What is under the key that was asked for; keys may have dots themselves."""
    levels: list[Mapping[Any, Any]] = []
    node, rest = content, key
    while rest:
        mapping = _mapping(node)
        levels.append(mapping)
        parts = rest.split(".")
        heads = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
        head = next((head for head in heads if head in mapping), None)
        if head is None:
            raise CheckpointError(f"{title} has nothing under --key {key}; {_candidates(content)}")
        node, rest = mapping[head], rest[len(head) + 1 :]
    if not (is_module(node) or _holds_tensors(node)):
        raise CheckpointError(
            f"{title}: expected tensors under --key {key}, found {_kind(node)}; {_candidates(content)}"
        )
    return Weights(node, key, tuple(levels))


def _only_one(content: Any, levels: list[Mapping[Any, Any]], keys: list[str], title: str) -> Weights:
    """The weights under a key that is not known, if they are the only ones. Raises CheckpointError otherwise."""
    candidates = dict(_search(content))
    if len(candidates) == 1:
        ((key, found),) = candidates.items()
        return Weights(found, ".".join([*keys, key]), tuple(levels), notes=(f"took the tensors under {key!r}",))
    code = _code(content)
    if not candidates and code is None:
        # What is wrong is most likely wrong where the weights should be.
        named = (key for key in (*AVERAGED, *RAW) if isinstance(_mapping(content).get(key), Mapping))
        while (inner := next(named, None)) is not None:
            keys, content = [*keys, inner], content[inner]
            named = (key for key in (*AVERAGED, *RAW) if isinstance(content.get(key), Mapping))
    where = f" under {'.'.join(keys)!r}" if keys else ""
    if code is not None:
        raise CheckpointError(
            f"{title} refused because it contains code ({code}){where} where weights are expected; "
            "save the tensors alone: torch.save(model.state_dict(), path)"
        )
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{title} holds {_kind(content)}{where}, expected a state_dict (names to tensors)")
    if not content:
        raise CheckpointError(f"{title} holds an empty state_dict{where}")
    if candidates:
        raise CheckpointError(f"{title} holds several networks{where}; {_candidates(content)}")
    other = next(iter(content))
    raise CheckpointError(
        f"{title} is not a state_dict: {str(other)[:100]!r} is {_kind(content[other])}, not a tensor "
        f"(looked for weights under {', '.join(sorted(RAW))})"
    )


def _code(content: Any) -> str | None:
    """The name of what stands, not made, where weights are expected."""
    if isinstance(content, Inert):
        return content.name
    mapping = _mapping(content)
    values = (mapping[key] for key in (*AVERAGED, *RAW) if key in mapping)
    return next((value.name for value in values if isinstance(value, Inert)), None)


def _search(content: Any, level: int = 0) -> Iterator[tuple[str, Any]]:
    """Every mapping of names to tensors, and every module, by its key; no training state, no options."""
    for key, value in _mapping(content).items():
        if not isinstance(key, str) or key.startswith(_TRAINING) or key in OPTIONS:
            continue
        if is_module(value) or _holds_tensors(value):
            yield key, value
        elif level + 1 < _MOST_LEVELS:
            yield from ((f"{key}.{inner}", found) for inner, found in _search(value, level + 1))


def _candidates(content: Any) -> str:
    keys = [key for key, _ in _search(content)]
    if not keys:
        return "no tensors were found under any key"
    more = ", ..." if len(keys) > _MOST_SHOWN else ""
    return f"tensors are under {', '.join(map(repr, keys[:_MOST_SHOWN]))}{more}; pass one as --key"


def _leads(value: Any, level: int = 1) -> bool:
    """Whether weights are here, or under keys of weights from here."""
    if is_module(value) or _holds_tensors(value):
        return True
    mapping = _mapping(value)
    return level < _MOST_LEVELS and any(_leads(mapping.get(key), level + 1) for key in (*AVERAGED, *RAW))


def _holds_tensors(value: Any) -> bool:
    return any(isinstance(key, str) and isinstance(entry, torch.Tensor) for key, entry in _mapping(value).items())


def _mapping(value: Any) -> Mapping[Any, Any]:
    """What a mapping holds, or what is left of one of another class; {} for everything else."""
    if isinstance(value, Inert):
        return value.items
    return value if isinstance(value, Mapping) else {}


def _kind(value: Any) -> str:
    if isinstance(value, Inert | argparse.Namespace):
        return f"an object of {value.name if isinstance(value, Inert) else 'argparse.Namespace'}"
    return f"a {type(value).__name__}"
