"""Time beside accuracy: a comparison by ivit-bench and the rows of real.py as one table, and as a plot.

    python benchmarks/accuracy/time_and_accuracy.py comparison.json --plot time_and_accuracy.svg

The first file is what `ivit-bench --compare --json` printed, best of the same network; --accuracy names the JSON file
of real.py. Baselines have the same names in both; our models are found by how they compute softmax and GELU, because
calibration does not change the time. The table goes to standard output as Markdown. What was timed only has a dash
there, and is a vertical line in the plot, as float32 is, which accuracy is measured against.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivit_onnx.architectures import architecture_from_json
from ivit_onnx.bench.settings import Settings
from ivit_onnx.files import atomic_write
from ivit_onnx.generated_page import table

Json = Mapping[str, Any]

COLUMNS = ("", "median ms", "time, ours = 1", "class token dB", "patch tokens dB", "worst cosine")
_OURS = "ivit-onnx"


@dataclass(frozen=True)
class Point:
    """A way to run the network: median milliseconds, time relative to ours, and its row of real.py if there is one."""

    title: str
    ours: bool
    milliseconds: float
    ratio: float
    row: Json | None

    @property
    def decibels(self) -> float | None:
        """Signal to noise ratio of the class token."""
        return None if self.row is None else float(self.row["class_token"]["sqnr_db"])

    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        row = self.row
        found = (
            ("-",) * 3
            if row is None
            else (row["class_token"]["sqnr_db"], row["patch_tokens"]["sqnr_db"], row["class_token"]["worst"])
        )
        return (self.title, f"{self.milliseconds:.2f}", f"{self.ratio:.2f}x", *map(str, found))


def points(case: Json, rows: Sequence[Json]) -> list[Point]:
    """The candidates of one case, fastest first, each with its accuracy."""
    measured = [row for row in rows if "class_token" in row]
    default = Settings.default(architecture_from_json(case["arch"]))
    ours = {settings: row for row in measured for settings in _settings(row, default)}
    baselines = {row["name"]: row for row in measured if row["by"] != _OURS}
    found = []
    for entry in case["contestants"]:
        own = "softmax_bits" in entry["notes"]
        row = ours.get(Settings.of(entry["notes"])) if own else baselines.get(entry["name"])
        found.append(Point(entry["title"], own, entry["median_ms"], entry["ratio"], row))
    return sorted(found, key=lambda point: point.milliseconds)


def _settings(row: Json, default: Settings) -> Iterator[Settings]:
    """Those of an export of ours, if nothing but softmax and GELU is special about it."""
    options = {**default.to_json(), **row["settings"]}
    if row["by"] == _OURS and options.keys() == default.to_json().keys():
        yield Settings.of(options)


def title(case: Json) -> str:
    threads = "1 thread" if case["threads"] == 1 else f"{case['threads']} threads"
    return f"{case['model']}, batch {case['batch']}, {threads}"


def plot(panels: Mapping[str, list[Point]], network: str, path: Path) -> None:
    """One panel for each case: decibels over milliseconds, better towards the upper left."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.6 * len(panels)), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, found) in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels.items(), strict=True):
        for number, point in enumerate(found):
            colour = "C0" if point.ours else "C7"
            where = point.milliseconds, point.decibels
            if point.decibels is None:
                axes.axvline(point.milliseconds, color=colour, linestyle=":", linewidth=1)
                axes.text(point.milliseconds, 0.02, point.title, rotation=90, fontsize=7, transform=_from_below(axes))
            else:
                axes.plot(*where, "o", color=colour)
                axes.annotate(point.title, where, (5, -10 if number % 2 else 4), textcoords="offset points", fontsize=8)
        axes.set_xscale("log")
        for set_formatter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            set_formatter("{x:g}")
        axes.margins(x=0.2, y=0.15)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("median milliseconds a batch")
        axes.set_ylabel(f"SQNR of the class token in dB\n({network})")
        axes.spines[["top", "right"]].set_visible(False)
    with atomic_write(path, force=True) as temporary:
        figure.savefig(temporary, dpi=150, format=path.suffix.removeprefix(".") or "png")


def _from_below(axes: Any) -> Any:
    """Horizontal places in data, vertical ones as a fraction of the height."""
    return axes.get_xaxis_transform()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("times", type=Path, help="JSON file of ivit-bench --compare")
    parser.add_argument("--accuracy", type=Path, default=Path(__file__).with_name("real.json"), help="that of real.py")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="also draw the points into .png, .svg or .pdf")
    options = parser.parse_args(arguments)
    times, accuracy = (json.loads(path.read_text(encoding="utf-8")) for path in (options.times, options.accuracy))
    if times.get("kind") != "models" or "rows" not in accuracy:
        parser.error(f"expected {options.times} from ivit-bench --compare --json and {options.accuracy} from real.py")
    network = f"{accuracy['network']['package']} {accuracy['network']['version']}"
    panels = {title(case): points(case, accuracy["rows"]) for case in times["cases"]}
    for name, found in panels.items():
        print(f"{name}; accuracy on {network}:\n\n{table(COLUMNS, [point.cells() for point in found])}\n")
    if options.plot:
        plot(panels, network, options.plot)


if __name__ == "__main__":
    main()
