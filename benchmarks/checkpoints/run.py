"""Exports checkpoints in every layout that people have, and compares each with its source library's own forward.

    pip install transformers peft open_clip_torch pytorch-lightning segment-anything omegaconf yacs gguf h5py
    python benchmarks/checkpoints/run.py -o benchmarks/checkpoints/results.json [--only REGEX]

The networks are small and random; every parameter of them changes the output. A case is exported by `ivit-export`, an
object by `ivit_onnx.export`. The float twin is then compared with the source's forward, and so are the integers. Cases
whose libraries are not installed are skipped, with the reason, and counted. Ends with 1 when a network was silently
wrong, a command ended in a traceback, or a case could not be made with the versions that are installed.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from case import Case
from judge import Outcome, judge
from rich.console import Console
from rich.progress import track
from rich.table import Table

MODULES = (
    "cases_timm",
    "cases_timm_untold",
    "cases_transformers",
    "cases_torchvision",
    "cases_open_clip",
    "cases_authors",
    "cases_wrappers",
    "cases_files",
)
OUTCOMES = ("accepted", "warned", "refused", "silently wrong", "traceback", "skipped", "not made")
#: Outcomes that are never right.
FAULTS = ("silently wrong", "traceback", "not made")
PACKAGES = ("torch", "timm", "transformers", "torchvision", "open_clip_torch", "pytorch-lightning")


def catalogue() -> Iterator[Case]:
    """Every case; no two have the same name."""
    names: set[str] = set()
    for module in MODULES:
        for case in importlib.import_module(module).cases():
            if case.name in names:
                raise ValueError(f"two cases are named {case.name!r}")
            names.add(case.name)
            yield case


def counts(outcomes: Iterable[Outcome]) -> dict[str, dict[str, int]]:
    """By kind and in all: how many cases, how many as expected, and how many of each outcome."""
    table: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        for kind in (outcome.kind, "all"):
            table.setdefault(kind, Counter()).update({"cases": 1, "as expected": int(outcome.met), outcome.outcome: 1})
    total = table.pop("all", Counter())
    return {kind: dict(count) for kind, count in {**table, "all": total}.items()}


def document(versions: dict[str, str | None], table: dict[str, dict[str, int]], outcomes: Sequence[Outcome]) -> str:
    """JSON with a line for each kind and for each case."""
    kinds = ",\n".join(f"  {json.dumps(kind)}: {json.dumps(count)}" for kind, count in table.items())
    cases = ",\n".join(f"  {json.dumps(outcome.to_json(), ensure_ascii=False)}" for outcome in outcomes)
    return f'{{\n "versions": {json.dumps(versions)},\n "counts": {{\n{kinds}\n }},\n "cases": [\n{cases}\n ]\n}}\n'


def show(table: dict[str, dict[str, int]]) -> None:
    """Print the counts."""
    columns = ("cases", "as expected", *OUTCOMES)
    shown = Table("kind", *columns)
    for kind, count in table.items():
        shown.add_row(kind, *(str(count.get(column, 0)) for column in columns))
    Console(width=150).print(shown)


def main(given: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, help="JSON file for every outcome and the counts")
    parser.add_argument("--only", default="", metavar="REGEX", help="cases whose 'kind: name' it finds")
    arguments = parser.parse_args(given)
    cases = [case for case in catalogue() if re.search(arguments.only, f"{case.kind}: {case.name}")]
    outcomes = []
    for case in track(cases, "checkpoints", console=Console(stderr=True)):
        with tempfile.TemporaryDirectory() as folder:
            try:
                outcomes.append(judge(case, Path(folder)))
            except Exception as error:  # a version of a library that the case does not know
                message = f"{type(error).__name__}: {error}"
                outcomes.append(Outcome(case.name, case.kind, case.expect, "not made", message=message))
    table = counts(outcomes)
    show(table)
    if arguments.output:
        versions = {name: _version(name) for name in PACKAGES}
        arguments.output.write_text(document(versions, table, outcomes))
    return int(any(outcome.outcome in FAULTS for outcome in outcomes))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
