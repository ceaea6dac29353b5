"""The device of ivit-bench --device cuda: its clock, what is asked of it, and its int8 peak."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the export extra is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from ivit_onnx.bench import tables  # noqa: E402
from ivit_onnx.bench.cuda import compare, device  # noqa: E402
from ivit_onnx.bench.cuda.timing import fastest, time_round  # noqa: E402
from ivit_onnx.bench.rounds import Candidate  # noqa: E402
from ivit_onnx.errors import IvitError  # noqa: E402


class Device:
    """A device with a clock: enqueued runs take `milliseconds` each once somebody waits for them."""

    def __init__(self, milliseconds: float = 2.0, overhead: float = 1.0) -> None:
        self.now, self.queued, self.runs, self.waits = 0.0, 0, 0, 0
        self.cost, self.overhead = milliseconds / 1e3, overhead / 1e3

    def run(self) -> None:
        self.queued += 1
        self.runs += 1

    def synchronise(self) -> None:
        self.now += self.queued * self.cost + self.overhead
        self.queued = 0
        self.waits += 1

    def clock(self) -> float:
        return self.now


def test_turn_waits_for_the_device() -> None:
    gpu = Device(milliseconds=2.0, overhead=1.0)
    grouped, single = time_round(gpu.run, gpu.synchronise, seconds=0, repeat=3, warmup=4, group=10, clock=gpu.clock)
    assert grouped == pytest.approx([0.0021] * 3)
    assert single == pytest.approx([0.003] * 3)
    assert (gpu.runs, gpu.waits, gpu.queued) == (4 + 3 * 11, 1 + 3 * 2, 0)


def test_turn_lasts_as_long_as_it_is_told() -> None:
    gpu = Device(milliseconds=1.0, overhead=0.0)
    grouped, single = time_round(gpu.run, gpu.synchronise, seconds=0.1, repeat=1, warmup=0, group=9, clock=gpu.clock)
    assert len(grouped) == len(single) == 10


def test_fastest_group_without_the_first() -> None:
    gpu = Device(milliseconds=1.0, overhead=0.0)
    costs = iter([0.0001, 0.004, 0.002, 0.003])

    def synchronise() -> None:
        gpu.synchronise()
        gpu.cost = next(costs) if gpu.waits % 2 else gpu.cost

    assert fastest(gpu.run, synchronise, runs=5, rounds=3, clock=gpu.clock) == pytest.approx(0.002)
    assert gpu.runs == 20


def test_driver_version(tmp_path: Path) -> None:
    path = tmp_path / "version"
    assert device.driver_version(path) is None
    path.write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (builder@host)\n"
        "GCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)\n"
    )
    assert device.driver_version(path) == "580.95.05"
    path.write_text("no number here")
    assert device.driver_version(path) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"providers": ["CPUExecutionProvider"]}, r"expected CUDAExecutionProvider, found .*onnxruntime-gpu"),
        ({"version": None}, r"expected PyTorch with CUDA"),
        ({"available": False}, r"expected an NVIDIA GPU with a driver for CUDA 13\.2, found none"),
        ({}, None),
    ],
)
def test_device_is_required(monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str | None) -> None:
    state: dict[str, Any] = {"providers": ["CUDAExecutionProvider"], "version": "13.2", "available": True, **change}
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: state["providers"])
    monkeypatch.setattr(torch.version, "cuda", state["version"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: state["available"])
    if message is None:
        device.require()
        return
    with pytest.raises(IvitError, match=message) as error:
        device.require()
    assert "\n" not in str(error.value)


def test_peak_that_no_library_reaches(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(left: Any, right: Any) -> Any:
        raise RuntimeError("_int_mm needs another device")

    monkeypatch.setattr(device, "SIZE", 32)
    monkeypatch.setattr(device, "synchronise", lambda: None)
    monkeypatch.setattr(torch, "_int_mm", refuse)
    monkeypatch.setattr(torch, "randint", lambda *a, device, real=torch.randint, **k: real(*a, **k))
    assert device.int8_peak() is None
    candidate = Candidate("ivit", "ivit", "ivit", Path("m"), {}, rounds=[[1.0]], latencies=[[2.0]], memory={"held": 3})
    candidate.starts.append({"start_seconds": 1.0, "first_run_ms": 1.0, "held_mib": 2.0, "notes": {}})
    assert compare.result_of(candidate, 1, 1000, 1000.0, None)["int8_peak_fraction"] is None
    assert tables.gpu_peak({"int8_peak": {"gmacs_per_second": None, "method": "how"}}) == "unknown (how)"


def test_device_description(monkeypatch: pytest.MonkeyPatch) -> None:
    properties = SimpleNamespace(name="GPU", major=9, minor=0, multi_processor_count=132, total_memory=141 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (3 * 2**20, 10 * 2**20))
    found = device.describe()
    assert (found["name"], found["compute_capability"], found["memory_gib"]) == ("GPU", "9.0", 141.0)
    assert device.used_mib() == 7.0


def test_peak_counts_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU, where the same call exists; the number is that of the clock."""
    monkeypatch.setattr(device, "SIZE", 32)
    monkeypatch.setattr(device, "synchronise", lambda: None)
    monkeypatch.setattr(device, "fastest", lambda run, wait, **options: (run(), 1e-6)[1])
    monkeypatch.setattr(torch, "randint", lambda *a, device, real=torch.randint, **k: real(*a, **k))
    assert device.int8_peak() == pytest.approx(32**3 / 1e-6 / 1e9, abs=0.1)
