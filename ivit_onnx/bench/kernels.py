"""Each kernel variant against its ceiling: single operators on one thread, the variant forced by IVIT_CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ivit_onnx.architectures import Architecture, architecture_from_json
from ivit_onnx.bench.baselines import HINT
from ivit_onnx.bench.client import WorkerError, ask
from ivit_onnx.bench.kernel_models import KernelCase, kernel_cases, kernel_model
from ivit_onnx.bench.machine import choose_cpus
from ivit_onnx.bench.settings import Settings
from ivit_onnx.bench.timing import time_round
from ivit_onnx.errors import IvitError

__all__ = ["KernelTiming", "compare_kernels", "time_kernels"]


@dataclass(frozen=True)
class KernelTiming:
    """One operator at one shape: microseconds of one execution, its multiply-accumulates and output elements."""

    operator: str
    shape: str
    macs: int
    elements: int
    samples: int
    median_us: float
    min_us: float


def compare_kernels(
    networks: Sequence[tuple[Architecture, Settings]],
    variants: Sequence[str],
    peaks: Mapping[str, float],
    *,
    seconds: float,
    rounds: int,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Every operator shape of the networks on every variant, one core. `peaks` in GMAC/s of one core.

    Each of `rounds` starts the variants anew in turn; what is reported is the round with the lowest median, since
    everything that disturbs a kernel makes it slower. Raises IvitError when a variant cannot run here.
    """
    cpus = choose_cpus(1)
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for number in range(rounds):
        for variant in variants:
            say(f"kernels: {variant}, round {number + 1} of {rounds}")
            try:
                reply = ask(
                    "kernels",
                    cpus=cpus,
                    environment={"IVIT_CPU": variant},
                    networks=[{"arch": arch.to_json(), **settings.to_json()} for arch, settings in networks],
                    seconds=seconds,
                )
            except WorkerError as error:
                hint = f": {HINT}" if error.missing else ""
                raise IvitError(f"the kernels {variant} cannot be timed: {error}{hint}") from None
            for timing in reply["kernels"]:
                key = (variant, timing["operator"], timing["shape"])
                if key not in found or timing["median_us"] < found[key]["median_us"]:
                    found[key] = timing
    return [
        {
            "variant": variant,
            "int8_peak_gmacs": peaks.get(variant),
            "kernels": [_rated(timing, peaks.get(variant)) for key, timing in found.items() if key[0] == variant],
        }
        for variant in variants
    ]


def time_kernels(networks: Sequence[Mapping[str, Any]], seconds: float) -> list[KernelTiming]:
    """In a worker: every operator shape, for `seconds` each. A network has its `arch` and Settings as JSON."""
    timings: dict[tuple[str, str], KernelTiming] = {}
    for network in networks:
        for build in kernel_cases(architecture_from_json(network["arch"]), Settings.of(network)):
            case = build()
            if (case.operator, case.shape) not in timings:
                timings[case.operator, case.shape] = _time(case, seconds)
    return list(timings.values())


def _time(case: KernelCase, seconds: float) -> KernelTiming:
    import onnxruntime

    from ivit_onnx.runtime import library_path

    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.register_custom_ops_library(library_path())
    session = onnxruntime.InferenceSession(kernel_model(case), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    kept = []
    for name, array in case.inputs.items():
        kept.append(onnxruntime.OrtValue.ortvalue_from_numpy(array))
        binding.bind_ortvalue_input(name, kept[-1])
    for index in range(case.nodes):
        kept.append(onnxruntime.OrtValue.ortvalue_from_numpy(case.output))
        binding.bind_ortvalue_output(f"y{index}", kept[-1])
    durations = time_round(lambda: session.run_with_iobinding(binding), seconds=seconds, repeat=5, warmup=3)
    micros = np.asarray(durations) * 1e6 / case.nodes
    return KernelTiming(
        operator=case.operator,
        shape=case.shape,
        macs=case.macs,
        elements=case.output.size,
        samples=len(durations),
        median_us=round(float(np.median(micros)), 3),
        min_us=round(float(micros.min()), 3),
    )


def _rated(timing: Mapping[str, Any], peak: float | None) -> dict[str, Any]:
    """The timing with its speed: GMAC/s and fraction of the peak, or elements alone where nothing is multiplied."""
    gmacs = timing["macs"] / timing["median_us"] / 1e3 if timing["macs"] else None
    return {
        **timing,
        "gmacs_per_second": None if gmacs is None else round(gmacs, 2),
        "int8_peak_fraction": None if gmacs is None or not peak else round(gmacs / peak, 4),
        "elements_per_ns": round(timing["elements"] / timing["median_us"] / 1e3, 3),
    }
