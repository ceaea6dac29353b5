"""How each runtime starts a session and runs one batch. Called in worker processes only.

A runner takes a job and imports its runtime; the function it returns starts the session, and the function which that
returns runs one batch. What happens in between is what is timed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ivit_onnx.architectures import Architecture, architecture_from_json
from ivit_onnx.bench.network import build_network, float_images, generated_images

__all__ = ["RUNNERS", "Job", "Run", "Start"]

Run = Callable[[], object]
Start = Callable[[], Run]


@dataclass
class Job:
    """What a worker runs: the file `path`, batches of `batch` images on `threads` threads. `notes` fills on start."""

    path: str
    arch: Architecture
    batch: int
    threads: int
    spinning: bool = True
    config: Mapping[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Job:
        return cls(**{**data, "arch": architecture_from_json(data["arch"])})

    def floats(self) -> Any:
        return float_images(self.batch, self.arch.in_channels, self.arch.image_size)


def start_ivit(job: Job) -> Start:
    """An exported model with the kernels of this package, on the input type that its metadata says."""
    import ivit_onnx
    from ivit_onnx.bench.machine import cpu_variant
    from ivit_onnx.metadata import describe

    options = session_options(job)

    def start() -> Run:
        provider = job.config.get("provider", "cpu")
        session = ivit_onnx.create_session(job.path, provider=provider, session_options=options)
        description = describe(session, job.path)
        job.notes["kernels"] = cpu_variant() or "portable"
        images = generated_images(job.batch, job.arch.in_channels, job.arch.image_size)
        feed = images if description.input_type == "uint8" else description.model_input(job.floats())
        return lambda: session.run(None, {description.input_name: feed})

    return start


def start_onnxruntime(job: Job) -> Start:
    """A float-input ONNX model in plain ONNX Runtime, with its default optimisations."""
    import onnxruntime

    options = session_options(job)

    def start() -> Run:
        session = onnxruntime.InferenceSession(job.path, options, providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: job.floats()}
        return lambda: session.run(None, feed)

    return start


def start_openvino(job: Job) -> Start:
    """A model in OpenVINO on CPU, compiled for this batch size and for latency."""
    import openvino

    def start() -> Run:
        core = openvino.Core()
        model = core.read_model(job.path)
        model.reshape([job.batch, job.arch.in_channels, *job.arch.image_size])
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": job.threads, **job.config}
        compiled = core.compile_model(model, "CPU", settings)
        precision = compiled.get_property("INFERENCE_PRECISION_HINT")
        job.notes["inference_precision"] = getattr(precision, "get_type_name", lambda: str(precision))()
        request = compiled.create_infer_request()
        request.set_input_tensor(openvino.Tensor(job.floats()))
        return lambda: request.infer(share_outputs=True)

    return start


def start_torch(job: Job) -> Start:
    """timm's network in PyTorch's eager mode."""
    import timm
    import torch

    del timm  # imported here so that the clock does not time it
    torch.set_num_threads(job.threads)

    def start() -> Run:
        network = build_network(job.arch)
        network.load_state_dict(torch.load(job.path, weights_only=True))
        image = torch.from_numpy(job.floats())

        def run() -> object:
            with torch.inference_mode():
                return network(image)

        return run

    return start


def session_options(job: Job) -> Any:
    """ONNX Runtime's options, the same for us and for its own models; the batch size is fixed in advance.

    Each thread is pinned to a processor of its own: the calling one, which computes too, and those of the pool. Two
    that share a processor for a moment, because a thread of another process has just left, would take twice as long.
    """
    import onnxruntime

    first, *others = sorted(os.sched_getaffinity(0))[: job.threads]
    os.sched_setaffinity(0, [first])
    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if job.spinning else "0")
    if others:
        # ONNX Runtime counts processors from 1.
        affinities = ";".join(str(cpu + 1) for cpu in others)
        options.add_session_config_entry("session.intra_op_thread_affinities", affinities)
    options.add_free_dimension_override_by_name("batch", job.batch)
    return options


RUNNERS: dict[str, Callable[[Job], Start]] = {
    "ivit": start_ivit,
    "onnxruntime": start_onnxruntime,
    "openvino": start_openvino,
    "torch": start_torch,
}
