"""ivit-bench --device cuda, with a device that is only pretended: what it asks for, measures, and reports.

Sessions of ONNX Runtime are real, but run on the CPU provider; everything that would ask the GPU is replaced.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the export extra is not installed")
onnx = pytest.importorskip("onnx", reason="the export extra is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from commands import MICRO, call, installed  # noqa: E402
from ivit_onnx.bench import contestants, document, race, tables, worker  # noqa: E402
from ivit_onnx.bench.client import WorkerError  # noqa: E402
from ivit_onnx.bench.cuda import binding, compare, device, kernels, measure, runners  # noqa: E402
from ivit_onnx.bench.cuda.timing import fastest, turn  # noqa: E402
from ivit_onnx.bench.network import build_network, float_images  # noqa: E402
from ivit_onnx.bench.products import Subject, make, product_path  # noqa: E402
from ivit_onnx.bench.race import Contestant, Plan  # noqa: E402
from ivit_onnx.bench.runners import Job  # noqa: E402
from ivit_onnx.errors import IvitError, MissingExtraError, ModelError  # noqa: E402
from test_bench import TINY, TINY_SWIN  # noqa: E402

PLAN = Plan(rounds=2, seconds=0.0, repeat=3, starts=2)


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
    grouped, single = turn(gpu.run, gpu.synchronise, seconds=0, repeat=3, warmup=4, group=10, clock=gpu.clock)
    assert grouped == pytest.approx([0.0021] * 3)
    assert single == pytest.approx([0.003] * 3)
    assert (gpu.runs, gpu.waits, gpu.queued) == (4 + 3 * 11, 1 + 3 * 2, 0)


def test_turn_lasts_as_long_as_it_is_told() -> None:
    gpu = Device(milliseconds=1.0, overhead=0.0)
    grouped, single = turn(gpu.run, gpu.synchronise, seconds=0.1, repeat=1, warmup=0, group=9, clock=gpu.clock)
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
    contestant = Contestant(
        "ivit", "ivit", "ivit", Path("m"), {}, rounds=[[1.0]], latencies=[[2.0]], memory={"held": 3}
    )
    contestant.starts.append({"start_seconds": 1.0, "first_run_ms": 1.0, "held_mib": 2.0, "notes": {}})
    assert compare.result_of(contestant, 1, 1000, 1000.0, None)["int8_peak_fraction"] is None
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


# -- sessions with bound inputs


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ivit_onnx.api import export

    path = tmp_path_factory.mktemp("models") / "digits.onnx"
    images = np.random.default_rng(0).integers(0, 256, (8, 3, 32, 32), dtype=np.uint8)
    export(MICRO, path, calib=images, num_heads=2)
    return path


def pixels(count: int, seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)


@pytest.mark.parametrize("wait", [False, True])
def test_bound_session_follows_its_inputs(model: Path, wait: bool) -> None:
    import ivit_onnx

    session = ivit_onnx.create_session(model, threads=1)
    bound = binding.BoundSession(session, {"image": pixels(3, 0)}, 3, wait=wait, device="cpu")
    for seed in (0, 1, 2):
        bound.update({"image": pixels(3, seed)})
        bound.run()
        np.testing.assert_array_equal(
            bound.outputs()["logits"], session.run(None, {"image": pixels(3, seed)})[0], strict=True
        )


def test_providers_ask_for_graphs_and_full_precision() -> None:
    assert binding.cuda_providers(graphs=True) == [
        ("CUDAExecutionProvider", {"use_tf32": "0", "enable_cuda_graph": "1"})
    ]
    assert binding.cuda_providers(graphs=False)[0][1]["enable_cuda_graph"] == "0"


@pytest.mark.parametrize(
    ("name", "type_"),
    [("tensor(float)", np.float32), ("tensor(float16)", np.float16), ("tensor(int32)", np.int32)],
)
def test_element_types(name: str, type_: type[Any]) -> None:
    assert binding.element_type(name) is type_


def job_for(path: Path, **changes: Any) -> Job:
    from ivit_onnx.bench.models import model_file

    subject = model_file(path, Path("cache"), None, []).subject
    return Job.from_json({"path": str(path), "arch": subject.arch.to_json(), "batch": 2, "threads": 1, **changes})


@pytest.fixture
def cpu_runners(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Runners whose sessions and tensors live on the CPU. Lists whether graphs were asked for."""
    asked: list[bool] = []

    def providers(*, graphs: bool) -> list[tuple[str, dict[str, str]]]:
        asked.append(graphs)
        return [("CPUExecutionProvider", {})]

    monkeypatch.setattr(runners, "cuda_providers", providers)
    monkeypatch.setattr(runners, "BoundSession", functools.partial(binding.BoundSession, device="cpu"))
    return asked


def test_ours_runs_with_graphs(model: Path, cpu_runners: list[bool]) -> None:
    job = job_for(model)
    runners.start_ivit(job)()()
    assert cpu_runners == [True]
    assert job.notes == {"cuda_graph": True}


def test_graphs_can_be_forbidden(model: Path, cpu_runners: list[bool]) -> None:
    job = job_for(model, config={"graphs": "off"})
    runners.start_ivit(job)()()
    assert cpu_runners == [False]
    assert job.notes == {"cuda_graph": False}


def test_a_model_that_cannot_be_recorded_runs_without_a_graph(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_for(model)
    runs: list[str] = []

    def bound(job: Job, open_session: Any, feed: Any, *, graphs: bool) -> Any:
        if graphs:
            raise ModelError("m.onnx cannot be loaded: This session cannot use the graph capture feature")
        return lambda: runs.append("without")

    monkeypatch.setattr(runners, "_bound", bound)
    runners.start_ivit(job)()()
    assert runs == ["without"]
    assert "cannot use the graph capture" in job.notes["no_cuda_graph_because"]


def test_other_errors_are_not_taken_for_missing_graphs(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(MissingExtraError, match="expected CUDAExecutionProvider"):
        runners.start_ivit(job_for(model))()


@pytest.mark.parametrize("product", ["float", "half"])
@pytest.mark.parametrize("arch", [TINY, TINY_SWIN], ids=["vit", "swin"])
def test_float_peers_compute_the_network(
    tmp_path: Path, cpu_runners: list[bool], monkeypatch: pytest.MonkeyPatch, product: str, arch: Any
) -> None:
    subject = Subject.at(tmp_path, arch, None)
    path = make(subject, product)
    job = Job(str(path), arch, 2, 1)
    made: list[binding.BoundSession] = []

    def bound(*arguments: Any, **options: Any) -> binding.BoundSession:
        made.append(binding.BoundSession(*arguments, device="cpu", **options))
        return made[-1]

    monkeypatch.setattr(runners, "BoundSession", bound)
    runners.start_onnxruntime(job)()()
    (logits,) = made[0].outputs().values()
    assert logits.dtype == (np.float16 if product == "half" else np.float32)
    with torch.inference_mode():
        expected = build_network(arch)(torch.from_numpy(float_images(2, 3, 32))).numpy()
    np.testing.assert_allclose(logits, expected, atol=0.02 if product == "half" else 1e-3)


@pytest.mark.parametrize("mode", [None, "max-autotune"])
def test_torch_runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str | None) -> None:
    compiled: list[Any] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch, "compile", lambda network, mode: compiled.append(mode) or network)
    keep = torch.nn.Module.to
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, place, dtype: keep(self, dtype))
    keep_tensor = torch.Tensor.to
    monkeypatch.setattr(
        torch.Tensor, "to", lambda self, *a, **k: keep_tensor(self, *(x for x in a if x != "cuda"), **k)
    )
    subject = Subject.at(tmp_path, TINY, None)
    config = {"type": "bfloat16", **({"mode": mode} if mode else {})}
    job = Job(str(make(subject, "weights")), TINY, 2, 1, config=config)
    logits = runners.start_torch(job)()()
    assert logits.dtype == torch.bfloat16
    assert compiled == ([mode] if mode else [])
    assert job.notes == {"type": "bfloat16", "mode": mode or "eager"}


def test_peers_of_the_gpu() -> None:
    chosen = contestants.choose_peers([], "cuda")
    assert [peer.name for peer in chosen] == [
        "ort-fp32",
        "ort-fp16",
        "torch-compile-fp16",
        "torch-compile-bf16",
        "torch-bf16",
    ]
    modes = set(torch._inductor.list_mode_options())
    for peer in chosen:
        assert peer.runner in runners.CUDA_RUNNERS
        product_path(Subject(TINY, Path("cache")), peer.product)
        assert peer.config.get("mode", "max-autotune") in modes
        assert hasattr(torch, peer.config.get("type", "float32"))
    with pytest.raises(IvitError, match="unknown peer 'openvino-int8'; known are ort-fp32, ort-fp16"):
        contestants.choose_peers(["openvino-int8"], "cuda")


# -- the whole measurement, with workers in this process


class LocalWorker:
    """A worker without a process of its own."""

    def __init__(self, cpus: Any = (), environment: Any = None) -> None:
        self.inner = worker._Worker()

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        try:
            reply: dict[str, Any] = json.loads(json.dumps(self.inner.answer({"do": do, **arguments})))
        except ModuleNotFoundError as error:
            raise WorkerError(f"needs {error.name}", missing=error.name) from None
        return reply

    def close(self) -> None:
        self.inner.run = None


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch, cpu_runners: list[bool]) -> list[bool]:
    """A GPU that is the CPU; each contestant holds 5 MiB after its start and 1 MiB more after each turn."""
    used = itertools.count(100.0)
    monkeypatch.setattr(device, "require", lambda: None)
    monkeypatch.setattr(device, "describe", lambda: DEVICE)
    monkeypatch.setattr(device, "int8_peak", lambda: 1000.0)
    monkeypatch.setattr(device, "synchronise", lambda: None)
    monkeypatch.setattr(device, "used_mib", lambda: next(used))
    monkeypatch.setattr(compare, "Worker", LocalWorker)
    monkeypatch.setattr(measure, "ask", lambda do, environment=None, **arguments: LocalWorker().ask(do, **arguments))
    return cpu_runners


DEVICE = {
    "name": "Pretended GPU",
    "compute_capability": "9.0",
    "multiprocessors": 132,
    "memory_gib": 140.0,
    "driver": "580.1.2",
    "cuda": "13.2",
}


@pytest.fixture
def compared(
    pretended: list[bool], monkeypatch: pytest.MonkeyPatch, model: Path, tmp_path: Path
) -> tuple[dict[str, Any], list[str]]:
    from ivit_onnx.bench.models import model_file

    monkeypatch.setattr(contestants, "_installed", lambda package: package != "triton")
    said: list[str] = []
    subject = model_file(model, tmp_path, MICRO, [])
    peers = contestants.choose_peers(["ort-fp16", "torch-compile-fp16"], "cuda")
    result = measure.measure_cuda_models([subject], peers, [1, 2], PLAN, said.append)
    reread: dict[str, Any] = json.loads(json.dumps(result, allow_nan=False))
    return reread, said


def test_comparison(compared: tuple[dict[str, Any], list[str]]) -> None:
    result, said = compared
    assert result["kind"] == "cuda-models"
    assert result["device"] == DEVICE
    assert result["int8_peak"]["gmacs_per_second"] == 1000
    assert "_int_mm" in result["int8_peak"]["method"]
    assert result["settings"]["group"] == 10
    assert any("batch 2: round 2 of 2" in line for line in said)
    assert [case["batch"] for case in result["cases"]] == [1, 2]
    for case in result["cases"]:
        assert [entry["name"] for entry in case["contestants"]] == ["ivit", "ort-fp16"]
        ours, peer = case["contestants"]
        assert ours["ratio"] == 1
        assert peer["ratio"] == pytest.approx(peer["median_ms"] / ours["median_ms"], rel=1e-2)
        for entry in case["contestants"]:
            assert entry["samples"] == 6
            assert entry["start_samples"] == 2
            assert 0 < entry["min_ms"] <= entry["median_ms"] <= entry["p99_ms"]
            assert entry["latency"]["median_ms"] > 0
            assert entry["images_per_second"] == pytest.approx(case["batch"] / entry["median_ms"] * 1e3, rel=1e-2)
            macs = case["macs_per_image"]["total"]
            assert entry["int8_peak_fraction"] == pytest.approx(entry["images_per_second"] * macs / 1e12, abs=1e-4)
            assert entry["notes"]["cuda_graph"] is True
            # The clock of the pretended memory ticks once a question: before and after the start, and each turn.
            assert entry["memory_mib"] == {"session": 1.0, "peak": 3.0}
        (skipped,) = case["skipped"]
        assert skipped["name"] == "torch-compile-fp16"
        assert 'needs triton: pip install "ivit-onnx[gpu,export]"' in skipped["reason"]


def test_tables_and_pages(compared: tuple[dict[str, Any], list[str]], tmp_path: Path) -> None:
    result, _ = compared
    first, second = tables.listings(result)
    assert "batch 2, Pretended GPU" in second.title
    assert [row[0] for row in first.rows] == ["ivit-onnx", "ONNX Runtime fp16"]
    assert len(first.columns) == len(first.rows[0])
    assert any("torch._int_mm" in note for note in first.notes)
    assert any(note.startswith("skipped: torch.compile fp16") for note in first.notes)
    result["cases"][0]["contestants"][1]["notes"].update(cuda_graph=False, no_cuda_graph_because="of a loop")
    assert "no CUDA graph: ONNX Runtime fp16, because of a loop" in next(tables.listings(result)).notes
    section = document.render("11-gpu-comparison", result)
    assert section.startswith("### Gpu comparison\n")
    assert "Pretended GPU, compute capability 9.0" in section
    assert "Without a CUDA graph: " in section
    assert f"{result['cases'][0]['contestants'][1]['median_ms']:.3f}" in section


def test_plot(compared: tuple[dict[str, Any], list[str]], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the bench extra is not installed")
    from ivit_onnx.bench.plot import plot

    plot(compared[0], tmp_path / "speed.png")
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


# -- failures of contestants


class Turns:
    """Contestants whose turns fail in a given round."""

    def __init__(self, failing: dict[str, int]) -> None:
        self.failing, self.order = failing, []

    def start(self, contestant: Contestant, stack: Any) -> Any:
        if self.failing.get(contestant.name) == 0:
            raise WorkerError("does not start")
        return contestant.name

    def turn(self, contestant: Contestant, started: Any, warmup: int) -> None:
        assert started == contestant.name
        contestant.rounds.append([1.0])
        self.order.append((contestant.name, warmup))
        if self.failing.get(contestant.name) == len(contestant.rounds):
            raise WorkerError("out of memory")


def entrants() -> list[Contestant]:
    return [Contestant(name, name.upper(), "r", Path(name), {}, ours=name == "ivit") for name in ("ivit", "a", "b")]


def test_turns_rotate() -> None:
    turns = Turns({})
    race.race(entrants(), [], turns.start, turns.turn, rounds=2, label="m", say=lambda text: None)
    assert turns.order == [("ivit", 4), ("a", 4), ("b", 4), ("a", 2), ("b", 2), ("ivit", 2)]


@pytest.mark.parametrize("when", [0, 1, 2])
def test_a_peer_that_fails_is_skipped(when: int) -> None:
    turns = Turns({"a": when})
    field, skipped = entrants(), []
    race.race(field, skipped, turns.start, turns.turn, rounds=3, label="m", say=lambda text: None)
    assert [contestant.name for contestant in field] == ["ivit", "b"]
    assert skipped == [
        {"name": "a", "title": "A", "reason": f"failed: {'out of memory' if when else 'does not start'}"}
    ]
    assert all(len(contestant.rounds) == 3 for contestant in field)


@pytest.mark.parametrize("when", [0, 2])
def test_our_own_failure_ends_the_race(when: int) -> None:
    turns = Turns({"ivit": when})
    with pytest.raises(IvitError, match="IVIT failed: "):
        race.race(entrants(), [], turns.start, turns.turn, rounds=3, label="m", say=lambda text: None)


# -- time by kernel

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


def test_profile_of_models(pretended: list[bool], monkeypatch: pytest.MonkeyPatch, model: Path, tmp_path: Path) -> None:
    from ivit_onnx.bench.models import model_file

    # The first look into a graph finds nothing: the profile is taken without one.
    traces = iter([[], TRACE[:2], [], TRACE, [], TRACE])
    monkeypatch.setattr(kernels, "traced", lambda work: next(traces))
    subject = model_file(model, tmp_path, None, [])
    result = measure.measure_cuda_profile([subject], [1, 8], 2, lambda text: None)
    assert pretended == [True, False, True]
    without, with_graph = result["profiles"]
    assert (without["batch"], without["notes"]["cuda_graph"]) == (1, False)
    assert (with_graph["batch"], with_graph["notes"]["cuda_graph"]) == (8, True)
    first, second = tables.listings(result)
    assert first.rows[0][0].startswith("ivit::cuda::gemm_kernel")
    assert len(first.columns) == len(first.rows[0])
    assert "without a CUDA graph" in first.notes
    assert "without a CUDA graph" not in second.notes
    assert "| `small` | 0.5 |" in document.render("12-gpu-kernels", result)


# -- the command


def test_without_a_gpu_there_is_one_line(model: Path) -> None:
    """The installed command, with its worker process."""
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers() and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    message = installed("bench", model, "--compare", "--batch", "1", "8", "--device", "cuda").error()
    assert "expected" in message
    assert "found" in message


def test_missing_torch_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(do: str, **arguments: Any) -> Any:
        raise WorkerError("needs torch", missing="torch")

    monkeypatch.setattr(measure, "ask", ask)
    with pytest.raises(MissingExtraError, match=r'needs the package torch: pip install "ivit-onnx\[gpu,export\]"'):
        measure.require_device()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--threads", "2"), "--threads is for --device cpu"),
        (("--cpu", "avx2"), "--cpu is for --device cpu"),
        (("--no-spinning",), "--no-spinning is for --device cpu"),
        (("--kernels",), "--kernels is for --device cpu"),
        (("--compare", "--peers", "openvino-int8"), "unknown peer 'openvino-int8'; known are ort-fp32, ort-fp16"),
        (("--device", "tpu"), "(see ivit-bench --help)"),
    ],
)
def test_options_that_do_not_go_together(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert message in call(capsys, "bench", "m.onnx", "--device", "cuda", *arguments).error()


def test_command(capsys: pytest.CaptureFixture[str], pretended: list[bool], model: Path, tmp_path: Path) -> None:
    quick = ("--rounds", "1", "--seconds", "0", "--repeat", "1", "--starts", "1", "--cache", tmp_path)
    result = call(capsys, "bench", model, "--device", "cuda", "--batch", "1", "8", *quick)
    assert (result.status, result.err) == (0, "")
    assert "digits.onnx, batch 8, Pretended GPU:" in result.out
    assert "latency ms" in result.out


def test_everything_is_finite(compared: tuple[dict[str, Any], list[str]]) -> None:
    for case in compared[0]["cases"]:
        for entry in case["contestants"]:
            assert all(math.isfinite(value) for value in entry.values() if isinstance(value, float))


def test_parent_needs_no_torch() -> None:
    """Whoever gives the turns makes no CUDA context."""
    modules = "compare, measure, device, kernels, runners, timing, binding"
    code = (
        f"import sys\nfrom ivit_onnx.bench.cuda import {modules}\nprint({{'torch', 'onnxruntime'}} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out == "set()\n"
