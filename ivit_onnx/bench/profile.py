"""Where the time of a run goes, from ONNX Runtime's own profiler: by operator, by layer, by node."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivit_onnx.bench.job import Job
from ivit_onnx.bench.runners import session_options

__all__ = ["NodeTime", "layer_of", "read_profile", "record", "totals"]

WARM_UP = 3


@dataclass(frozen=True)
class NodeTime:
    """One node of the graph: median microseconds over the profiled runs."""

    name: str
    operator: str
    layer: str
    median_us: float


def record(job: Job, runs: int) -> dict[str, Any]:
    """In a worker: profile `runs` runs of an exported model. Times in microseconds, medians over the runs."""
    import ivit_onnx
    from ivit_onnx.bench.machine import cpu_variant
    from ivit_onnx.bench.network import generated_images
    from ivit_onnx.metadata import describe

    with tempfile.TemporaryDirectory() as folder:
        options = session_options(job)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = ivit_onnx.create_session(job.path, session_options=options)
        description = describe(session, job.path)
        images = generated_images(job.batch, job.arch.in_channels, job.arch.image_size)
        feed = images if description.input_type == "uint8" else description.model_input(job.floats())
        for _ in range(WARM_UP + runs):
            session.run(None, {description.input_name: feed})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    nodes, run_us = read_profile(events, skip=WARM_UP)
    return {
        "kernels": cpu_variant() or "portable",
        "runs": runs,
        "run_us": round(run_us, 1),
        "operators": totals(nodes, lambda node: node.operator),
        "layers": totals(nodes, lambda node: node.layer),
        "nodes": [vars(node) for node in nodes],
    }


def read_profile(events: Sequence[Mapping[str, Any]], skip: int) -> tuple[list[NodeTime], float]:
    """The nodes in the order of the first run, and the median of whole runs, without the first `skip` runs."""
    kernels: defaultdict[str, list[float]] = defaultdict(list)
    operators: dict[str, str] = {}
    runs = []
    for event in events:
        if event.get("cat") == "Session" and event["name"] == "model_run":
            runs.append(float(event["dur"]))
        elif event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            name = event["name"].removesuffix("_kernel_time")
            kernels[name].append(float(event["dur"]))
            operators[name] = event["args"]["op_name"]
    nodes = [
        NodeTime(name, operators[name], layer_of(name), statistics.median(durations[skip:]))
        for name, durations in kernels.items()
    ]
    return nodes, statistics.median(runs[skip:])


def layer_of(node: str) -> str:
    """The layer that a node belongs to: "blocks.3" of "blocks.3.attn.qkv", "head" of "head"."""
    parts = node.split(".")
    numbered = len(parts) > 1 and parts[1].isdigit()
    return ".".join(parts[: 2 if numbered else 1])


def totals(nodes: Sequence[NodeTime], key: Callable[[NodeTime], str]) -> list[dict[str, Any]]:
    """Count, microseconds and share of each group of nodes, in the order of the graph."""
    groups: defaultdict[str, list[float]] = defaultdict(list)
    for node in nodes:
        groups[key(node)].append(node.median_us)
    whole = sum(node.median_us for node in nodes) or 1.0
    return [
        {
            "name": name,
            "count": len(durations),
            "total_us": round(sum(durations), 1),
            "share": round(sum(durations) / whole, 4),
        }
        for name, durations in groups.items()
    ]
