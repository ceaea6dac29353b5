"""Digests of what the exporter writes, so that a change of the exporter shows that it changes no file.

    python benchmarks/exports/exports.py [--check] [--only NAME ...]

Without `--check`, the digests are written to digests.json beside this file; with it, they are compared and every
difference is named. It takes some minutes. Cases that are calibrated depend on the floating point of the processor:
their constants are only compared where PyTorch computes with the same instructions as when they were recorded.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import onnx_ir as ir
import torch
from export_cases import CALIBRATED, EXACT, FULL_SIZE, Case, make_twin
from ivit_onnx.exporters import build_graph, finish

from ivit_onnx.exported import write_metadata

__all__ = ["RECORD", "differences", "digests"]

RECORD = Path(__file__).with_name("digests.json")

#: By case: what is digested, and its digest.
Digests = dict[str, dict[str, str]]


def digests(case: Case) -> dict[str, str]:
    """Digests of the main graph's values and nodes in order, of its constants in order, and of the metadata.

    Left out: documentation, functions of the domain, and the version, which others answer for.
    """
    twin = make_twin(case)
    graph, scale = build_graph(twin, case.input_type)
    written = write_metadata(twin, "case", case.input_type, scale, {}, flat=case.flat)
    model = finish(graph, written, flat=case.flat, producer_version="")
    metadata = {key: value for key, value in model.metadata_props.items() if key != "ivit.version"}
    return {
        "nodes": _digest(line.encode() for line in _structure(model.graph)),
        "constants": _digest(part for value in model.graph.initializers.values() for part in _constant(value)),
        "metadata": _digest([json.dumps(metadata).encode()]),
    }


def _structure(graph: ir.Graph) -> Iterable[str]:
    for kind, values in (("input", graph.inputs), ("output", graph.outputs)):
        for value in values:
            yield f"{kind} {_described(value)}"
    for node in graph:
        yield f"node {node.name} {node.domain} {node.op_type} {[value and value.name for value in node.inputs]}"
        for value in node.outputs:
            yield f"gives {_described(value)}"
        for name, attribute in sorted(node.attributes.items()):
            yield f"attribute {name} {attribute.type} {attribute.value}"


def _described(value: ir.Value) -> str:
    return f"{value.name} {value.dtype} {value.shape}"


def _constant(value: ir.Value) -> Iterable[bytes]:
    assert value.const_value is not None
    array = value.const_value.numpy()
    yield f"{value.name} {array.dtype} {array.shape}".encode()
    yield array.tobytes()


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()[:16]


def differences(name: str, found: dict[str, str], expected: dict[str, str], *, nodes_only: bool = False) -> list[str]:
    """A line for each digest of a case that differs."""
    keys = ("nodes",) if nodes_only else ("nodes", "constants", "metadata")
    return [f"{name}: the {key} differ" for key in keys if found[key] != expected.get(key)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the record instead of writing it")
    parser.add_argument("--only", nargs="+", help="names of cases; with --check")
    arguments = parser.parse_args()
    if arguments.only and not arguments.check:
        parser.error("--only goes with --check: a record is whole")
    instructions = torch.backends.cpu.get_cpu_capability()
    record = json.loads(RECORD.read_text()) if arguments.check else {"instructions": instructions, "cases": {}}
    cases, wrong = {**EXACT, **CALIBRATED, **FULL_SIZE}, []
    for name in arguments.only or cases:
        found = digests(cases[name])
        gc.collect()
        if arguments.check:
            nodes_only = name in CALIBRATED and record["instructions"] != instructions
            wrong += differences(name, found, record["cases"].get(name, {}), nodes_only=nodes_only)
        record["cases"][name] = found
        print(name, *found.values(), flush=True)
    if not arguments.check:
        RECORD.write_text(json.dumps(record, indent=1) + "\n")
    print(*wrong, sep="\n", end="\n" if wrong else "")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
