"""What cannot be inferred from tensors about a network, and where each of it was found.

An option of the user wins over what stands beside the tensors: `config.json`, the name of the architecture, a module.
What nothing tells is assumed, as a known network with the same shapes has it, and every report lists it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ivit_onnx.architectures import Size

__all__ = ["ASSUMED", "FIELDS", "PLAIN", "Fact", "Facts"]

#: The origin of what nothing tells.
ASSUMED = "assumed"
#: The value of `blocks` in every network that is supported.
PLAIN = "normalised before each branch, no rotary embedding"

#: Everything that is told beside the tensors: in words, and the option that says it ("" where there is none).
FIELDS: dict[str, tuple[str, str]] = {
    "name": ("architecture", "--arch"),
    "heads": ("attention heads", "--num-heads"),
    "act": ("activation function", "--act"),
    "eps": ("eps of normalisations", "--arch"),
    "pool": ("pooling", "--pool"),
    "blocks": ("blocks", "--plain"),
    "image_size": ("image size", "--img-size"),
    "position_resize": ("resizing of the position table", ""),
    "mean": ("mean of pixels", "--mean"),
    "std": ("standard deviation of pixels", "--std"),
    "crop_pct": ("share of the image that is kept", ""),
    "crop_mode": ("how images get their size", ""),
    "interpolation": ("interpolation", ""),
    "labels": ("names of classes", ""),
}


@dataclass(frozen=True)
class Fact:
    """A value, and where it was found: "config.json", "--pool", "the module", `ASSUMED`."""

    value: Any
    origin: str


@dataclass(frozen=True)
class Facts:
    """Facts by field of `FIELDS`; a field that nothing told is absent."""

    found: Mapping[str, Fact] = field(default_factory=dict)

    @classmethod
    def told(cls, origin: str, **values: Any) -> Facts:
        """Those of the values that are not None, all found in one place."""
        unknown = [name for name in values if name not in FIELDS]
        if unknown:
            raise KeyError(unknown[0])
        return cls({name: Fact(_known(name, value), origin) for name, value in values.items() if value is not None})

    @classmethod
    def asked(cls, **values: Any) -> Facts:
        """What a user said by options; each has the name of its option as origin."""
        told = {name: value for name, value in values.items() if value is not None}
        return cls({name: Fact(_known(name, value), FIELDS[name][1]) for name, value in told.items()})

    def __or__(self, weaker: Facts) -> Facts:
        """These facts, and the others where these are silent."""
        return Facts({**weaker.found, **self.found})

    def __iter__(self) -> Iterator[str]:
        """Fields in the order of `FIELDS`."""
        return (name for name in FIELDS if name in self.found)

    def __contains__(self, name: object) -> bool:
        return name in self.found

    def value(self, name: str, default: Any = None) -> Any:
        """The value of a field, or the default where nothing told it."""
        return self.found[name].value if name in self.found else default

    def only(self, *names: str) -> Facts:
        """The facts of these fields."""
        return Facts({name: fact for name, fact in self.found.items() if name in names})

    def without(self, *names: str) -> Facts:
        """The facts of all other fields."""
        return Facts({name: fact for name, fact in self.found.items() if name not in names})

    def assumed(self) -> Facts:
        """The facts that nothing told."""
        return Facts({name: fact for name, fact in self.found.items() if fact.origin == ASSUMED})

    def differences(self, weaker: Facts) -> list[str]:
        """A sentence for each fact that overrules another value in `weaker`."""
        return [
            f"{FIELDS[name][0]}: {_shown(other.value)} by {other.origin}; taking {_shown(self.value(name))} "
            f"of {self.found[name].origin}"
            for name in self
            if (other := weaker.found.get(name)) is not None and other.value != self.value(name)
        ]

    def assumptions(self) -> list[str]:
        """A sentence for each fact that nothing told, with the option that tells it."""
        return [
            f"{FIELDS[name][0]}: {_shown(fact.value)}" + (f" (settle it with {option})" if option else "")
            for name, fact in ((name, self.found[name]) for name in self)
            if fact.origin == ASSUMED
            for option in (FIELDS[name][1],)
        ]

    def to_json(self) -> dict[str, Any]:
        """`{field: {"what": .., "value": .., "text": .., "from": ..}}`: value and origin, and both in words."""
        return {
            name: {
                "what": FIELDS[name][0],
                "value": _plain(self.value(name)),
                "text": _shown(self.value(name)),
                "from": self.found[name].origin,
            }
            for name in self
        }


def _known(name: str, value: Any) -> Any:
    """A value as the type that its field has: an image size is height and width."""
    return Size.of(value) if name == "image_size" else value


def _plain(value: Any) -> Any:
    if isinstance(value, Size):
        return value.to_json()
    return list(value) if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    if isinstance(value, Size):
        return value.sides
    if isinstance(value, tuple | list):
        if len(value) > 4:
            return f"{len(value)}, {value[0]} to {value[-1]}"
        return ", ".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
