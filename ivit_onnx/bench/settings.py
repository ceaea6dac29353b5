"""How an exported model computes softmax and GELU: what every table of a benchmark says about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ivit_onnx.architectures import Architecture

if TYPE_CHECKING:
    from ivit_onnx.options.choices import Nonlinear

__all__ = ["Settings", "functions"]

_HOW: dict[Nonlinear, str] = {"ivit": "shifts", "table": "tables"}


@dataclass(frozen=True)
class Settings:
    """`nonlinear` and `softmax_bits` of `ivit-export`: kind of functions, bits of attention."""

    nonlinear: Nonlinear
    softmax_bits: int

    @classmethod
    def default(cls, arch: Architecture) -> Settings:
        """What `ivit-export` takes for a floating-point checkpoint when nothing else is asked for."""
        from ivit_onnx.checkpoints import Checkpoint

        checkpoint = Checkpoint(arch, {}, "")
        return cls(checkpoint.nonlinear(), checkpoint.default_softmax_bits)

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, str]) -> Settings:
        """Those of an exported model by its metadata. Raises ValueError when it has unknown ones."""
        name = metadata.get("ivit.nonlinear", "ivit")
        for known in _HOW:
            if name == known:
                return cls(known, int(metadata["ivit.softmax_bits"]))
        raise ValueError(f"ivit.nonlinear: expected one of {', '.join(_HOW)}, found {name!r}")

    @classmethod
    def of(cls, notes: Mapping[str, Any]) -> Settings:
        """The reverse of `to_json`; other keys do not matter."""
        return cls(notes["nonlinear"], notes["softmax_bits"])

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def name(self, default: Settings, chosen: Sequence[Settings]) -> str:
        """What tells these settings from the default ones and from the others chosen, such as "softmax8"; may be
        empty."""
        words = []
        if {self.nonlinear} != {default.nonlinear, *(other.nonlinear for other in chosen)}:
            words.append(_HOW[self.nonlinear])
        if {self.softmax_bits} != {default.softmax_bits, *(other.softmax_bits for other in chosen)}:
            words.append(f"softmax{self.softmax_bits}")
        return "-".join(words)

    def __str__(self) -> str:
        return f"softmax of {self.softmax_bits} bits and GELU by {_HOW[self.nonlinear]}"


def functions(cases: Sequence[Mapping[str, Any]]) -> list[str]:
    """How our models in cases of a result compute softmax and GELU: one line for all, or one for each that differs."""
    found = {
        (case["model"], entry["title"]): str(Settings.of(entry["notes"]))
        for case in cases
        for entry in case["contestants"]
        if "softmax_bits" in entry["notes"]
    }
    if len(set(found.values())) == 1:
        return [f"ivit-onnx: {text}" for text in {*found.values()}]
    by_title = {title: text for (_, title), text in found.items()}
    if all(by_title[title] == text for (_, title), text in found.items()):
        return [f"{title}: {text}" for title, text in by_title.items()]
    return [f"{model}, {title}: {text}" for (model, title), text in found.items()]
