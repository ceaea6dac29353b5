"""The report as one HTML page without anything outside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ivit_onnx.report import plots
from ivit_onnx.report.results import ErrorReport, PointError

__all__ = ["page"]

#: Histograms that are shown at once; the others open by block.
SHOWN = 12


def page(report: ErrorReport, facts: Mapping[str, str]) -> str:
    """The HTML of a report; `facts` are shown at its top, names with values."""
    environment = Environment(
        loader=PackageLoader("ivit_onnx.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {
        "db": decibels,
        "percent": percent,
        "number": lambda value: f"{value:.4g}",
        "cosine": lambda value: "none" if value is None else f"{value:.5f}",
    }
    histograms = {
        point.name: Markup(plots.histogram(point, report.distributions[point.name], number))
        for number, point in enumerate(report.points)
    }
    costliest = sorted(report.points, key=lambda point: -point.share)[:SHOWN]
    others: dict[str, list[PointError]] = {}
    for point in report.points:
        if point not in costliest:
            others.setdefault(_block(point.name), []).append(point)
    return environment.get_template("page.html").render(
        report=report,
        largest={layer.name: max(report.parts_of(layer.name), key=lambda part: part.share) for layer in report.layers},
        facts=facts,
        plots={name: Markup(getattr(plots, name)(report)) for name in plots.__all__ if name != "histogram"},
        histograms=histograms,
        costliest=costliest,
        others=others,
        layers=sorted(report.layers, key=lambda layer: -layer.share),
    )


def decibels(value: float | None) -> str:
    """A ratio for people."""
    return "no noise" if value is None else f"{value:.1f} dB"


def percent(value: float) -> str:
    """A share for people: 0 only for none at all."""
    if value == 0:
        return "0"
    if abs(value) < 5e-5:
        return "< 0.01%" if value > 0 else "> -0.01%"
    return f"{value:.2%}"


def _block(name: str) -> str:
    """The block that a point is in: `blocks.3`, `layers.0.blocks.1`, or the layer itself."""
    words: list[Any] = name.split(".")
    numbers = [place for place, word in enumerate(words) if word.isdecimal()]
    return ".".join(words[: numbers[-1] + 1]) if numbers else words[0]
