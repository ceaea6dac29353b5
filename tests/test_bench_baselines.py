"""The baselines of ivit-bench: what each computes, what it says when its packages are missing. Not how fast it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the export extra is not installed")
pytest.importorskip("onnx", reason="the export extra is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

import real_baselines  # noqa: E402

from ivit_onnx.bench import baselines, machine, products, rounds, runners  # noqa: E402
from ivit_onnx.bench.baselines import BASELINES, Baseline, what_is_missing  # noqa: E402
from ivit_onnx.bench.job import Job  # noqa: E402
from ivit_onnx.bench.network import CALIBRATION_IMAGES, build_network, float_images, load_network  # noqa: E402
from ivit_onnx.bench.products import Subject, make, product_path  # noqa: E402
from ivit_onnx.bench.runtimes import litert, pt2e, pytorch  # noqa: E402
from test_bench import TINY  # noqa: E402

Array = np.ndarray[Any, Any]
NAMED = {baseline.name: baseline for baseline in BASELINES["cpu"]}
#: Baselines that compile for a minute.
COMPILED = ("torch-pt2e-int8", "zentorch-bf16")
#: Least signal to noise ratio in decibels, by the last part of the name.
LEAST = {"fp32": 90, "bf16": 30, "int8": 20, "dynamic": 20}
#: QDQ around every operator costs most, on real networks too.
LEAST_OF = {"ort-static-int8": 4}


def least(name: str) -> float:
    name = name.split(",")[0]
    return LEAST_OF.get(name, LEAST[name.split("-")[-1]])


each_baseline = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in COMPILED else name for name in NAMED]
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What several baselines are made from is made once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def process() -> Iterator[None]:
    """Runners pin the process and choose threads, as is right for a worker."""
    cpus, threads = os.sched_getaffinity(0), torch.get_num_threads()
    yield
    os.sched_setaffinity(0, cpus)
    torch.set_num_threads(threads)


def needs(baseline: Baseline) -> None:
    missing = what_is_missing(baseline)
    if missing is not None:
        pytest.skip(missing)


def decibels(found: Array, wanted: Array) -> float:
    assert found.shape == wanted.shape
    noise = np.square(found.astype(np.float64) - wanted).sum()
    return float(10 * np.log10(np.square(wanted, dtype=np.float64).sum() / max(noise, 1e-30)))


def job_of(baseline: Baseline, subject: Subject, batch: int) -> Job:
    path = make(subject, baseline.product.format(batch=batch))
    return Job(str(path), subject.arch, batch, threads=1, config=baseline.config)


def logits_of(output: Any) -> Array:
    """What a run returns, in the form of its runtime."""
    if isinstance(output, torch.Tensor):
        return output.float().numpy()
    return np.array(output if isinstance(output, np.ndarray) else output[0])


def computed(name: str, cache: Path, batch: int) -> Array:
    """The logits of a baseline for generated images."""
    baseline = NAMED[name]
    return logits_of(runners.RUNNERS[baseline.runner](job_of(baseline, Subject.at(cache, TINY, None), batch))()())


@each_baseline
def test_each_computes_the_network(cache: Path, name: str) -> None:
    needs(NAMED[name])
    if name in COMPILED:  # zentorch changes what else PyTorch compiles in its process
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            found = process.submit(computed, name, cache, 3).result()
    else:
        found = computed(name, cache, 3)
    with torch.inference_mode():
        wanted = build_network(TINY)(torch.from_numpy(float_images(3, 3, 32))).numpy()
    assert decibels(found, wanted) > least(name)


@pytest.mark.parametrize("device", BASELINES)
def test_records_name_what_exists(device: str) -> None:
    for baseline in BASELINES[device]:
        path = product_path(Subject(TINY, Path("cache")), baseline.product.format(batch=8))
        assert ("batch8" in path.name) == ("{batch}" in baseline.product)
        assert set(baseline.packages) <= set(machine.PACKAGES)
        assert baseline.about
    assert {baseline.runner for baseline in BASELINES["cpu"]} <= runners.RUNNERS.keys()


@pytest.mark.parametrize(
    ("name", "missing", "reason"),
    [
        ("openvino-int8-dynamic", ("openvino", "nncf"), 'needs openvino and nncf: pip install "ivit-onnx[bench]"'),
        ("litert-dynamic-int8", ("ai_edge_litert",), "needs ai_edge_litert: pip install litert-torch"),
        ("torch-pt2e-int8", ("torchao",), "needs torchao: pip install torchao"),
        ("zentorch-bf16", ("zentorch",), "needs zentorch: pip install zentorch"),
    ],
)
def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, missing: tuple[str, ...], reason: str
) -> None:
    monkeypatch.setattr(baselines, "_installed", lambda package: package not in missing)
    skipped: list[dict[str, str]] = []
    said: list[str] = []
    assert rounds.prepared(Subject.at(tmp_path, TINY, None), [NAMED[name]], 1, skipped, said.append) == []
    assert skipped == [{"name": name, "title": NAMED[name].title, "reason": reason}]
    assert said == []


def test_a_batch_has_a_file_of_its_own_where_the_runtime_wants_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(baselines, "_installed", lambda package: True)
    monkeypatch.setattr(rounds, "ask", lambda do, subject, product: asked.append(product))
    chosen = [NAMED["litert-dynamic-int8"], NAMED["openvino-int8-dynamic"]]
    subject = Subject.at(tmp_path, TINY, None)
    (first, _), (second, _) = (rounds.prepared(subject, chosen, batch, [], lambda text: None) for batch in (1, 8))
    assert asked == ["litert-int8-batch1", "openvino-int8-weights", "litert-int8-batch8", "openvino-int8-weights"]
    assert first.path != second.path


def test_a_worker_gets_the_settings_of_its_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "_installed", lambda package: True)
    subject = Subject.at(tmp_path, TINY, None)
    make(subject, "weights")
    (candidate,) = rounds.prepared(subject, [NAMED["zentorch-bf16"]], 1, [], lambda text: None)
    assert candidate.config == {"type": "bfloat16", "backend": "zentorch"}
    assert candidate.environment == {"TORCHINDUCTOR_FREEZING": "1", "ZENDNNL_MATMUL_ALGO": "2"}


# -- how the runtimes are called, where they need not be installed


def test_litert_converts_for_the_batch_and_runs_on_its_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for LiteRT whose file is the shape of the images it was converted for."""
    threads: list[int] = []

    class Interpreter:
        def __init__(self, path: str, num_threads: int) -> None:
            self.shape = tuple(map(int, Path(path).read_text().split(",")))
            threads.append(num_threads)

        def allocate_tensors(self) -> None:
            self.tensors: dict[int, Array] = {}

        def get_input_details(self) -> list[dict[str, int]]:
            return [{"index": 5}]

        def get_output_details(self) -> list[dict[str, int]]:
            return [{"index": 9}]

        def set_tensor(self, index: int, values: Array) -> None:
            assert values.shape == self.shape
            self.tensors[index] = values

        def invoke(self) -> None:
            self.tensors[9] = self.tensors[5].sum((1, 2, 3))

        def get_tensor(self, index: int) -> Array:
            return self.tensors[index]

    def convert(network: Any, arguments: tuple[Any]) -> Any:
        text = ",".join(map(str, arguments[0].shape))
        return SimpleNamespace(export=lambda path: Path(path).write_text(text))

    class Quantizer:
        def __init__(self, path: str, recipe: str) -> None:
            assert recipe == "dynamic"
            self.text = Path(path).read_text()

        def quantize(self) -> Any:
            return SimpleNamespace(export_model=lambda path: Path(path).write_text(self.text))

    modules = {
        "litert_torch": {"convert": convert},
        "ai_edge_quantizer": {
            "quantizer": SimpleNamespace(Quantizer=Quantizer),
            "recipe": SimpleNamespace(dynamic_wi8_afp32=lambda: "dynamic"),
        },
        "ai_edge_litert": {"interpreter": SimpleNamespace(Interpreter=Interpreter)},
        "ai_edge_litert.interpreter": {"Interpreter": Interpreter},
    }
    for name, members in modules.items():
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
        for member, value in members.items():
            setattr(sys.modules[name], member, value)
    job = job_of(NAMED["litert-dynamic-int8"], Subject.at(tmp_path, TINY, None), 3)
    job.threads = 2
    np.testing.assert_array_equal(litert.start(job)()(), float_images(3, 3, 32).sum((1, 2, 3)))
    assert threads == [2]


def test_a_backend_compiles_the_network_in_its_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ "eager" is a backend that PyTorch has; its package is pretended."""
    monkeypatch.setitem(sys.modules, "eager", ModuleType("eager"))
    subject = Subject.at(tmp_path, TINY, None)
    job = Job(str(make(subject, "weights")), TINY, 2, 1, config={"type": "bfloat16", "backend": "eager"})
    found = pytorch.start(job)()()
    with torch.inference_mode():
        wanted = load_network(TINY, job.path).bfloat16()(torch.from_numpy(job.floats()).bfloat16())
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, wanted)
    with pytest.raises(ModuleNotFoundError, match="no_such_backend"):
        pytorch.start(Job(job.path, TINY, 2, 1, config={"backend": "no_such_backend"}))()


def test_pt2e_calibrates_what_it_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for torchao that counts images and changes nothing."""
    counted: list[int] = []

    def prepare(network: Any, quantizer: str) -> Any:
        assert quantizer == "x86 default"
        network.register_forward_pre_hook(lambda module, arguments: counted.append(len(arguments[0])))
        return network

    x86 = SimpleNamespace(
        X86InductorQuantizer=lambda: SimpleNamespace(set_global=lambda config: f"x86 {config}"),
        get_default_x86_inductor_quantization_config=lambda: "default",
    )
    root = "torchao.quantization.pt2e"
    for name in ("torchao", "torchao.quantization", root, f"{root}.quantize_pt2e", f"{root}.quantizer"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    setattr(sys.modules[f"{root}.quantizer"], "x86_inductor_quantizer", x86)  # noqa: B010
    vars(sys.modules[f"{root}.quantize_pt2e"]).update(prepare_pt2e=prepare, convert_pt2e=lambda network: network)
    monkeypatch.setattr(torch, "compile", lambda network, dynamic: network)
    subject = Subject.at(tmp_path, TINY, None)
    job = Job(str(make(subject, "weights")), TINY, 1, 1)
    run = pt2e.start(job)()
    assert counted == [CALIBRATION_IMAGES, *[1] * pytorch.FIRST_RUNS]
    with torch.inference_mode():
        wanted = load_network(TINY, job.path)(torch.from_numpy(job.floats()))
    torch.testing.assert_close(run(), wanted)


# -- the same recipes on the network whose accuracy is measured


def test_accuracy_is_measured_of_what_is_timed() -> None:
    quantised = {name for name in NAMED if not name.endswith("-fp32")}
    assert quantised < real_baselines.BASELINES.keys()
    for name, baseline in real_baselines.BASELINES.items():
        assert baseline.timed.name == name.split(",")[0]
        if name in NAMED:
            assert (baseline.timed, baseline.changes) == (NAMED[name], {})


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name == "torch-pt2e-int8" else name
        for name in real_baselines.BASELINES
        if "entropy" not in name and "percentile" not in name
    ],
)
def test_each_is_prepared_for_the_real_network(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """On a small network in place of the real one; 5 images are a batch and a part of one."""
    baseline = real_baselines.BASELINES[name]
    if name == "zentorch-bf16":  # by a backend that PyTorch has
        monkeypatch.setitem(sys.modules, "eager", ModuleType("eager"))
        config = {**baseline.timed.config, "backend": "eager"}
        baseline = replace(baseline, timed=replace(baseline.timed, config=config))
    else:
        needs(baseline.timed)

    def tokens_network(cache: Path) -> Any:
        network = build_network(TINY)
        network.forward = network.forward_features
        return network

    monkeypatch.setattr(real_baselines, "tokens_network", tokens_network)
    monkeypatch.setattr(real_baselines, "SIZE", 32)
    images = float_images(5, 3, 32)
    run = real_baselines.prepare(cache, images, baseline, tmp_path)
    with torch.inference_mode():
        wanted = tokens_network(cache)(torch.from_numpy(images)).numpy()
    assert decibels(run(images), wanted) > least(name)


def test_one_that_is_not_installed_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "_installed", lambda package: package != "zentorch")
    pictures: Any = None
    with pytest.raises(real_baselines.BaselineError, match="needs zentorch: pip install zentorch"):
        real_baselines.baseline_features(tmp_path, pictures, real_baselines.BASELINES["zentorch-bf16"])


def test_one_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here because there are no weights."""
    few = np.zeros((1, 3, 8, 8), np.uint8)
    none = np.zeros(1, int)
    pictures = real_baselines.Pictures(few, few, none, few, none, none, [])
    monkeypatch.setattr(baselines, "_installed", lambda package: True)
    with pytest.raises(real_baselines.BaselineError, match=r"failed: FileNotFoundError: .*weights\.pt"):
        real_baselines.baseline_features(tmp_path, pictures, real_baselines.BASELINES["ort-dynamic-int8"])


def test_recipes_are_complete() -> None:
    used = {baseline.product.partition("-batch")[0] for those in BASELINES.values() for baseline in those}
    assert used == products._RECIPES.keys()
