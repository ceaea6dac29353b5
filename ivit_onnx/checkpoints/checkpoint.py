"""A checkpoint that was read and checked, and how images are prepared for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

from ivit_onnx.architectures import (
    KNOWN,
    OTHER_NORMALISATION,
    Architecture,
    Preprocess,
    default_preprocess,
    family_of,
    matching_names,
    reference_ivit_preprocess,
)
from ivit_onnx.architectures.normalisation import check_normalisation
from ivit_onnx.checkpoints.facts import ASSUMED, Facts
from ivit_onnx.checkpoints.tensors import StateDict
from ivit_onnx.checkpoints.trained import Trained
from ivit_onnx.errors import CheckpointError
from ivit_onnx.numbers import check_colours
from ivit_onnx.options.choices import DEFAULT_NONLINEAR, Nonlinear

__all__ = ["Checkpoint"]

_NONLINEAR: dict[Nonlinear, str] = {"ivit": "the paper", "table": "tables"}
#: Facts that are fields of `Preprocess`.
_IMAGE_FACTS = tuple(entry.name for entry in fields(Preprocess) if entry.name != "size")


@dataclass(frozen=True)
class Checkpoint:
    """A checked checkpoint.

    `state_dict` has contiguous float32 tensors, `fingerprint` identifies its content. `layout` says how the tensors
    were named, `facts` everything that they do not tell and where it was found, `notes` what was chosen and left out,
    `warnings` which assumptions are doubtful. `scales` has the scale of every activation of the twin when the reference
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
        """Bits of attention's exponentials or probabilities: as the checkpoint was trained, or the most accurate."""
        if self.trained is not None:
            return self.trained.softmax_bits
        return 15 if self.scales is None else family_of(self.arch).load_reader().reference_ivit_softmax_bits

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
            return reference_ivit_preprocess(self.arch)
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
