"""From what a user gives to a checked checkpoint: opened, recognised, read by its family, checked."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import torch

from ivit_onnx.architectures import FAMILIES, Architecture, SizeLike, family_of, known_architecture
from ivit_onnx.checkpoints.checkpoint import Checkpoint
from ivit_onnx.checkpoints.facts import PLAIN, Facts
from ivit_onnx.checkpoints.layouts import recognise
from ivit_onnx.checkpoints.names import settle_name
from ivit_onnx.checkpoints.opening import Given, open_source
from ivit_onnx.checkpoints.reader import Reader, Reading, check_against
from ivit_onnx.checkpoints.reference_ivit import activation_scales, split_reference_ivit
from ivit_onnx.checkpoints.source import AUTO, Choice, Source
from ivit_onnx.checkpoints.tensors import Tensors, checkpoint_fingerprint
from ivit_onnx.checkpoints.trained import Trained
from ivit_onnx.errors import CheckpointError
from ivit_onnx.numbers import check_numbers

__all__ = ["check_source", "load_as", "load_checkpoint", "read_architecture"]


def load_checkpoint(
    given: Given,
    *,
    arch: str | None = None,
    heads: int | None = None,
    image_size: SizeLike | None = None,
    act: str | None = None,
    pool: str | None = None,
    plain: bool = False,
    choice: Choice = AUTO,
) -> Checkpoint:
    """Read, recognise and check a checkpoint: a file, a folder, a module or a state_dict.

    `arch` names a known timm model to check it against; `heads`, `act` and `pool` say what shapes cannot, `plain` that
    blocks are normalised before each branch and have no rotary embedding; `image_size`, the side of a square or
    (height, width), is the image size to use the network at; `choice`: which tensors to take where there are several
    networks.
    Raises CheckpointError with one line about what is wrong and, where there is one, the flag to pass.
    """
    asked = _asked(arch, heads, image_size, act, pool, plain)
    if arch is not None:
        known_architecture(arch)
    return check_source(open_source(given, choice), asked, choice.prefix)


def check_source(source: Source, asked: Facts, prefix: str | None = None) -> Checkpoint:
    """The checkpoint of a source; `asked` is what a user says of it. Raises CheckpointError as `load_checkpoint`."""
    if source.trained is not None:
        return _checked_trained(source.tensors, source.trained, asked)
    recognised = recognise(source, prefix)
    beside = source.facts | recognised.converted.facts
    facts, remarks = settle_name(asked | beside, source.title)
    state_dict, scales = split_reference_ivit(recognised.converted.tensors)
    reading = _reader_of(state_dict).read(state_dict, facts)
    warnings = (*remarks, *asked.differences(beside), *reading.warnings)
    notes = (*source.notes, *recognised.notes)
    del source  # the tensors that layouts have joined
    return _checked(state_dict, scales, replace(reading, warnings=warnings), recognised.layout.title, notes)


def load_as(given: Given, arch: Architecture, choice: Choice = AUTO) -> Checkpoint:
    """Read a checkpoint whose architecture is known. Raises CheckpointError when it is of another one."""
    source = open_source(given, choice)
    if source.trained is not None:
        if source.trained.arch != arch:
            raise CheckpointError(
                f"the checkpoint is of {source.trained.arch.name}, or of other dimensions than {arch.name}"
            )
        return _checked_trained(source.tensors, source.trained, Facts())
    recognised = recognise(source, choice.prefix)
    facts = source.facts | recognised.converted.facts
    return _checked(
        *split_reference_ivit(recognised.converted.tensors), Reading(arch, facts), recognised.layout.title, ()
    )


def read_architecture(
    state_dict: Tensors,
    *,
    name: str | None = None,
    heads: int | None = None,
    image_size: SizeLike | None = None,
    act: str | None = None,
    pool: str | None = None,
    plain: bool = False,
) -> Architecture:
    """The architecture of a state_dict under timm's names, from the names and shapes of its tensors.

    `name`: a known model the shapes must agree with (the number of classes may differ). `heads`: the number of
    attention heads, `act`: the activation function, `pool`: the pooling, where shapes do not tell them. `image_size`:
    that to use the network at, by default that which the checkpoint is for. `plain`: as in `load_checkpoint`.

    Raises CheckpointError when the family is not supported, a tensor is missing or misshapen, or the flags disagree.
    """
    return _reader_of(state_dict).read(state_dict, _asked(name, heads, image_size, act, pool, plain)).arch


def _asked(
    name: str | None, heads: int | None, image_size: SizeLike | None, act: str | None, pool: str | None, plain: bool
) -> Facts:
    """What the user says of a checkpoint."""
    check_numbers(num_heads=heads)
    blocks = PLAIN if plain else None
    return Facts.asked(name=name, heads=heads, image_size=image_size, act=act, pool=pool, blocks=blocks)


def _checked_trained(tensors: Tensors, trained: Trained, asked: Facts) -> Checkpoint:
    """A checkpoint of ivit-train, which says its architecture itself: what is asked for may only agree with it."""
    arch = trained.arch
    if "name" in asked:
        check_against(known_architecture(asked.value("name")), arch.family, arch.dimensions())
    for name in asked.only("heads", "image_size", "act", "pool"):
        given, own = asked.value(name), getattr(arch, name, None)
        if given != own:
            raise CheckpointError(
                f"this checkpoint of ivit-train is of a network with {own}, found {asked.found[name].origin} {given}"
            )
    told = {name: getattr(arch, name) for name in ("heads", "act", "eps", "pool", "image_size") if hasattr(arch, name)}
    facts = Facts.told("ivit-train", name=arch.name, **told)
    checked = _checked(tensors, None, Reading(arch, facts), "ivit-train", ())
    # The state is part of what a model is exported from.
    content = json.dumps(
        [trained.state, trained.softmax_bits, trained.nonlinear, trained.preprocess.to_json()]
    ).encode()
    fingerprint = hashlib.sha256(checked.fingerprint.encode() + content).hexdigest()
    return replace(checked, fingerprint=fingerprint, trained=trained)


def _checked(
    state_dict: Tensors, scales: Tensors | None, reading: Reading, layout: str, notes: tuple[str, ...]
) -> Checkpoint:
    arch = reading.arch
    reader = family_of(arch).load_reader()
    weights = reader.checked(state_dict, arch, reading.facts)
    checked = Checkpoint(arch, weights, checkpoint_fingerprint(weights), layout, reading.facts, notes, reading.warnings)
    if scales is None:
        return checked
    if reader.reference_ivit is None:
        raise CheckpointError(f"not supported yet: scales of the reference I-ViT code for a {reader.title}")
    values = activation_scales(scales, reader.reference_ivit(arch))
    content = weights | {f"{name}.scale": torch.tensor(value) for name, value in values.items()}
    return replace(checked, fingerprint=checkpoint_fingerprint(content), scales=values)


def _reader_of(state_dict: Tensors) -> Reader:
    """The reader of a state_dict, after the features that are not supported have been refused."""
    # The first family is the most general one.
    readers = [family.load_reader() for family in reversed(FAMILIES)]
    for reader in readers:
        if reader.detects(state_dict):
            reader.refuse_unsupported(state_dict)
            return reader
    example = ", ".join(sorted(state_dict)[:3])
    titles = " or a ".join(reader.title for reader in readers)
    raise CheckpointError(f"not a {titles} (found {example}, ...)")
