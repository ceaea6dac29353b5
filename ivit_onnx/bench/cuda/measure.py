"""The two measurements of `ivit-bench --device cuda`, each as one JSON object with device, versions and settings."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ivit_onnx.bench.baselines import CUDA_HINT, Baseline
from ivit_onnx.bench.client import WorkerError, ask
from ivit_onnx.bench.cuda.compare import compare_on_cuda, job_of
from ivit_onnx.bench.cuda.device import PEAK_METHOD
from ivit_onnx.bench.cuda.timing import GROUP
from ivit_onnx.bench.machine import machine, versions
from ivit_onnx.bench.models import Model
from ivit_onnx.bench.rounds import Plan, Say, export_variants, our_candidates
from ivit_onnx.errors import IvitError, MissingExtraError

__all__ = ["measure_cuda_models", "measure_cuda_profile", "require_device"]


def require_device() -> None:
    """Raises IvitError when there is no GPU to measure on, with the reason."""
    _device(peak=False)


def measure_cuda_models(
    models: Sequence[Model], baselines: Sequence[Baseline], batches: Sequence[int], plan: Plan, say: Say
) -> dict[str, Any]:
    """Time every model at every batch size, each case beside the baselines."""
    settings = {
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "repeat": plan.repeat,
        "starts": plan.starts,
        "group": GROUP,
        "interleaved": True,
    }
    result = _result("cuda-models", settings, say)
    result["cases"] = [
        compare_on_cuda(model, baselines, batch=batch, plan=plan, peak=result["int8_peak"]["gmacs_per_second"], say=say)
        for model in models
        for batch in batches
    ]
    return result


def measure_cuda_profile(models: Sequence[Model], batches: Sequence[int], runs: int, say: Say) -> dict[str, Any]:
    """Time by kernel of every model, in each way we run it, at every batch size."""
    result = _result("cuda-profile", {"runs": runs}, say)
    result["profiles"] = []
    for model in models:
        export_variants(model, say, CUDA_HINT)
        for candidate in our_candidates(model):
            for batch in batches:
                say(f"{model.label}, batch {batch}: profiling {candidate.title}")
                job = job_of(candidate, model, batch)
                try:
                    profile = ask("cuda_profile", environment=candidate.environment, job=job, runs=runs)
                except WorkerError as error:
                    raise IvitError(f"{model.label} cannot be profiled: {error}") from None
                macs = model.subject.arch.macs()
                result["profiles"].append(
                    {
                        "model": model.label,
                        "name": candidate.name,
                        "batch": batch,
                        "macs_per_image": {**asdict(macs), "total": macs.total},
                        **profile,
                        "notes": {**candidate.notes, **profile["notes"]},
                    }
                )
    return result


def _result(kind: str, settings: Mapping[str, Any], say: Say) -> dict[str, Any]:
    """What every result begins with, the device's measured int8 peak included."""
    say("measuring the int8 peak of the GPU")
    found = _device(peak=True)
    return {
        "kind": kind,
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "device": found["device"],
        "versions": versions(),
        "settings": dict(settings),
        "int8_peak": {"method": PEAK_METHOD, "gmacs_per_second": found["int8_peak"]},
    }


def _device(*, peak: bool) -> dict[str, Any]:
    try:
        return ask("cuda_device", peak=peak)
    except WorkerError as error:
        if error.missing:
            raise MissingExtraError(f"--device cuda needs the package {error.missing}: {CUDA_HINT}") from None
        raise IvitError(f"the GPU cannot be used: {error}") from None
