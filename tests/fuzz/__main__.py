"""`python -P -m fuzz HARNESS [--seconds N] [--seed N]`: runs random cases until the time is over or one goes wrong.

A finding is written to a folder with the files of its case, and ends the run with status 1.
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

from fuzz import HARNESSES
from fuzz.process import FindingError, Worker
from ivit_onnx.bench.machine import cpu_variants


def report(
    harness: str, seed: int, environment: dict[str, str], finding: FindingError, folder: Path, target: Path
) -> None:
    """Keeps what is needed to see the finding again."""
    place = target / f"{harness}-{seed}"
    place.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("case.*"):
        shutil.copy(file, place)
    settings = "".join(f"{name}={value} " for name, value in environment.items())
    command = f"{settings}PYTHONPATH=tests python -P -m fuzz {harness} --seed {seed} --cases 1"
    (place / "finding.txt").write_text(f"{command}\n\n{finding}\n", encoding="utf-8")
    print(f"FINDING in {place}: {command}\n{finding}", flush=True)


def changes_of(folder: Path) -> list[str]:
    """What a case that went wrong has left about its changes."""
    path = folder / "case.txt"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def fuzz(harness: str, options: argparse.Namespace, folder: Path) -> bool:
    """Whether nothing was found."""
    module = importlib.import_module(f"fuzz.{harness}")
    variants = cpu_variants() if getattr(module, "VARIANTS", False) else []
    environments = [{"IVIT_CPU": variant} for variant in variants] or [{}]
    workers = [Worker(harness, folder, environment) for environment in environments]
    seed = time.time_ns() % 2**40 if options.seed is None else options.seed
    print(f"{harness}: from seed {seed}", flush=True)
    results: Counter[str] = Counter()
    fields: defaultdict[str, Counter[str]] = defaultdict(Counter)
    cases = findings = 0
    start = shown = time.monotonic()

    def line() -> str:
        seconds = time.monotonic() - start
        counts = ", ".join(f"{count} {result}" for result, count in results.most_common())
        return f"{harness}: {cases} cases in {seconds:.0f} s, {cases / seconds:.1f}/s, {findings} findings: {counts}"

    try:
        while (options.cases is None and time.monotonic() < start + options.seconds) or (
            options.cases is not None and cases < options.cases
        ):
            for worker in workers:
                try:
                    result, _, changes = worker.run(seed + cases).partition(" @ ")
                    results[result] += 1
                    for change in changes.split("; ") if changes else []:
                        fields[change][result] += 1
                except FindingError as finding:
                    findings += 1
                    for change in changes_of(folder) if getattr(module, "FIELDS", False) else ():
                        fields[change]["finding"] += 1
                    report(harness, seed + cases, worker.environment, finding, folder, options.findings)
            cases += 1
            if findings and not options.keep_going:
                break
            if time.monotonic() > shown + 60:
                shown = time.monotonic()
                print(line(), flush=True)
    finally:
        for worker in workers:
            worker.stop()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    if options.json is not None:
        counts = {"harness": harness, "seed": seed, "cases": cases, "findings": findings, "results": results}
        options.json.write_text(json.dumps({**counts, "fields": fields}, indent=1, sort_keys=True), encoding="utf-8")
    print(f"{line()}; {used.ru_utime + used.ru_stime:.0f} s of processor time in all", flush=True)
    return findings == 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -P -m fuzz", description=__doc__)
    parser.add_argument("harness", choices=[*HARNESSES, "all"])
    parser.add_argument("--seconds", type=float, default=60, help="for each harness")
    parser.add_argument("--seed", type=int, help="of the first case; others follow it (default: from the clock)")
    parser.add_argument("--cases", type=int, help="instead of seconds")
    parser.add_argument("--keep-going", action="store_true", help="after a finding")
    parser.add_argument("--findings", type=Path, default=Path("findings"), help="folder for what is found")
    parser.add_argument("--json", type=Path, help="file for the counts, also for each field that was changed")
    options = parser.parse_args()
    good = True
    for harness in HARNESSES if options.harness == "all" else [options.harness]:
        with tempfile.TemporaryDirectory() as folder:
            good = fuzz(harness, options, Path(folder)) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
