"""The three measurements of `ivit-bench`, each as one JSON object with the machine, versions and settings."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ivit_onnx.bench.baselines import Baseline
from ivit_onnx.bench.client import Worker, WorkerError, ask
from ivit_onnx.bench.compare import Plan, compare, export_variants
from ivit_onnx.bench.kernels import compare_kernels
from ivit_onnx.bench.machine import choose_cpus, machine, versions
from ivit_onnx.bench.models import Model
from ivit_onnx.bench.settings import Settings
from ivit_onnx.errors import IvitError

__all__ = ["measure_kernels", "measure_models", "measure_profile"]

PEAK_SECONDS = 0.2
PEAK_ROUNDS = 3

Say = Callable[[str], None]


def measure_models(
    models: Sequence[Model],
    baselines: Sequence[Baseline],
    batches: Sequence[int],
    threads: Sequence[int],
    plan: Plan,
    say: Say,
) -> dict[str, Any]:
    """Time every model at every batch size and number of threads, each case beside the baselines."""
    for count in threads:
        choose_cpus(count)
    result = _result("models", {**asdict(plan), "interleaved": True, "pinned": True}, say)
    result["cases"] = [
        compare(
            model,
            baselines,
            batch=batch,
            threads=count,
            plan=plan,
            peak=_best(result["int8_peak"]["gmacs_per_core"]),
            say=say,
        )
        for model in models
        for batch in batches
        for count in threads
    ]
    return result


def measure_profile(
    models: Sequence[Model], batch: int, threads: int, plan: Plan, runs: int, say: Say
) -> dict[str, Any]:
    """Time by operator and layer of every model, in each way we run it."""
    cpus = choose_cpus(threads)
    result = _result("profile", {"spinning": plan.spinning, "pinned": True, "runs": runs}, say)
    result["profiles"] = []
    for model in models:
        export_variants(model, say)
        for variant in model.variants:
            say(f"{model.label}: profiling {variant.name}")
            job = {
                "path": str(variant.path),
                "arch": model.subject.arch.to_json(),
                "batch": batch,
                "threads": threads,
                "spinning": plan.spinning,
            }
            try:
                profile = ask("profile", cpus=cpus, environment=variant.environment, job=job, runs=runs)
            except WorkerError as error:
                raise IvitError(f"{model.label} cannot be profiled: {error}") from None
            case = {"model": model.label, "name": variant.name, "notes": dict(variant.notes)}
            macs = model.subject.arch.macs().total
            result["profiles"].append({**case, "batch": batch, "threads": threads, "macs_per_image": macs, **profile})
    return result


def measure_kernels(
    models: Sequence[Model], variants: Sequence[str], seconds: float, rounds: int, say: Say
) -> dict[str, Any]:
    """Time single operators of the models on every kernel variant, or on those named, against the peak of its
    instruction."""
    networks = [
        (model.subject.arch, settings)
        for model in models
        for settings in dict.fromkeys(Settings.of(variant.notes) for variant in model.variants)
    ]
    result = _result("kernels", {"threads": 1, "seconds": seconds, "rounds": rounds, "pinned": True}, say)
    result["functions"] = [settings.to_json() for settings in dict.fromkeys(settings for _, settings in networks)]
    peaks: Mapping[str, float] = result["int8_peak"]["gmacs_per_core"]
    chosen = variants or result["int8_peak"]["variants"] or ["portable"]
    result["variants"] = compare_kernels(networks, chosen, peaks, seconds=seconds, rounds=rounds, say=say)
    return result


def _result(kind: str, settings: Mapping[str, Any], say: Say) -> dict[str, Any]:
    """What every result begins with, the measured int8 peak of one core included."""
    say("measuring the int8 peak of a core")
    variants: list[str] = []
    peaks: dict[str, float] = {}
    with Worker(choose_cpus(1)) as worker:
        for _ in range(PEAK_ROUNDS):
            reply = worker.ask("peak", seconds=PEAK_SECONDS)
            variants = reply["variants"]
            peaks = {name: max(peak, peaks.get(name, 0.0)) for name, peak in reply["peaks"].items()}
    return {
        "kind": kind,
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "versions": versions(),
        "settings": dict(settings),
        "int8_peak": {"variants": variants, "gmacs_per_core": peaks},
    }


def _best(peaks: Mapping[str, float]) -> float | None:
    """The peak of the machine: that of its fastest instruction."""
    return max(peaks.values(), default=None)
