"""What a report says, as plain numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ivit_onnx.report.distributions import Distribution

__all__ = ["ErrorReport", "LayerError", "PartError", "PointError"]


@dataclass(frozen=True)
class LayerError:
    """One layer, an operator of the integer network. Ratios of signal to quantisation noise are in decibels.

    `sqnr`, `cosine`: its output in the integer network against the float network, errors of all layers before it
    included. `own_sqnr`: its output when it alone is quantised. `cost_sqnr`: the network's output when it alone is
    quantised; `share`: its part in the sum of these noises over all layers, 0..1. None stands for no noise at all.
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

    It represents `low`..`high` in steps of `scale`; the float network has values from `minimum` to `maximum` there, of
    which the share `clipped` does not fit. `saturated`: share of values at the ends in the quantised network.
    `own_sqnr`: the float values against the same values rounded. `share`: that of the part of the layer which rounds
    here.
    """

    name: str
    layer: str
    bits: int
    scale: float
    low: float
    high: float
    minimum: float
    maximum: float
    clipped: float
    saturated: float
    own_sqnr: float | None
    share: float


@dataclass(frozen=True)
class PartError:
    """A part of a layer, such as "weights of fc1", "rounding of hidden", "GELU table".

    `points`: the points that it rounds at. `share`: the parts of a layer are quantised one after another, in the order
    in which they compute, while all other layers are float; this is what the noise in the output grows by with this
    part, in the unit of LayerError.share. The shares of all parts add up to that of the layer; one is negative where
    the noise falls.
    """

    layer: str
    part: str
    points: list[str]
    share: float


@dataclass(frozen=True)
class ErrorReport:
    """The result of `measure`. `sqnr` and `cosine` are of the output: logits, or features of a model without a head.

    `agreement`: share of images with the same largest logit, 0..1; None without a head. `mean_cosine`, `worst_cosine`:
    of the cosines between the features of each image; None with a head. `sum_sqnr`: what the noises of single layers
    add up to; near to `sqnr` where layers do not influence each other.
    """

    images: int
    sqnr: float | None
    cosine: float | None
    agreement: float | None
    mean_cosine: float | None
    worst_cosine: float | None
    sum_sqnr: float | None
    layers: list[LayerError]
    points: list[PointError]
    parts: list[PartError]
    distributions: dict[str, Distribution] = field(repr=False, default_factory=dict)

    def parts_of(self, layer: str) -> list[PartError]:
        """The parts of a layer by its name, in the order in which they compute."""
        return [part for part in self.parts if part.layer == layer]

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object, without the histograms."""
        lists = {name: [asdict(entry) for entry in getattr(self, name)] for name in ("layers", "points", "parts")}
        names = ("images", "sqnr", "cosine", "agreement", "mean_cosine", "worst_cosine", "sum_sqnr")
        return {name: getattr(self, name) for name in names} | lists
