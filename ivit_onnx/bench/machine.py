"""The machine under measurement: its processors, memory, versions, and the native library's view of it."""

from __future__ import annotations

import ctypes
import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import ivit_onnx
from ivit_onnx.bench.baselines import BASELINES
from ivit_onnx.errors import IvitError
from ivit_onnx.runtime import library_path

__all__ = ["choose_cpus", "cpu_variant", "cpu_variants", "int8_peak", "machine", "memory", "reset_peak", "versions"]

#: Packages that decide results: ours, and those of all baselines.
PACKAGES = tuple(
    dict.fromkeys(
        [
            *("onnxruntime", "onnxruntime-gpu", "numpy"),
            *(package for those in BASELINES.values() for baseline in those for package in baseline.packages),
        ]
    )
)

#: Instruction sets that decide how fast integers or bfloat16 are.
FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512vbmi", "avx512_bf16", "amx_int8")


def machine() -> dict[str, Any]:
    """Processor, instruction sets, processors available to this process, memory in GiB,
    processes that were running in the last minute, system."""
    text = _read("/proc/cpuinfo")
    found = {key: match[1].strip() for key in ("model name", "flags") if (match := re.search(rf"{key}\s*:(.*)", text))}
    flags = set(found.get("flags", "").split())
    memory_kib = re.search(r"MemTotal:\s*(\d+)", _read("/proc/meminfo"))
    return {
        "processor": found.get("model name", platform.machine()),
        "instruction_sets": [flag for flag in FLAGS if flag in flags],
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(memory_kib[1]) / 2**20, 1) if memory_kib else None,
        "load": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that take part, as far as they are installed."""
    found = {"python": platform.python_version(), "ivit-onnx": ivit_onnx.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def choose_cpus(threads: int) -> list[int]:
    """The processors that `threads` threads are pinned to: the first ones that this process may use.

    Raises IvitError when there are fewer.
    """
    available = sorted(os.sched_getaffinity(0))
    if not 1 <= threads <= len(available):
        raise IvitError(f"{threads} threads need as many processors; this process may use {len(available)}")
    return available[:threads]


def memory() -> dict[str, float]:
    """Resident memory of this process in MiB: `now`, and `peak` since the start or the last `reset_peak`."""
    text = _read("/proc/self/status")
    sizes = {key: int(size) / 1024 for key, size in re.findall(r"^(VmRSS|VmHWM):\s*(\d+)", text, re.MULTILINE)}
    return {"now": sizes.get("VmRSS", 0.0), "peak": sizes.get("VmHWM", 0.0)}


def reset_peak() -> None:
    """Forget the peak of the resident memory, where the system allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def cpu_variants() -> list[str]:
    """Kernel variants of the library that this machine can run, fastest first; empty when the library cannot say."""
    return [name for name in _text("ivit_cpu_variants").split(",") if name]


def cpu_variant() -> str | None:
    """The kernel variant that the library uses in this process, or None when it cannot say."""
    return _text("ivit_cpu_variant") or None


def int8_peak(variants: Sequence[str], seconds: float) -> dict[str, float]:
    """Measured int8 multiply-accumulates of one core in GMAC/s, for each variant whose instruction can be timed."""
    measure = _symbol("ivit_int8_peak_gmacs")
    if measure is None:
        return {}
    measure.argtypes, measure.restype = [ctypes.c_char_p, ctypes.c_double], ctypes.c_double
    peaks = {variant: float(measure(variant.encode(), seconds)) for variant in variants}
    return {variant: round(peak, 1) for variant, peak in peaks.items() if peak > 0}


def _text(symbol: str) -> str:
    function = _symbol(symbol)
    if function is None:
        return ""
    function.argtypes, function.restype = [], ctypes.c_char_p
    return (function() or b"").decode()


def _symbol(name: str) -> Any:
    """A function of the native library, or None when the library is absent or older than the function."""
    try:
        return getattr(ctypes.CDLL(library_path()), name)
    except (IvitError, OSError, AttributeError):
        return None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
