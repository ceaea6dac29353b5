"""How each runtime starts and runs one batch on the GPU. Called in worker processes only.

As in `bench.runners`: a runner takes a job and imports its runtime, the function it returns starts the session, and the
function which that returns runs one batch. A batch is enqueued, not waited for. CUDA graphs are recorded, and networks
compiled, before the start is over, so that the first run is a run like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ivit_onnx.bench.cuda.binding import BoundSession, cuda_providers
from ivit_onnx.bench.job import Job, Run, Start
from ivit_onnx.bench.network import generated_images, load_network
from ivit_onnx.errors import IvitError

__all__ = ["CUDA_RUNNERS"]

#: Runs that are over before a network counts as started: PyTorch compiles in the first and records in the second.
FIRST_RUNS = 3

Array = np.ndarray[Any, Any]
#: Opens a session with these providers.
Open = Callable[[list[tuple[str, dict[str, str]]]], Any]
#: The inputs of a session by name.
Feed = Callable[[Any], Mapping[str, Array]]


def start_ivit(job: Job) -> Start:
    """An exported model with the kernels of this package."""
    import onnxruntime

    import ivit_onnx
    from ivit_onnx.metadata import describe

    del onnxruntime  # imported here so that the clock does not time it

    def feed(session: Any) -> Mapping[str, Array]:
        description = describe(session, job.path)
        images = generated_images(job.batch, job.arch.in_channels, job.arch.image_size)
        uint8 = description.input_type == "uint8"
        return {description.input_name: images if uint8 else description.model_input(job.floats())}

    def open_session(providers: list[tuple[str, dict[str, str]]]) -> Any:
        return ivit_onnx.create_session(job.path, providers, session_options=session_options(job))

    return lambda: start_bound(job, open_session, feed)


def start_onnxruntime(job: Job) -> Start:
    """A model with float inputs in plain ONNX Runtime, with its default optimisations."""
    import onnxruntime

    import ivit_onnx

    del onnxruntime

    def feed(session: Any) -> Mapping[str, Array]:
        (image,) = session.get_inputs()
        return {image.name: job.floats().astype(np.float16 if image.type == "tensor(float16)" else np.float32)}

    def open_session(providers: list[tuple[str, dict[str, str]]]) -> Any:
        return ivit_onnx.create_session(job.path, providers, session_options=session_options(job), kernels=False)

    return lambda: start_bound(job, open_session, feed)


def start_torch(job: Job) -> Start:
    """timm's network in PyTorch, compiled if the job's settings name a mode; attention is timm's fused one."""
    import timm
    import torch

    del timm  # imported here so that the clock does not time it
    dtype, mode = getattr(torch, job.config["type"]), job.config.get("mode")

    def start() -> Run:
        network = load_network(job.arch, job.path).to("cuda", dtype)
        image = torch.from_numpy(job.floats()).to("cuda", dtype)
        compute = torch.compile(network, mode=mode) if mode else network
        job.notes.update({"type": job.config["type"], "mode": mode or "eager"})

        def run() -> object:
            with torch.inference_mode():
                return compute(image)

        for _ in range(FIRST_RUNS):
            run()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()  # what trying out kernels took
        return run

    return start


def start_bound(job: Job, open_session: Open, feed: Feed) -> Run:
    """A session with bound inputs and outputs, with CUDA graphs where ONNX Runtime can record the whole model.

    `notes` say whether it could, and why not. The setting "graphs" of the job can forbid it.
    """
    if job.config.get("graphs") == "off":
        return _bound(job, open_session, feed, graphs=False)
    try:
        return _bound(job, open_session, feed, graphs=True)
    except Exception as error:  # onnxruntime has one exception type for each status
        if isinstance(error, IvitError) and "graph" not in str(error):
            raise
        job.notes["no_cuda_graph_because"] = " ".join(str(error).split())[:300]
    return _bound(job, open_session, feed, graphs=False)  # now that nothing holds the first session any more


def _bound(job: Job, open_session: Open, feed: Feed, *, graphs: bool) -> Run:
    session = open_session(cuda_providers(graphs=graphs))
    bound = BoundSession(session, feed(session), job.batch, wait=False)
    bound.run()
    job.notes["cuda_graph"] = graphs
    return bound.run


def session_options(job: Job) -> Any:
    """ONNX Runtime's options, the same for us and for its own models; the batch size is fixed in advance."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_free_dimension_override_by_name("batch", job.batch)
    return options


CUDA_RUNNERS: dict[str, Callable[[Job], Start]] = {
    "ivit": start_ivit,
    "onnxruntime": start_onnxruntime,
    "torch": start_torch,
}
