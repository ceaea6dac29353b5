"""Time by kernel: traces of PyTorch's profiler, and when they are taken."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the export extra is not installed")

from ivit_onnx.bench.cuda import kernels  # noqa: E402

LONG = (
    "void ivit::cuda::(anonymous namespace)::gemm_kernel<ivit::cuda::Tile<(int)128, (int)64>, (bool)1>"
    "(signed char const*, int)"
)


def event(name: str, start: float, duration: float, category: str = "kernel", **arguments: Any) -> dict[str, Any]:
    return {"ph": "X", "cat": category, "name": name, "ts": start, "dur": duration, "args": arguments}


TRACE = [
    {"ph": "M", "name": "process_name", "args": {"name": "python"}},
    event("cudaGraphLaunch", 0.0, 50.0, "cuda_runtime"),
    event(LONG, 10.0, 8.0, **{"grid": [4, 1, 1], "block": [256, 1, 1], "registers per thread": 96}),
    event(LONG, 20.0, 10.0),
    event("Memset (Device)", 30.0, 1.0, "gpu_memset"),
    event(LONG, 60.0, 12.0),
    event(LONG, 72.0, 10.0),
    event("small(int)", 90.0, 20.0),
]


def test_kernels_are_grouped_by_name() -> None:
    profile = kernels.read_trace(TRACE, runs=2)
    assert profile["run_us"] == (110 - 10) / 2
    assert profile["busy_us"] == 61 / 2
    gemm, small, memset = profile["kernels"]
    assert gemm["name"] == "ivit::cuda::gemm_kernel<ivit::cuda::Tile<128, 64>, 1>"
    assert gemm["full_name"] == LONG
    assert (gemm["count"], gemm["median_us"], gemm["total_us"]) == (2, 10, 20)
    assert (gemm["registers"], gemm["grid"], gemm["shared_bytes"]) == (96, [4, 1, 1], None)
    assert gemm["share"] == pytest.approx(40 / 61, abs=1e-4)
    assert (small["name"], small["count"]) == ("small", 0.5)
    assert memset["name"] == "Memset (Device)"


def test_a_trace_without_kernels() -> None:
    with pytest.raises(kernels.NoKernelsError, match="CUPTI is missing"):
        kernels.read_trace(TRACE[:2], runs=1)


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("kernel", "kernel"),
        (
            "void at::native::f<float, at::native::(anonymous namespace)::G>(float*)",
            "at::native::f<float, at::native::G>",
        ),
        ("std::enable_if<(a)>::g(int)", "std::enable_if<(a)>::g"),
        ("f<{lambda(int)#1}>::{lambda(float)#2}::operator", "f<{lambda(int)#1}>::{lambda(float)#2}::operator"),
        ("Memcpy DtoD (Device -> Device)", "Memcpy DtoD (Device -> Device)"),
        ("sm90_xmma_gemm_i8i8_i8i32_f32_tn_n", "sm90_xmma_gemm_i8i8_i8i32_f32_tn_n"),
    ],
)
def test_short_names(name: str, short: str) -> None:
    assert kernels.short_name(name) == short


def test_profiler_writes_a_trace_that_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the installed PyTorch, whose profiler may have no GPU to see here: processors instead."""
    activity = torch.profiler.ProfilerActivity
    assert activity.CUDA
    monkeypatch.setattr(torch.profiler, "ProfilerActivity", SimpleNamespace(CUDA=activity.CPU))
    events = kernels.traced(lambda: torch.zeros(3) + 1)
    (addition,) = [event for event in events if event.get("cat") == "cpu_op" and event["name"] == "aten::add"]
    assert addition["dur"] >= 0
    assert {"ts", "args"} <= addition.keys()


def test_profile_starts_before_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def traced(work: Any) -> list[Any]:
        order.append("traced")
        work()
        return TRACE

    monkeypatch.setattr(kernels, "traced", traced)

    def start() -> Any:
        order.append("start")
        return lambda: order.append("run")

    found = kernels.record(start, lambda: order.append("wait"), runs=2)
    assert order == ["traced", "wait", "start", "run", "run", "run", "wait", "traced", "run", "run", "wait"]
    assert found["runs"] == 2
