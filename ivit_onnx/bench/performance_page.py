"""Writes committed results into docs/performance.md, so that no number is copied by hand.

    python -m ivit_onnx.bench.performance_page [--check] [--results FOLDER] [-o PAGE]

Each JSON file of the folder becomes a section, in the order of names, between the two marks of the page.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ivit_onnx.architectures import Size
from ivit_onnx.bench.settings import Settings, functions
from ivit_onnx.bench.tables import gpu_peak, percent, unsteady, without_graph

__all__ = ["BEGIN", "END", "main", "render", "replace_results"]

BEGIN = "<!-- results: written by python -m ivit_onnx.bench.performance_page -->"
END = "<!-- end of results -->"

LINE = 120

Json = Mapping[str, Any]
Row = Sequence[str]


def render(name: str, result: Json) -> str:
    """One result as a section of Markdown. `name` is that of its file."""
    kinds: dict[str, Callable[[Json], Iterator[str]]] = {
        "models": _models,
        "kernels": _kernels,
        "profile": _profile,
        "cuda-models": _cuda_models,
        "cuda-profile": _cuda_profile,
    }
    parts = [f"### {_heading(name)}", _origin(name, result), *_functions(result), *kinds[result["kind"]](result)]
    return "\n\n".join(parts)


def replace_results(page: str, sections: Sequence[str]) -> str:
    """The page with what is between the marks replaced. Raises ValueError when it lacks the marks."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks the marks {BEGIN} and {END}")
    return "\n\n".join([head + begin, *sections, end + tail])


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the page. Returns 1 when `--check` finds it out of date."""
    parser = argparse.ArgumentParser(description="Writes benchmark results into the documentation.")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/performance.md"))
    parser.add_argument("--check", action="store_true", help="only say whether the page is current")
    options = parser.parse_args(arguments)
    files = sorted(options.results.glob("*.json"))
    sections = [render(file.stem, json.loads(file.read_text(encoding="utf-8"))) for file in files]
    old = options.output.read_text(encoding="utf-8")
    new = replace_results(old, sections)
    if options.check:
        if old != new:
            print(f"{options.output} is out of date: run python -m ivit_onnx.bench.performance_page", file=sys.stderr)
        return int(old != new)
    options.output.write_text(new, encoding="utf-8")
    return 0


def _heading(name: str) -> str:
    """ "cost-by-batch" or "1-cost-by-batch" as "Cost by batch"."""
    words = [word for word in name.replace("_", "-").split("-") if not word.isdigit()]
    return " ".join(words).capitalize()


def _origin(name: str, result: Json) -> str:
    """Machine, versions and settings in one paragraph."""
    machine, settings, peak = result["machine"], result["settings"], result["int8_peak"]
    versions = ", ".join(f"{package} {version}" for package, version in result["versions"].items())
    how = ", ".join(f"{key} {json.dumps(value)}" for key, value in settings.items())
    if "device" in result:
        device = result["device"]
        return _paragraph(
            f"{result['date']}, {device['name']}, compute capability {device['compute_capability']}, "
            f"{device['multiprocessors']} multiprocessors, {device['memory_gib']} GiB, driver {device['driver']}, CUDA "
            f"{device['cuda']}, on {machine['processor']}. Measured int8 peak {gpu_peak(result)}. "
            f"{versions}. Settings: {how}. Everything measured: "
            f"`benchmarks/results/{name}.json`."
        )
    peaks = peak["gmacs_per_core"]
    measured = ", ".join(f"{variant} {gmacs:.0f}" for variant, gmacs in peaks.items()) or "unknown"
    return _paragraph(
        f"{result['date']}, {machine['processor']}, {machine['cpus']} processors, {machine['memory_gib']} GiB, "
        f"{', '.join(machine['instruction_sets'])}. Measured int8 peak of a core in GMAC/s: {measured}. {versions}. "
        f"Settings: {how}. Everything measured: `benchmarks/results/{name}.json`."
    )


def _functions(result: Json) -> Iterator[str]:
    """How the models or kernels of a result compute softmax and GELU; each profile says it for itself."""
    kernels = [f"ivit-onnx: {Settings.of(entry)}" for entry in result.get("functions", [])]
    texts = [*kernels, *functions(result.get("cases", []))]
    if texts:
        yield _paragraph(f"{'; '.join(texts)}.")


def _models(result: Json) -> Iterator[str]:
    cases = result["cases"]
    label = _labels(cases)
    rows = [
        (
            label(case),
            entry["title"],
            *(f"{entry[key]:.2f}" for key in ("median_ms", "min_ms", "p99_ms")),
            f"{entry['images_per_second']:.1f}",
            f"{entry['gmacs_per_second']:.0f}",
            percent(entry["int8_peak_fraction"]),
            f"{entry['start_seconds']:.2f}",
            f"{entry['memory_mib']['session']:.0f}",
            f"{entry['memory_mib']['peak']:.0f}",
        )
        for case in cases
        for entry in case["contestants"]
        if entry["name"].startswith("ivit")
    ]
    columns = ("case", "", "median ms", "min ms", "p99 ms", "images/s", "GMAC/s", "of int8 peak", "start s")
    yield _table((*columns, "session MiB", "peak MiB"), rows, right=2)
    yield from _beside(cases, label, digits=2)


def _beside(cases: Sequence[Json], label: Callable[[Json], str], digits: int) -> Iterator[str]:
    """Ours beside the baselines, where there are any, and remarks."""
    titles = list(dict.fromkeys(entry["title"] for case in cases for entry in case["contestants"]))
    if len(titles) > 1:
        yield "Median milliseconds a batch:"
        yield _across(cases, titles, label, lambda entry: f"{entry['median_ms']:.{digits}f}")
        yield f"Median time, {titles[0]} = 1:"
        yield _across(cases, titles, label, lambda entry: f"{entry['ratio']:.2f}x")
        yield "Start of a session in seconds / memory of the session after loading in MiB:"
        yield _across(
            cases, titles, label, lambda entry: f"{entry['start_seconds']:.2f} / {entry['memory_mib']['session']:.0f}"
        )
    unrecorded = [f"{label(case)}: {text}" for case in cases for text in without_graph(case)]
    if unrecorded:
        yield _paragraph(f"Without a CUDA graph: {'; '.join(unrecorded)}.")
    shaky = [f"{label(case)}: {text}" for case in cases for text in unsteady(case)]
    if shaky:
        yield _paragraph(f"Unsteady: {'; '.join(shaky)}.")
    skipped = {f"{entry['title']} {entry['reason']}" for case in cases for entry in case["skipped"]}
    if skipped:
        yield _paragraph(f"Skipped: {'; '.join(sorted(skipped))}.")


def _kernels(result: Json) -> Iterator[str]:
    variants = result["variants"]
    names = [variant["variant"] for variant in variants]
    by_shape: dict[tuple[str, str], dict[str, str]] = {}
    for variant in variants:
        for entry in variant["kernels"]:
            speed = f"{entry['median_us']:.1f} us"
            if entry["gmacs_per_second"] is not None:
                share = percent(entry["int8_peak_fraction"])
                speed += f", {entry['gmacs_per_second']:.0f} GMAC/s, {share}"
            by_shape.setdefault((entry["operator"], entry["shape"]), {})[variant["variant"]] = speed
    yield "Microseconds of one execution on one core, speed, and fraction of the variant's own measured peak:"
    rows = [(*key, *(cells.get(name, "") for name in names)) for key, cells in by_shape.items()]
    yield _table(("operator", "shape", *names), rows, right=2)


def _profile(result: Json) -> Iterator[str]:
    for profile in result["profiles"]:
        yield _paragraph(
            f"{profile['model']}, {Settings.of(profile['notes'])}, batch {profile['batch']}, {profile['threads']} "
            f"threads, {profile['kernels']}, {profile['run_us']:.0f} us per run with the profiler on:"
        )
        rows = [
            (entry["name"], str(entry["count"]), f"{entry['total_us']:.0f}", f"{entry['share']:.1%}")
            for entry in sorted(profile["operators"], key=lambda entry: -entry["total_us"])
        ]
        yield _table(("operator", "nodes", "us", "share"), rows, right=1)


def _cuda_models(result: Json) -> Iterator[str]:
    cases = result["cases"]
    label = _labels(cases)
    rows = [
        (
            label(case),
            entry["title"],
            *(f"{entry[key]:.3f}" for key in ("median_ms", "min_ms", "p99_ms")),
            f"{entry['latency']['median_ms']:.3f}",
            f"{entry['images_per_second']:.0f}",
            f"{entry['gmacs_per_second'] / 1e3:.1f}",
            percent(entry["int8_peak_fraction"]),
            f"{entry['start_seconds']:.2f}",
            f"{entry['memory_mib']['peak']:.0f}",
        )
        for case in cases
        for entry in case["contestants"]
        if entry["name"].startswith("ivit")
    ]
    columns = ("case", "", "median ms", "min ms", "p99 ms", "latency ms", "images/s", "TMAC/s", "of int8 peak")
    yield _table((*columns, "start s", "peak MiB"), rows, right=2)
    yield from _beside(cases, label, digits=3)


def _cuda_profile(result: Json) -> Iterator[str]:
    for profile in result["profiles"]:
        yield _paragraph(
            f"{profile['model']}, {Settings.of(profile['notes'])}, batch {profile['batch']}, {profile['run_us']:.1f} "
            f"us per run under CUPTI, {profile['busy_us']:.1f} us of it in kernels:"
        )
        rows = [
            (
                f"`{entry['name']}`",
                f"{entry['count']:g}",
                f"{entry['median_us']:.1f}",
                f"{entry['total_us']:.1f}",
                f"{entry['share']:.1%}",
            )
            for entry in profile["kernels"]
        ]
        yield _table(("kernel", "runs", "median us", "total us", "share"), rows, right=1)


def _across(
    cases: Sequence[Json], titles: Sequence[str], label: Callable[[Json], str], cell: Callable[[Json], str]
) -> str:
    """A row for each case, a column for each candidate."""
    rows = []
    for case in cases:
        cells = {entry["title"]: cell(entry) for entry in case["contestants"]}
        rows.append((label(case), *(cells.get(title, "-") for title in titles)))
    return _table(("", *titles), rows, right=1)


def _labels(cases: Sequence[Json]) -> Callable[[Json], str]:
    """What names a case: model and batch, and threads and image size where they vary."""
    threads = len({case.get("threads") for case in cases}) > 1
    sizes = len({Size.of(case["arch"]["image_size"]) for case in cases}) > 1

    def label(case: Json) -> str:
        size = f", {Size.of(case['arch']['image_size'])} pixels" if sizes else ""
        return f"{case['model']}{size}, batch {case['batch']}" + (f", {case['threads']} threads" if threads else "")

    return label


def _table(columns: Row, rows: Sequence[Row], right: int) -> str:
    rules = ["---:" if index >= right else "---" for index in range(len(columns))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (columns, rules, *rows))


def _paragraph(text: str) -> str:
    return textwrap.fill(text, LINE, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    sys.exit(main())
