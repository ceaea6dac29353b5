"""How each runtime starts a session and runs one batch. Called in worker processes only.

A runner takes a job and imports its runtime; the function it returns starts the session, and the function which that
returns runs one batch. What happens in between is what is timed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ivit_onnx.bench.job import Job, Run, Start
from ivit_onnx.bench.network import generated_images
from ivit_onnx.bench.runtimes import litert, openvino, pt2e, pytorch

__all__ = ["RUNNERS", "session_options", "start_ivit", "start_onnxruntime"]


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
    "openvino": openvino.start,
    "litert": litert.start,
    "torch": pytorch.start,
    "pt2e": pt2e.start,
}
