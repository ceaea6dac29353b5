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
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the export extra is not installed")
onnx = pytest.importorskip("onnx", reason="the export extra is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from commands import MICRO, call, installed  # noqa: E402
from ivit_onnx.bench import baselines, performance_page, tables, worker  # noqa: E402
from ivit_onnx.bench.client import WorkerError  # noqa: E402
from ivit_onnx.bench.cuda import binding, compare, device, kernels, measure, runners  # noqa: E402
from ivit_onnx.bench.network import build_network, float_images  # noqa: E402
from ivit_onnx.bench.products import Subject, make, product_path  # noqa: E402
from ivit_onnx.bench.rounds import Plan  # noqa: E402
from ivit_onnx.bench.runners import Job  # noqa: E402
from ivit_onnx.errors import IvitError, MissingExtraError, ModelError  # noqa: E402
from test_bench import TINY, TINY_SWIN  # noqa: E402
from test_bench_cuda_kernels import TRACE  # noqa: E402

PLAN = Plan(rounds=2, seconds=0.0, repeat=3, starts=2)


# -- sessions with bound inputs


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ivit_onnx.api import export

    path = tmp_path_factory.mktemp("models") / "digits.onnx"
    images = np.random.default_rng(0).integers(0, 256, (8, 3, 32, 32), dtype=np.uint8)
    export(MICRO, path, calib=images, num_heads=2, nonlinear="table")
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
def test_float_baselines_compute_the_network(
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


def test_baselines_of_the_gpu() -> None:
    chosen = baselines.choose_baselines([], "cuda")
    assert [baseline.name for baseline in chosen] == [
        "ort-fp32",
        "ort-fp16",
        "torch-compile-fp16",
        "torch-compile-bf16",
        "torch-bf16",
    ]
    modes = set(torch._inductor.list_mode_options())
    for baseline in chosen:
        assert baseline.runner in runners.CUDA_RUNNERS
        product_path(Subject(TINY, Path("cache")), baseline.product)
        assert baseline.config.get("mode", "max-autotune") in modes
        assert hasattr(torch, baseline.config.get("type", "float32"))
    with pytest.raises(IvitError, match="unknown baseline 'openvino-int8'; known are ort-fp32, ort-fp16"):
        baselines.choose_baselines(["openvino-int8"], "cuda")


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
    """A GPU that is the CPU; each candidate holds 5 MiB after its start and 1 MiB more after each round."""
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

    monkeypatch.setattr(baselines, "_installed", lambda package: package != "triton")
    said: list[str] = []
    subject = model_file(model, tmp_path, MICRO, [])
    chosen = baselines.choose_baselines(["ort-fp16", "torch-compile-fp16"], "cuda")
    result = measure.measure_cuda_models([subject], chosen, [1, 2], PLAN, said.append)
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
        ours, baseline = case["contestants"]
        assert ours["ratio"] == 1
        assert baseline["ratio"] == pytest.approx(baseline["median_ms"] / ours["median_ms"], rel=1e-2)
        for entry in case["contestants"]:
            assert entry["samples"] == 6
            assert entry["start_samples"] == 2
            assert 0 < entry["min_ms"] <= entry["median_ms"] <= entry["p99_ms"]
            assert entry["latency"]["median_ms"] > 0
            assert entry["images_per_second"] == pytest.approx(case["batch"] / entry["median_ms"] * 1e3, rel=1e-2)
            macs = case["macs_per_image"]["total"]
            assert entry["int8_peak_fraction"] == pytest.approx(entry["images_per_second"] * macs / 1e12, abs=1e-4)
            assert entry["notes"]["cuda_graph"] is True
            # The clock of the pretended memory ticks once per question: before and after the start, and each round.
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
    assert first.notes[0] == "ivit-onnx: softmax of 15 bits and GELU by tables"
    assert any("torch._int_mm" in note for note in first.notes)
    assert any(note.startswith("skipped: torch.compile fp16") for note in first.notes)
    result["cases"][0]["contestants"][1]["notes"].update(cuda_graph=False, no_cuda_graph_because="of a loop")
    assert "no CUDA graph: ONNX Runtime fp16, because of a loop" in next(tables.listings(result)).notes
    section = performance_page.render("11-gpu-comparison", result)
    assert section.startswith("### Gpu comparison\n")
    assert "Pretended GPU, compute capability 9.0" in section
    assert "ivit-onnx: softmax of 15 bits and GELU by tables." in section
    assert "Without a CUDA graph: " in section
    assert f"{result['cases'][0]['contestants'][1]['median_ms']:.3f}" in section


def test_plot(compared: tuple[dict[str, Any], list[str]], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the bench extra is not installed")
    from ivit_onnx.bench.plot import plot

    plot(compared[0], tmp_path / "speed.png")
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


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
    assert first.title.startswith("digits.onnx, softmax of 15 bits and GELU by tables, batch 1")
    assert first.rows[0][0].startswith("ivit::cuda::gemm_kernel")
    assert len(first.columns) == len(first.rows[0])
    assert "without a CUDA graph" in first.notes
    assert "without a CUDA graph" not in second.notes
    assert "| `small` | 0.5 |" in performance_page.render("12-gpu-kernels", result)


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
        (("--compare", "--peers", "openvino-int8"), "unknown baseline 'openvino-int8'; known are ort-fp32, ort-fp16"),
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
    """Whoever interleaves the rounds makes no CUDA context."""
    modules = "compare, measure, device, kernels, runners, timing, binding"
    code = (
        f"import sys\nfrom ivit_onnx.bench.cuda import {modules}\nprint({{'torch', 'onnxruntime'}} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out == "set()\n"
