"""A result as tables: what the terminal shows and what the documentation holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ivit_onnx.bench.settings import Settings, functions

__all__ = ["Listing", "gpu_peak", "listings", "percent", "unsteady", "without_graph"]

Json = Mapping[str, Any]

#: Nodes that a profile lists; the rest are in the JSON.
SHOWN_NODES = 12

#: Largest quotient of two rounds' medians that passes without a remark.
UNSTEADY = 1.25


@dataclass(frozen=True)
class Listing:
    """A title, a header and rows; columns from `right` on are numbers. `notes` follow it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    right: int = 1


def listings(result: Json) -> Iterator[Listing]:
    """The tables of a result of any kind."""
    kinds = {
        "models": _models,
        "profile": _profile,
        "kernels": _kernels,
        "cuda-models": _cuda_models,
        "cuda-profile": _cuda_profile,
    }
    yield from kinds[result["kind"]](result)


def unsteady(case: Json) -> list[str]:
    """The candidates whose rounds differ so much that something else must have used the machine."""
    found = []
    for entry in case["contestants"]:
        medians = entry["round_medians_ms"]
        if max(medians) > UNSTEADY * min(medians):
            found.append(f"{entry['title']}, medians of rounds from {min(medians):.2f} to {max(medians):.2f} ms")
    return found


def _models(result: Json) -> Iterator[Listing]:
    columns = ("", "median ms", "min", "p99", "ratio", "images/s", "GMAC/s", "int8 peak", "start s", "memory MiB")
    for case in result["cases"]:
        macs = case["macs_per_image"]["total"] / 1e9
        rows = [
            (
                entry["title"],
                f"{entry['median_ms']:.2f}",
                f"{entry['min_ms']:.2f}",
                f"{entry['p99_ms']:.2f}",
                f"{entry['ratio']:.2f}x",
                f"{entry['images_per_second']:.1f}",
                f"{entry['gmacs_per_second']:.0f}",
                percent(entry["int8_peak_fraction"]),
                f"{entry['start_seconds']:.2f}",
                f"{entry['memory_mib']['session']:.0f}",
            )
            for entry in case["contestants"]
        ]
        threads = "1 thread" if case["threads"] == 1 else f"{case['threads']} threads"
        yield Listing(
            f"{case['model']}, batch {case['batch']}, {threads}: {macs:.2f} GMAC an image, {case['tokens']} tokens",
            columns,
            rows,
            [
                *functions([case]),
                *(f"skipped: {entry['title']} ({entry['name']}): {entry['reason']}" for entry in case["skipped"]),
                *(f"unsteady: {text}" for text in unsteady(case)),
            ],
        )


def _profile(result: Json) -> Iterator[Listing]:
    for profile in result["profiles"]:
        accounted = sum(entry["total_us"] for entry in profile["operators"])
        head = (
            f"{profile['model']}, {Settings.of(profile['notes'])}, batch {profile['batch']}, "
            f"{profile['threads']} threads, kernels {profile['kernels']}"
        )
        for what, key in (("operator", "operators"), ("layer", "layers")):
            rows = [
                (entry["name"], str(entry["count"]), f"{entry['total_us']:.0f}", f"{entry['share']:.1%}")
                for entry in sorted(profile[key], key=lambda entry: -entry["total_us"] if key == "operators" else 0)
            ]
            yield Listing(f"{head}: time by {what}", (what, "nodes", "us", "share"), rows)
        slowest = sorted(profile["nodes"], key=lambda node: -node["median_us"])[:SHOWN_NODES]
        nodes = [(node["name"], node["operator"], f"{node['median_us']:.0f}") for node in slowest]
        note = f"whole run {profile['run_us']:.0f} us with the profiler on, {accounted:.0f} us of it in nodes"
        yield Listing(f"{head}: slowest nodes", ("node", "operator", "us"), nodes, [note], right=2)


def _kernels(result: Json) -> Iterator[Listing]:
    for variant in result["variants"]:
        peak = variant["int8_peak_gmacs"]
        ceiling = "peak unknown" if peak is None else f"measured peak {peak:.0f} GMAC/s"
        rows = [
            (
                entry["operator"],
                entry["shape"],
                f"{entry['median_us']:.1f}",
                f"{entry['min_us']:.1f}",
                "" if entry["gmacs_per_second"] is None else f"{entry['gmacs_per_second']:.1f}",
                "" if entry["gmacs_per_second"] is None else percent(entry["int8_peak_fraction"]),
                f"{entry['elements_per_ns']:.2f}",
            )
            for entry in variant["kernels"]
        ]
        columns = ("operator", "shape", "median us", "min", "GMAC/s", "of peak", "outputs/ns")
        notes = [f"ivit-onnx: {Settings.of(entry)}" for entry in result["functions"]]
        yield Listing(f"{variant['variant']}, one core, {ceiling}", columns, rows, notes, right=2)


def _cuda_models(result: Json) -> Iterator[Listing]:
    device, peak = result["device"], gpu_peak(result)
    columns = ("", "median ms", "min", "p99", "latency ms", "ratio", "images/s", "int8 peak", "start s", "memory MiB")
    for case in result["cases"]:
        rows = [
            (
                entry["title"],
                f"{entry['median_ms']:.3f}",
                f"{entry['min_ms']:.3f}",
                f"{entry['p99_ms']:.3f}",
                f"{entry['latency']['median_ms']:.3f}",
                f"{entry['ratio']:.2f}x",
                f"{entry['images_per_second']:.0f}",
                percent(entry["int8_peak_fraction"]),
                f"{entry['start_seconds']:.2f}",
                f"{entry['memory_mib']['peak']:.0f}",
            )
            for entry in case["contestants"]
        ]
        macs = case["macs_per_image"]["total"] / 1e9
        yield Listing(
            f"{case['model']}, batch {case['batch']}, {device['name']}: {macs:.2f} GMAC an image, "
            f"{case['tokens']} tokens",
            columns,
            rows,
            [
                *functions([case]),
                f"int8 peak {peak}",
                *(f"skipped: {entry['title']} ({entry['name']}): {entry['reason']}" for entry in case["skipped"]),
                *(f"no CUDA graph: {text}" for text in without_graph(case)),
                *(f"unsteady: {text}" for text in unsteady(case)),
            ],
        )


def gpu_peak(result: Json) -> str:
    """The measured int8 peak of the GPU, and how it was measured."""
    peak = result["int8_peak"]
    measured = peak["gmacs_per_second"]
    return f"{'unknown' if measured is None else f'{measured / 1e3:.0f} TMAC/s'} ({peak['method']})"


def without_graph(case: Json) -> list[str]:
    """The candidates in ONNX Runtime that could not be recorded as a CUDA graph, with its reason."""
    return [
        f"{entry['title']}, because {entry['notes'].get('no_cuda_graph_because', 'it was not wanted')}"
        for entry in case["contestants"]
        if entry["notes"].get("cuda_graph") is False
    ]


def _cuda_profile(result: Json) -> Iterator[Listing]:
    for profile in result["profiles"]:
        rows = [
            (
                entry["name"],
                f"{entry['count']:g}",
                f"{entry['median_us']:.1f}",
                f"{entry['total_us']:.1f}",
                f"{entry['share']:.1%}",
                "" if entry["registers"] is None else str(entry["registers"]),
                "" if entry["shared_bytes"] is None else str(entry["shared_bytes"]),
            )
            for entry in profile["kernels"]
        ]
        yield Listing(
            f"{profile['model']}, {Settings.of(profile['notes'])}, batch {profile['batch']}, "
            f"{result['device']['name']}: time by kernel",
            ("kernel", "runs", "median us", "total us", "share", "registers", "shared bytes"),
            rows,
            [
                f"a run takes {profile['run_us']:.1f} us under CUPTI, {profile['busy_us']:.1f} us of it in kernels",
                *([] if profile["notes"]["cuda_graph"] else ["without a CUDA graph"]),
            ],
        )


def percent(fraction: float | None) -> str:
    """A fraction for people to read; None is unknown."""
    return "unknown" if fraction is None else f"{fraction:.1%}"
