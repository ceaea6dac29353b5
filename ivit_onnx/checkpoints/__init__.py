"""Checkpoints: read without running any code in them, recognised by names and shapes, checked.

What is given becomes a `Source` (opening.py), a layout gives its tensors timm's names (layouts/, one file per
library), a family finds the architecture (vit.py, swin.py; `FAMILIES` lists them), and facts say where everything else
comes from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import torch

from ivit_onnx.architectures import (
    KNOWN,
    OTHER_NORMALISATION,
    Architecture,
    Preprocess,
    SizeLike,
    default_preprocess,
    known_architecture,
    matching_names,
    published_preprocess,
)
from ivit_onnx.architectures.normalisation import check_normalisation
from ivit_onnx.checkpoints.facts import ASSUMED, PLAIN, Facts
from ivit_onnx.checkpoints.family import Family, Reading, Tensors, check_against
from ivit_onnx.checkpoints.layouts import recognise
from ivit_onnx.checkpoints.names import settle_name
from ivit_onnx.checkpoints.opening import Given, load_state_dict, open_source, title_of
from ivit_onnx.checkpoints.published import activation_scales, split_published
from ivit_onnx.checkpoints.source import AUTO, Choice, Source
from ivit_onnx.checkpoints.swin import SWIN
from ivit_onnx.checkpoints.tensors import StateDict, checkpoint_fingerprint, to_float32
from ivit_onnx.checkpoints.trained import Trained, write_trained
from ivit_onnx.checkpoints.vit import VIT
from ivit_onnx.errors import CheckpointError
from ivit_onnx.numbers import check_colours, check_numbers
from ivit_onnx.options.choices import DEFAULT_NONLINEAR, Nonlinear

__all__ = [
    "AUTO",
    "Checkpoint",
    "Choice",
    "Facts",
    "Given",
    "Source",
    "StateDict",
    "Trained",
    "check_source",
    "checkpoint_fingerprint",
    "load_as",
    "load_checkpoint",
    "load_state_dict",
    "read_architecture",
    "title_of",
    "validate",
    "write_trained",
]

#: By family name; the first that detects a checkpoint reads it.
FAMILIES: dict[str, Family] = {"swin": SWIN, "vit": VIT}
_NONLINEAR: dict[Nonlinear, str] = {"ivit": "the paper", "table": "tables"}
#: Facts that are fields of `Preprocess`.
_IMAGE_FACTS = tuple(entry.name for entry in fields(Preprocess) if entry.name != "size")


@dataclass(frozen=True)
class Checkpoint:
    """A checked checkpoint.

    `state_dict` has contiguous float32 tensors, `fingerprint` identifies its content. `layout` says how the tensors
    were named, `facts` everything that they do not tell and where it was found, `notes` what was chosen and left out,
    `warnings` which assumptions are doubtful. `scales` has the scale of every activation of the twin when the published
    I-ViT code wrote the checkpoint; `trained` has what `ivit-train` decided when that wrote it. Both are None for a
    floating-point one.
    """

    arch: Architecture
    state_dict: StateDict
    fingerprint: str
    layout: str = ""
    facts: Facts = field(default_factory=Facts)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
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

        `mean` and `std` replace the defaults of the architecture's name. Raises IvitError on impossible values, see
        `ivit_onnx.architectures.normalisation`.
        """
        check_colours("mean", mean)
        check_colours("std", std)
        if self.trained is not None:
            return self._trained_preprocess(self.trained, mean, std), []
        default, warnings = self._default_preprocess()
        facts = self.settled(mean, std)
        chosen = replace(default, **{name: facts.value(name) for name in _IMAGE_FACTS})
        check_normalisation(mean, std)
        normalisation = {facts.found[name].origin for name in ("mean", "std")}
        return chosen, warnings if ASSUMED in normalisation else []

    def settled(self, mean: Sequence[float] | None = None, std: Sequence[float] | None = None) -> Facts:
        """All facts, those about images too. `mean` and `std` as in `preprocess`."""
        asked = Facts.asked(mean=None if mean is None else tuple(mean), std=None if std is None else tuple(std))
        default = self._default_preprocess()[0] if self.trained is None else self.trained.preprocess
        name = self.facts.found.get("name")
        origin = self.layout if self.trained is not None else ASSUMED if name is None else name.origin
        return asked | self.facts | Facts.told(origin, **{name: getattr(default, name) for name in _IMAGE_FACTS})

    def _default_preprocess(self) -> tuple[Preprocess, list[str]]:
        """What the name of the architecture stands for, and warnings where it is not sure."""
        if self.scales is not None:
            return published_preprocess(self.arch)
        default, warnings = default_preprocess(self.arch)
        return default, warnings if "name" in self.facts else [*warnings, *_ambiguity(self.arch)]

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
    state_dict, scales = split_published(recognised.converted.tensors)
    reading = _family_of(state_dict).read(state_dict, facts)
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
    return _checked(*split_published(recognised.converted.tensors), Reading(arch, facts), recognised.layout.title, ())


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
    return _family_of(state_dict).read(state_dict, _asked(name, heads, image_size, act, pool, plain)).arch


def _asked(
    name: str | None, heads: int | None, image_size: SizeLike | None, act: str | None, pool: str | None, plain: bool
) -> Facts:
    """What the user says of a checkpoint."""
    check_numbers(num_heads=heads)
    blocks = PLAIN if plain else None
    return Facts.asked(name=name, heads=heads, image_size=image_size, act=act, pool=pool, blocks=blocks)


def validate(state_dict: Tensors, arch: Architecture) -> None:
    """Raise CheckpointError unless every tensor of `arch` is there, of its shape, floating point and finite.

    A tensor that the architecture does not have is an error too: ignoring it would silently change what the network
    computes.
    """
    FAMILIES[arch.family].validate(state_dict, arch)


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
    validate(state_dict, arch)
    family = FAMILIES[arch.family]
    weights = {name: to_float32(tensor) for name, tensor in family.weights(state_dict, arch, reading.facts).items()}
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{name} does not fit float32: it has values above 3.4e38")
    checked = Checkpoint(arch, weights, checkpoint_fingerprint(weights), layout, reading.facts, notes, reading.warnings)
    if scales is None:
        return checked
    values = activation_scales(scales, family.published(arch))
    content = weights | {f"{name}.scale": torch.tensor(value) for name, value in values.items()}
    return replace(checked, fingerprint=checkpoint_fingerprint(content), scales=values)


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
    """A warning when models with the same shapes, or other weights of this one, normalise images differently."""
    if arch.name not in KNOWN:
        return []
    names = matching_names(arch.family, {**arch.dimensions(), "image_size": KNOWN[arch.name].image_size})
    tagged = [f"{name}.{tag}" for name in names for tag in OTHER_NORMALISATION.get(name, ())]
    defaults = [default_preprocess(replace(arch, name=name))[0] for name in names]
    if not tagged and len({(default.mean, default.std) for default in defaults}) < 2:
        return []
    others = [name for name in names if name != arch.name] + tagged
    return [
        f"the file also fits {' and '.join(others[:3])}, which normalise images differently: assuming {arch.name}; "
        "pass --arch (or --mean and --std) to say which"
    ]
