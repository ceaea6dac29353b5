"""timm's network in PyTorch: eager, or compiled by a backend that a package of its name brings."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ivit_onnx.bench.job import Job, Run, Start
from ivit_onnx.bench.network import load_network

if TYPE_CHECKING:
    import torch

__all__ = ["compiled", "start", "warmed_up"]

#: Runs that are over before a compiled network counts as started: PyTorch compiles in the first.
FIRST_RUNS = 2


def compiled(network: torch.nn.Module, backend: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """The network after `torch.compile` for each shape it meets; the backend's package registers it on import."""
    import torch

    importlib.import_module(backend)
    return torch.compile(network, backend=backend, dynamic=False)


def warmed_up(compute: Callable[[torch.Tensor], object], image: torch.Tensor) -> Run:
    """One batch as a run, after those in which PyTorch compiles."""
    import torch

    def run() -> object:
        with torch.inference_mode():
            return compute(image)

    for _ in range(FIRST_RUNS):
        run()
    return run


def start(job: Job) -> Start:
    """The job's settings may name a `type` of numbers, and a `backend`, without which the network stays eager."""
    import timm
    import torch

    del timm  # imported here so that the clock does not time it
    torch.set_num_threads(job.threads)
    dtype: Any = getattr(torch, job.config.get("type", "float32"))
    backend = job.config.get("backend")

    def begin() -> Run:
        network, image = load_network(job.arch, job.path).to(dtype), torch.from_numpy(job.floats()).to(dtype)
        if backend:
            return warmed_up(compiled(network, backend), image)

        def run() -> object:
            with torch.inference_mode():
                return network(image)

        return run

    return begin
