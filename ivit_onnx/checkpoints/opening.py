"""From what a user gives - a file, a folder, a module, a state_dict - to a `Source`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from torch import nn

from ivit_onnx.checkpoints.beside import facts_beside
from ivit_onnx.checkpoints.facts import Facts
from ivit_onnx.checkpoints.files import File, read_content
from ivit_onnx.checkpoints.folders import INDEX, configs_beside, part_of, weights_in
from ivit_onnx.checkpoints.leftovers import without_leftovers
from ivit_onnx.checkpoints.missing import how_to_get
from ivit_onnx.checkpoints.module_facts import config_of_module, facts_of_module, notes_of_module
from ivit_onnx.checkpoints.modules import class_name, is_module, module_tensors
from ivit_onnx.checkpoints.shards import read_shards
from ivit_onnx.checkpoints.source import Choice, Source
from ivit_onnx.checkpoints.tensors import StateDict, checked_names
from ivit_onnx.checkpoints.trained import read_trained
from ivit_onnx.checkpoints.wrappers import find_weights
from ivit_onnx.errors import CheckpointError

__all__ = ["Given", "load_state_dict", "open_source", "title_of"]

#: What stands for a checkpoint: a path, a file open for reading bytes, a state_dict or what holds one, a module.
Given = str | os.PathLike[str] | IO[bytes] | Mapping[str, Any] | nn.Module


def open_source(given: Given, choice: Choice) -> Source:
    """Read what is given. Raises CheckpointError when it is missing, damaged, unsafe or of a kind that is not read."""
    title = title_of(given)
    if isinstance(given, nn.Module | Mapping):
        return _from_content(given, title, choice)
    if isinstance(given, str | os.PathLike):
        return _from_path(Path(os.fsdecode(given)), choice)
    return _from_file(File(title, _all_bytes(given, title)), choice)


def load_state_dict(given: Given) -> StateDict:
    """The tensors of a checkpoint by the names of their maker, without wrappers. Raises CheckpointError."""
    return open_source(given, Choice()).tensors


def title_of(given: Given) -> str:
    """What is given, for messages. Raises CheckpointError when it cannot be a checkpoint."""
    if isinstance(given, str | os.PathLike):
        return os.fsdecode(given)
    if isinstance(given, nn.Module):
        return f"the module {class_name(given).rpartition('.')[2]}"
    if isinstance(given, Mapping):
        return "the state_dict"
    if callable(getattr(given, "read", None)):
        name = getattr(given, "name", None)
        return f"the open file {name}" if isinstance(name, str) else "the file in memory"
    raise CheckpointError(
        "expected as checkpoint the path of a file or folder, a file open for reading bytes, a state_dict or a module, "
        f"found a {type(given).__name__}"
    )


def _all_bytes(given: IO[bytes], title: str) -> bytes:
    """What is left to read of a file, which stands where it stood afterwards, if it can."""
    try:
        place = given.tell() if given.seekable() else None
        content = given.read()
        if place is not None:
            given.seek(place)
    except Exception as error:  # of a foreign class
        raise CheckpointError(f"cannot read checkpoint {title}: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(content, bytes):
        raise CheckpointError(f"{title} gives {type(content).__name__}, expected bytes: open it with mode 'rb'")
    return content


def _from_path(path: Path, choice: Choice) -> Source:
    """A folder, the index of a model in parts, or a file with what is beside it."""
    try:
        folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError) as error:  # a name too long, or with a zero byte
        raise CheckpointError(f"cannot read checkpoint {path}: {getattr(error, 'strerror', None) or error}") from None
    if not exists:
        advice = how_to_get(str(path))
        raise CheckpointError(f"checkpoint {path} does not exist" + (f"; {advice}" if advice else ""))
    weights = weights_in(path) if folder else path
    index = part_of(weights)
    if index is not None:
        raise CheckpointError(f"{weights} is one part of a model: give its folder, or {index} with all parts beside it")
    configured, notes = configs_beside(weights)
    if weights.name.endswith(INDEX):
        source = _from_content(read_shards(weights), str(path), choice)
    else:
        source = _from_file(File(str(weights), weights), choice)
    return Source(
        str(path),
        source.tensors,
        source.facts | configured.facts,
        source.config or configured.config,
        (*([f"took {weights.name}"] if folder else []), *notes, *source.notes),
        source.trained,
    )


def _from_file(file: File, choice: Choice) -> Source:
    content = read_content(file)
    source = _from_content(content.value, file.title, choice)
    trained = read_trained(file, source.tensors)
    return Source(file.title, source.tensors, source.facts, source.config, (*content.notes, *source.notes), trained)


def _from_content(content: Any, title: str, choice: Choice) -> Source:
    """The weights in an object, what stands beside them, and what a module tells."""
    weights = find_weights(content, choice, title)
    facts, notes = Facts(), list(weights.notes)
    config: Mapping[str, Any] = {}
    for level in reversed(weights.levels):
        facts |= facts_beside(level)
    named = weights.found
    if is_module(named):
        facts, config = facts_of_module(named) | facts, config_of_module(named)
        if isinstance(named, nn.Module):
            notes += notes_of_module(named)
        else:
            notes.append(f"a pickled module ({class_name(named)}): its tensors were read, nothing was run")
        named = module_tensors(named)
    tensors, left_out = without_leftovers(checked_names(named, title), choice, title, averaged=weights.averaged)
    return Source(title, tensors, facts, config, (*notes, *left_out))
