"""What a layout consists of, and the steps that layouts share: renaming, leaving out, joining q, k and v."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ivit_onnx.checkpoints.facts import Facts
from ivit_onnx.checkpoints.tensors import Tensors, check_dense, shape_of
from ivit_onnx.errors import CheckpointError

__all__ = [
    "Converted",
    "Layout",
    "Rule",
    "count_of",
    "join_qkv",
    "lead_with_ones",
    "leave_out",
    "refuse_features",
    "rename",
]

#: A pattern for the whole name of a tensor, and its new name: a template for `re.Match.expand`, or a function.
Rule = tuple[str, str | Callable[[re.Match[str]], str]]


@dataclass(frozen=True)
class Converted:
    """Tensors under timm's names, and what the layout and its configuration tell besides.

    `notes`: sentences about what was left out.
    """

    tensors: dict[str, torch.Tensor]
    facts: Facts = field(default_factory=Facts)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """One way to name the tensors of a network.

    `title` names it in messages. `anchor`: a pattern for the name of one tensor that every network of this layout has,
    once, from the outermost part that belongs to the network. `convert` gives tensors timm's names; it takes them
    without what stands before the anchor, and the `config.json` beside them, {} where there is none. `model_types` are
    those that such a `config.json` of Hugging Face transformers may have.
    """

    title: str
    anchor: str
    convert: Callable[[Tensors, Mapping[str, Any]], Converted]
    model_types: tuple[str, ...] = ()


def rename(tensors: Tensors, rules: Sequence[Rule]) -> dict[str, torch.Tensor]:
    """Tensors by the names that `rules` give, the first one that fits.

    A tensor without a rule keeps its name: no family has it, so that it is refused and never dropped in silence. Raises
    CheckpointError where two tensors get one name.
    """
    compiled = [(re.compile(pattern), new) for pattern, new in rules]
    renamed: dict[str, torch.Tensor] = {}
    origin: dict[str, str] = {}
    for name, tensor in tensors.items():
        fits = ((match, new) for pattern, new in compiled if (match := pattern.fullmatch(name)) is not None)
        match, template = next(fits, (None, name))
        new = name if match is None else template(match) if callable(template) else match.expand(template)
        if new in renamed:
            raise CheckpointError(
                f"{origin[new]} and {name} are the same tensor in two spellings; expected one of them"
            )
        renamed[new], origin[new] = tensor, name
    return renamed


def leave_out(tensors: Tensors, parts: Mapping[str, str]) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """The tensors that no pattern of `parts` finds, and a note for each part, which the pattern stands for."""
    kept, notes = dict(tensors), []
    for pattern, part in parts.items():
        names = [name for name in kept if re.search(pattern, name)]
        for name in names:
            del kept[name]
        if names:
            notes.append(f"left out {part} ({count_of(names)})")
    return kept, tuple(notes)


def refuse_features(tensors: Tensors, features: Mapping[str, str]) -> None:
    """Raise CheckpointError where a tensor's name tells of a feature, by pattern, that is not supported."""
    for pattern, feature in features.items():
        for name in tensors:
            if re.search(pattern, name):
                raise CheckpointError(f"not supported yet: {feature}; found tensor {name}")


def join_qkv(tensors: Tensors) -> dict[str, torch.Tensor]:
    """`*.attn.q`, `*.attn.k` and `*.attn.v`, one after the other, as `*.attn.qkv`.

    Of biases, one that is missing is zero. Raises CheckpointError where a matrix is missing, or shapes differ.
    """
    joined: dict[str, torch.Tensor] = {}
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        match = re.fullmatch(r"(.*\.attn)\.([qkv])\.(weight|bias)", name)
        if match is None:
            joined[name] = tensor
            continue
        check_dense(name, tensor)
        target = f"{match[1]}.qkv.{match[3]}"
        parts.setdefault(target, {})[match[2]] = tensor
        # Reserves the place, so that the order of tensors stays.
        joined[target] = tensor
    for target, found in parts.items():
        like = next(iter(found.values()))
        missing = [part for part in "qkv" if part not in found]
        if missing and target.endswith(".weight"):
            raise CheckpointError(f"{target}: expected matrices q, k and v, found {' and '.join(found)}")
        if len({tensor.shape for tensor in found.values()}) > 1 or like.ndim == 0:
            shapes = ", ".join(f"{part} {list(tensor.shape)}" for part, tensor in found.items())
            raise CheckpointError(
                f"not supported yet: queries, keys and values of different widths ({target}: {shapes})"
            )
        joined[target] = torch.cat([found.get(part, torch.zeros_like(like)) for part in "qkv"])
    return joined


def lead_with_ones(tensors: dict[str, torch.Tensor], name: str, rank: int) -> None:
    """Give a tensor of `rank` axes further ones of length 1 in front, until it has three: [1, tokens, width].

    Raises CheckpointError when it is missing or of another rank.
    """
    shape = shape_of(tensors, name, rank)
    tensors[name] = tensors[name].reshape((1,) * (3 - rank) + shape)


def count_of(names: Sequence[str]) -> str:
    """How many tensors these are, in words."""
    return "1 tensor" if len(names) == 1 else f"{len(names)} tensors"
