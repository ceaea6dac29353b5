"""Checkpoints: read without running any code in them, recognised by names and shapes, checked.

One file a family; `FAMILIES` lists them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from ivit_onnx.architectures import (
    KNOWN,
    Architecture,
    Preprocess,
    default_preprocess,
    known_architecture,
    matching_names,
    published_preprocess,
)
from ivit_onnx.checkpoints.family import Family, Flags, Tensors, check_against
from ivit_onnx.checkpoints.published import activation_scales, split_published
from ivit_onnx.checkpoints.swin import SWIN
from ivit_onnx.checkpoints.tensors import StateDict, checkpoint_fingerprint, load_state_dict, to_float32
from ivit_onnx.checkpoints.trained import Trained, read_trained, write_trained
from ivit_onnx.checkpoints.vit import VIT
from ivit_onnx.errors import CheckpointError
from ivit_onnx.numbers import check_colours
from ivit_onnx.quant.tables import DEFAULT_NONLINEAR, Nonlinear

__all__ = [
    "Checkpoint",
    "StateDict",
    "Trained",
    "checkpoint_fingerprint",
    "load_as",
    "load_checkpoint",
    "load_state_dict",
    "read_architecture",
    "validate",
    "write_trained",
]

#: By family name; the first that detects a checkpoint reads it.
FAMILIES: dict[str, Family] = {"swin": SWIN, "vit": VIT}
_NONLINEAR: dict[Nonlinear, str] = {"ivit": "the paper", "table": "tables"}


@dataclass(frozen=True)
class Checkpoint:
    """A checked checkpoint.

    `state_dict` has contiguous float32 tensors, `fingerprint` identifies its content, `warnings` says what had to be
    assumed, `named` whether the user named the architecture. `scales` has the scale of every activation of the twin
    when the published I-ViT code wrote the checkpoint; `trained` has what `ivit-train` decided when that wrote it. Both
    are None for a floating-point one.
    """

    arch: Architecture
    state_dict: StateDict
    fingerprint: str
    warnings: tuple[str, ...] = ()
    named: bool = False
    scales: dict[str, float] | None = None
    trained: Trained | None = None

    @property
    def calibrated(self) -> bool:
        """Whether the checkpoint has the scales of its activations, from training."""
        return self.scales is not None or self.trained is not None

    @property
    def default_softmax_bits(self) -> int:
        """Fractional bits of attention probabilities: what the checkpoint was trained with, or the most accurate."""
        if self.trained is not None:
            return self.trained.softmax_bits
        return 15 if self.scales is None else FAMILIES[self.arch.family].published_softmax_bits

    def nonlinear(self, asked: Nonlinear | None = None) -> Nonlinear:
        """How softmax and GELU are computed: as the checkpoint was trained, else as asked, by default by tables.

        Raises CheckpointError when it was trained with others than those asked for.
        """
        if not self.calibrated:
            return DEFAULT_NONLINEAR if asked is None else asked
        own = "ivit" if self.trained is None else self.trained.nonlinear
        if asked not in (None, own):
            raise CheckpointError(
                f"the weights of this checkpoint were trained with the softmax and GELU of {_NONLINEAR[own]}: "
                f"expected --nonlinear {own}, found {asked}; leave the option out, or start from the floating-point "
                "checkpoint"
            )
        return own

    def preprocess(
        self, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
    ) -> tuple[Preprocess, list[str]]:
        """How images are prepared for this model, and warnings about what had to be assumed.

        `mean` and `std` replace the defaults of the architecture's name. Raises IvitError on impossible values.
        """
        check_colours("mean", mean)
        check_colours("std", std)
        if self.trained is not None:
            return self._trained_preprocess(self.trained, mean, std), []
        if self.scales is None:
            default, warnings = default_preprocess(self.arch)
        else:
            default, warnings = published_preprocess(self.arch)
        if not self.named and not self.calibrated:
            warnings = [*warnings, *_ambiguity(self.arch)]
        chosen = replace(
            default,
            mean=default.mean if mean is None else tuple(mean),
            std=default.std if std is None else tuple(std),
        )
        return chosen, [] if mean is not None and std is not None else warnings

    @staticmethod
    def _trained_preprocess(trained: Trained, mean: Sequence[float] | None, std: Sequence[float] | None) -> Preprocess:
        for name, given, own in (("mean", mean, trained.preprocess.mean), ("std", std, trained.preprocess.std)):
            if given is not None and tuple(given) != own:
                raise CheckpointError(
                    f"this checkpoint of ivit-train was trained with a {name} of {list(own)}, found {list(given)}; "
                    f"leave out --{name}"
                )
        return trained.preprocess


def load_checkpoint(
    path: str | os.PathLike[str],
    *,
    arch: str | None = None,
    heads: int | None = None,
    image_size: int | None = None,
    act: str | None = None,
) -> Checkpoint:
    """Read, recognise and check a checkpoint file.

    `arch` names a known timm model to check the file against; `heads` and `act` say what shapes cannot; `image_size`
    is the image size to use the network at.
    Raises CheckpointError with one line about what is wrong and, where there is one, the flag to pass.
    """
    if arch is not None:
        known_architecture(arch)
    tensors = load_state_dict(path)
    trained = read_trained(path, tensors)
    if trained is not None:
        return _checked_trained(tensors, trained, Flags(arch, heads, image_size, act))
    state_dict, scales = split_published(tensors)
    architecture, warnings = _family_of(state_dict).read(state_dict, Flags(arch, heads, image_size, act))
    return _checked(state_dict, scales, architecture, warnings, named=arch is not None)


def load_as(path: str | os.PathLike[str], arch: Architecture) -> Checkpoint:
    """Read a checkpoint file whose architecture is known. Raises CheckpointError when it is of another one."""
    tensors = load_state_dict(path)
    trained = read_trained(path, tensors)
    if trained is not None:
        if trained.arch != arch:
            raise CheckpointError(f"the checkpoint is of {trained.arch.name}, or of other dimensions than {arch.name}")
        return _checked_trained(tensors, trained, Flags())
    return _checked(*split_published(tensors), arch, [], named=True)


def read_architecture(
    state_dict: Tensors,
    *,
    name: str | None = None,
    heads: int | None = None,
    image_size: int | None = None,
    act: str | None = None,
) -> Architecture:
    """The architecture of a state_dict, from the names and shapes of its tensors.

    `name`: a known model the shapes must agree with (the number of classes may differ). `heads`: the number of
    attention heads, and `act`: the activation function, where shapes do not tell them. `image_size`: that to use the
    network at, by default that which the checkpoint is for.

    Raises CheckpointError when the family is not supported, a tensor is missing or misshapen, or the flags disagree.
    """
    return _family_of(state_dict).read(state_dict, Flags(name, heads, image_size, act))[0]


def validate(state_dict: Tensors, arch: Architecture) -> None:
    """Raise CheckpointError unless every tensor of `arch` is there, of its shape, floating point and finite.

    A tensor that the architecture does not have is an error too: ignoring it would silently change what the network
    computes.
    """
    FAMILIES[arch.family].validate(state_dict, arch)


def _checked_trained(tensors: Tensors, trained: Trained, flags: Flags) -> Checkpoint:
    """A checkpoint of ivit-train, which says its architecture itself: flags may only agree with it."""
    arch = trained.arch
    if flags.name is not None:
        check_against(known_architecture(flags.name), arch.family, arch.dimensions())
    for flag, given, own in (
        ("--num-heads", flags.heads, getattr(arch, "heads", None)),
        ("--img-size", flags.image_size, arch.image_size),
        ("--act", flags.act, getattr(arch, "act", None)),
    ):
        if given is not None and given != own:
            raise CheckpointError(f"this checkpoint of ivit-train is of a network with {own}, found {flag} {given}")
    checked = _checked(tensors, None, arch, [], named=True)
    # The state is part of what a model is exported from.
    content = json.dumps(
        [trained.state, trained.softmax_bits, trained.nonlinear, trained.preprocess.to_json()]
    ).encode()
    fingerprint = hashlib.sha256(checked.fingerprint.encode() + content).hexdigest()
    return replace(checked, fingerprint=fingerprint, trained=trained)


def _checked(
    state_dict: Tensors, scales: Tensors | None, arch: Architecture, warnings: list[str], *, named: bool
) -> Checkpoint:
    validate(state_dict, arch)
    family = FAMILIES[arch.family]
    weights = {name: to_float32(tensor) for name, tensor in family.weights(state_dict, arch).items()}
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{name} does not fit float32: it has values above 3.4e38")
    if scales is None:
        return Checkpoint(arch, weights, checkpoint_fingerprint(weights), tuple(warnings), named)
    values = activation_scales(scales, family.published(arch))
    content = weights | {f"{name}.scale": torch.tensor(value) for name, value in values.items()}
    return Checkpoint(arch, weights, checkpoint_fingerprint(content), tuple(warnings), named, values)


def _family_of(state_dict: Tensors) -> Family:
    """The family of a state_dict, after the features that are not supported have been refused."""
    for family in FAMILIES.values():
        if family.detects(state_dict):
            family.refuse_unsupported(state_dict)
            return family
    example = ", ".join(sorted(state_dict)[:3])
    titles = " or a ".join(family.title for family in FAMILIES.values())
    raise CheckpointError(f"not a {titles} (found {example}, ...)")


def _ambiguity(arch: Architecture) -> list[str]:
    """A warning when models with the same shapes normalise images differently."""
    if arch.name not in KNOWN:
        return []
    names = matching_names(arch.family, {**arch.dimensions(), "image_size": KNOWN[arch.name].image_size})
    defaults = [default_preprocess(replace(arch, name=name))[0] for name in names]
    if len({(default.mean, default.std) for default in defaults}) < 2:
        return []
    others = [name for name in names if name != arch.name]
    return [
        f"the file also fits {' and '.join(others[:3])}, which normalise images differently: assuming {arch.name}; "
        "pass --arch (or --mean and --std) to say which"
    ]
