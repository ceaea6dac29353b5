"""The plots of the page, each an SVG element that needs nothing else."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ivit_onnx.report.distributions import Distribution
from ivit_onnx.report.results import ErrorReport, PointError

__all__ = ["cost_by_depth", "cost_by_part", "error_by_depth", "histogram"]

_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
}
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#7f7f7f", "#b8a500")
_WIDTH = 11.0
#: Coordinates of paths, and what is beyond a hundredth of a point in them.
_PATH, _DIGITS = re.compile(r' d="[^"]*"'), re.compile(r"(\.\d\d)\d+")
#: What is drawn where there is no noise at all.
_NOISELESS = 100.0


def error_by_depth(report: ErrorReport) -> str:
    """Signal to noise of each layer in network order: everything before it quantised, and it alone; cosine below."""
    names = [layer.name for layer in report.layers]
    with matplotlib.rc_context(_STYLE):
        figure, (upper, lower) = _figure(4.6, rows=2, heights=(3, 1.2))
        places = np.arange(len(names))
        upper.plot(places, _decibels([layer.sqnr for layer in report.layers]), "-o", ms=3, label="everything quantised")
        alone = _decibels([layer.own_sqnr for layer in report.layers])
        upper.plot(places, alone, "o", ms=4, mfc="none", color=_COLOURS[1], label="this layer alone quantised")
        upper.set_ylabel("SQNR, dB")
        upper.legend(frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
        cosines = [1 - layer.cosine if layer.cosine is not None else np.nan for layer in report.layers]
        lower.plot(places, np.maximum(cosines, 1e-9), "-o", ms=3, color=_COLOURS[2])
        lower.set_yscale("log")
        lower.set_ylabel("1 - cosine")
        _depth_axis(upper, names, labelled=False)
        _depth_axis(lower, names)
        return _svg(figure, "depth", "Error of each layer's output by depth")


def cost_by_depth(report: ErrorReport) -> str:
    """Share of the output's noise that each layer alone makes, in network order, coloured by operator."""
    names = [layer.name for layer in report.layers]
    operators = list(dict.fromkeys(layer.operator for layer in report.layers))
    with matplotlib.rc_context(_STYLE):
        figure, (axes,) = _figure(3.4)
        for number, operator in enumerate(operators):
            chosen = [(place, layer.share) for place, layer in enumerate(report.layers) if layer.operator == operator]
            axes.bar(*zip(*((x, 100 * y) for x, y in chosen), strict=True), 0.8, label=operator, **_style(number))
        axes.set_ylabel("share of noise, %")
        axes.legend(frameon=False, ncols=6, loc="lower left", bbox_to_anchor=(0, 1), fontsize=8)
        _depth_axis(axes, names)
        return _svg(figure, "cost", "Share of the noise in the output by layer")


def cost_by_part(report: ErrorReport, count: int = 16) -> str:
    """The costliest layers, and their parts side by side; to the left of zero those with which the noise falls."""
    layers = sorted(report.layers, key=lambda layer: -layer.share)[:count]
    with matplotlib.rc_context(_STYLE):
        figure, (axes,) = _figure(0.8 + 0.34 * len(layers))
        styles: dict[str, dict[str, Any]] = {}
        for row, layer in enumerate(layers):
            axes.barh(row, 100 * layer.share, 0.76, color="#d9d9d9", label="" if row else "whole layer")
            ends = {True: 0.0, False: 0.0}
            for part in report.parts_of(layer.name):
                style = styles.setdefault(part.part, _style(len(styles)))
                grows = part.share > 0
                axes.barh(row, 100 * part.share, 0.4, left=ends[grows], **style)
                ends[grows] += 100 * part.share
        for name, style in styles.items():
            axes.barh(0, 0, label=name, **style)
        axes.set_yticks(range(len(layers)), [layer.name for layer in layers])
        axes.invert_yaxis()
        axes.set_xlabel("share of noise in the output, % of the sum over layers")
        axes.legend(frameon=False, fontsize=8, loc="lower right")
        return _svg(figure, "parts", "The costliest layers and their parts")


def histogram(point: PointError, distribution: Distribution, number: int) -> str:
    """Values at one point in the float and in the quantised network; dashed lines are the ends of the range."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(3.6, 2.1))  # with margins of its own: a layout is most of the work otherwise
        FigureCanvasSVG(figure)
        axes = figure.add_axes((0.13, 0.12, 0.85, 0.85))
        edges, before, after = distribution.edges, distribution.before, distribution.after
        axes.stairs(before / before.sum(), edges, fill=True, color="#b9d3ea", label="float")
        axes.stairs(after / after.sum(), edges, color=_COLOURS[4], label="quantised")
        for end in (point.low - point.scale / 2, point.high + point.scale / 2):
            if edges[0] <= end <= edges[-1]:
                axes.axvline(end, color="#333333", lw=0.8, ls="--")
        axes.set_yscale("log")
        axes.minorticks_off()
        axes.set_xlim(edges[0], edges[-1])
        axes.locator_params(axis="x", nbins=6)
        axes.tick_params(labelsize=7)
        axes.legend(frameon=False, fontsize=7, loc="upper right", handlelength=1)
        return _svg(figure, f"h{number}", f"Histogram of {point.name}")


def _style(number: int) -> dict[str, Any]:
    """A colour, with stripes when all of them are taken."""
    return {"color": _COLOURS[number % len(_COLOURS)], "hatch": "//" if number >= len(_COLOURS) else None}


def _decibels(values: Sequence[float | None]) -> list[float]:
    return [_NOISELESS if value is None else value for value in values]


def _figure(height: float, *, rows: int = 1, heights: Sequence[float] = (1,)) -> tuple[Figure, Sequence[Any]]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots(rows, 1, sharex=rows > 1, squeeze=False, height_ratios=heights)
    return figure, list(axes[:, 0])


def _depth_axis(axes: Any, names: Sequence[str], *, labelled: bool = True) -> None:
    """Names of layers below, thinned out where there are many."""
    step = -(-len(names) // 60)
    axes.set_xlim(-0.7, len(names) - 0.3)
    axes.set_xticks(range(0, len(names), step), names[::step], rotation=90, fontsize=7)
    axes.tick_params(axis="x", labelbottom=labelled)
    axes.grid(axis="x", visible=False)


def _svg(figure: Figure, salt: str, title: str) -> str:
    """The <svg> element of a figure, with identifiers that no other figure of a page has."""
    with matplotlib.rc_context({"svg.hashsalt": salt, "svg.id": salt}):
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = _PATH.sub(lambda path: _DIGITS.sub(r"\1", path[0]), text[text.index("<svg") :])
    return text.replace("<svg", f'<svg role="img" aria-label="{title}"', 1).strip()
