"""The GPU under measurement: what it is, its memory, its int8 peak. Called in worker processes only.

PyTorch answers all of this. Its context is that of the whole process, so `synchronise` and `used_mib` see ONNX
Runtime's work and memory too.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ivit_onnx.bench.cuda.timing import fastest
from ivit_onnx.errors import IvitError
from ivit_onnx.runtime import CUDA, require_providers

__all__ = ["PEAK_METHOD", "describe", "int8_peak", "require", "synchronise", "used_mib"]

#: Side of the square matrices whose product gives the peak, products in a group, and groups.
SIZE, RUNS, ROUNDS = 8192, 20, 5

PEAK_METHOD = f"torch._int_mm of random int8 matrices of {SIZE} x {SIZE}, the fastest of {ROUNDS} groups of {RUNS}"


def require() -> None:
    """Check that ONNX Runtime and PyTorch can use a GPU. Raises IvitError that says what is missing."""
    import torch

    require_providers([CUDA])
    if torch.version.cuda is None:
        raise IvitError(
            f"expected PyTorch with CUDA, which measures peak and memory, found torch {torch.__version__} without: "
            "install a CUDA build of torch"
        )
    if not torch.cuda.is_available():
        raise IvitError(
            f"expected an NVIDIA GPU with a driver for CUDA {torch.version.cuda}, found none: see whether nvidia-smi "
            "lists one, or measure with --device cpu"
        )


def describe() -> dict[str, Any]:
    """Name, compute capability, multiprocessors, memory, and versions of driver and CUDA."""
    import torch

    properties = torch.cuda.get_device_properties(0)
    return {
        "name": properties.name,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "driver": driver_version(Path("/proc/driver/nvidia/version")),
        "cuda": torch.version.cuda,
    }


def driver_version(path: Path) -> str | None:
    """The version in the text that the kernel module shows, None where there is none."""
    try:
        found = re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return found[1] if found else None


def synchronise() -> None:
    """Wait for all work of this process on the device."""
    import torch

    torch.cuda.synchronize()


def used_mib() -> float:
    """Memory of the device that is in use, by all processes, in MiB.

    The parent lets one process work at a time, so what it grows by while a process works is that process's. Pools of
    ONNX Runtime and PyTorch keep what they took, so what a process holds after a run is the peak of its runs so far.
    """
    import torch

    free, total = torch.cuda.mem_get_info()
    return (total - free) / 2**20


def int8_peak() -> float | None:
    """The int8 multiply-accumulates of the device in GMAC/s that a library reaches; see `PEAK_METHOD`.

    None where the library has no such product for the device.
    """
    import torch

    left = torch.randint(-128, 128, (SIZE, SIZE), dtype=torch.int8, device="cuda")
    # Tensor cores read int8 operands along K: the right one is stored column by column.
    right = torch.randint(-128, 128, (SIZE, SIZE), dtype=torch.int8, device="cuda").t()
    try:
        seconds = fastest(lambda: torch._int_mm(left, right), synchronise, runs=RUNS, rounds=ROUNDS)
    except RuntimeError:
        return None
    return round(SIZE**3 / seconds / 1e9, 1)
