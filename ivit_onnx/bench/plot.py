"""Bars per model: how fast every candidate is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ivit_onnx.architectures import Size
from ivit_onnx.bench.settings import functions
from ivit_onnx.errors import IvitError
from ivit_onnx.files import atomic_write

__all__ = ["plot"]


def plot(result: Mapping[str, Any], path: Path, *, force: bool = True) -> None:
    """Draw a comparison of models: one panel for each batch size and number of threads, one group for each model.

    The height is the speed relative to ONNX Runtime fp32 where it takes part in every case, else relative to the
    slowest candidate of the case; the number on a bar is the median in milliseconds.
    """
    if result["kind"] not in ("models", "cuda-models"):
        raise IvitError("--plot draws models; it does not go with --profile or --kernels")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels: dict[str, list[Mapping[str, Any]]] = {}
    for case in result["cases"]:
        panels.setdefault(_panel_title(case), []).append(case)
    titles = list(dict.fromkeys(entry["title"] for case in result["cases"] for entry in case["contestants"]))
    yardstick = "ort-fp32" if all(_median(case, "ort-fp32") for case in result["cases"]) else None

    most = max(len(cases) for cases in panels.values())
    figure = Figure(figsize=(max(6.0, 1.0 + 0.42 * most * (len(titles) + 1)), 3.4 * len(panels)), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, cases) in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels.items(), strict=True):
        _panel(axes, cases, titles, yardstick)
        axes.set_title(title, fontsize=10)
        axes.set_ylabel("speed, ONNX Runtime fp32 = 1" if yardstick else "speed, slowest = 1", fontsize=9)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, ncols=4, frameon=False, loc="outside upper center")
    caption = ["numbers on bars: median milliseconds a batch", *functions(result["cases"])]
    figure.supxlabel("\n".join(caption), fontsize=8)
    with atomic_write(path, force=force) as temporary:
        figure.savefig(temporary, dpi=150, format=path.suffix.removeprefix(".") or "png")


def _panel_title(case: Mapping[str, Any]) -> str:
    threads = case.get("threads")  # a GPU has none
    batch = f"batch {case['batch']}"
    return batch if threads is None else f"{batch}, {threads} {'thread' if threads == 1 else 'threads'}"


def _panel(axes: Any, cases: list[Mapping[str, Any]], titles: list[str], yardstick: str | None) -> None:
    width = 0.86 / len(titles)
    for number, title in enumerate(titles):
        places, heights, labels = [], [], []
        for group, case in enumerate(cases):
            unit = (yardstick and _median(case, yardstick)) or max(entry["median_ms"] for entry in case["contestants"])
            for entry in case["contestants"]:
                if entry["title"] == title:
                    places.append(group + (number - (len(titles) - 1) / 2) * width)
                    heights.append(unit / entry["median_ms"])
                    labels.append(
                        f"{entry['median_ms']:.0f}" if entry["median_ms"] >= 100 else f"{entry['median_ms']:.3g}"
                    )
        bars = axes.bar(places, heights, width * 0.92, label=title, color=f"C{number}")
        axes.bar_label(bars, labels, fontsize=6, padding=1)
    images = [Size.of(case["arch"]["image_size"]) for case in cases]
    sizes = len({*images}) > 1
    names = [f"{case['model']}, {image}" if sizes else case["model"] for case, image in zip(cases, images, strict=True)]
    axes.set_xticks(range(len(cases)), names, fontsize=9)
    axes.margins(y=0.12)
    axes.spines[["top", "right"]].set_visible(False)


def _median(case: Mapping[str, Any], name: str) -> float | None:
    return next((float(entry["median_ms"]) for entry in case["contestants"] if entry["name"] == name), None)
