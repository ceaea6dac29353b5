"""What a report says, as plain numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ivit_onnx.report.statistics import Distribution

__all__ = ["ErrorReport", "LayerError", "PartError", "PointError"]


@dataclass(frozen=True)
class LayerError:
    """One layer, an operator of the integer network. Ratios of signal to quantisation noise are in decibels.

    `sqnr`, `cosine`: its output in the integer network against the float network, errors of all layers before it
    included. `own_sqnr`: its output when it alone is quantised. `cost_sqnr`: the logits when it alone is quantised;
    `share`: its part in the sum of these noises over all layers, 0..1. None stands for no noise at all.
    """

    name: str
    operator: str
    sqnr: float | None
    cosine: float | None
    own_sqnr: float | None
    cost_sqnr: float | None
    share: float


@dataclass(frozen=True)
class PointError:
    """One quantisation point, an activation of a layer.

    It represents -`range`..`range` in steps of `scale`; the float network has values from `minimum` to `maximum` there,
    of which the share `clipped` does not fit. `saturated`: share of values at the ends in the quantised network.
    `own_sqnr`: the float values against the same values rounded, `cost_sqnr` and `share` as in LayerError, of rounding
    at this point alone; the share is of the noise of all layers.
    """

    name: str
    layer: str
    bits: int
    scale: float
    range: float
    minimum: float
    maximum: float
    clipped: float
    saturated: float
    own_sqnr: float | None
    cost_sqnr: float | None
    share: float


@dataclass(frozen=True)
class PartError:
    """A part of a layer alone, while all else is float: its `weights` in 8 bits, or its `Shiftmax` or `ShiftGELU`.

    `cost_sqnr` and `share` as in PointError.
    """

    layer: str
    part: str
    cost_sqnr: float | None
    share: float


@dataclass(frozen=True)
class ErrorReport:
    """The result of `measure`. `sqnr`, `cosine`, `agreement` are of the logits (agreement: of the largest one, 0..1).

    `sum_sqnr`: what the noises of single layers add up to; near to `sqnr` where layers do not influence each other.
    """

    images: int
    sqnr: float | None
    cosine: float | None
    agreement: float
    sum_sqnr: float | None
    layers: list[LayerError]
    points: list[PointError]
    parts: list[PartError]
    distributions: dict[str, Distribution] = field(repr=False, default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object, without the histograms."""
        lists = {name: [asdict(entry) for entry in getattr(self, name)] for name in ("layers", "points", "parts")}
        names = ("images", "sqnr", "cosine", "agreement", "sum_sqnr")
        return {name: getattr(self, name) for name in names} | lists
