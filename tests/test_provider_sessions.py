"""Sessions of IVitExecutionProvider at the edges: what they outlive, how runs stop, what options are refused."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from timm.models.vision_transformer import VisionTransformer

import cpp_programs
import ivit_onnx
from cases import random_case
from graphs import single_operator_model
from ivit_onnx.api import export
from ivit_onnx.errors import IvitError, ModelError
from ivit_onnx.runtime import IVIT
from networks import images, pixels, save_checkpoint, timm_network
from sessions import assert_equal, expected, run

#: Fills freed memory with other bytes: whoever still reads it crashes, instead of finding what was there.
PERTURBED = {**os.environ, "MALLOC_PERTURB_": "165"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    path = folder / "vit.onnx"
    export(save_checkpoint(timm_network(), folder / "vit.pth"), path, calib=images(8), num_heads=3)
    return path


@pytest.fixture(scope="module")
def without_bodies(model: Path) -> Path:
    """The file as a tool leaves it that drops functions."""
    proto = onnx.load(model)
    del proto.functions[:]
    path = model.with_name("without_bodies.onnx")
    onnx.save(proto, path)
    return path


def logits(session: onnxruntime.InferenceSession) -> Any:
    return session.run(None, {"image": pixels(2)})[0]


def plain_options(**options: str) -> onnxruntime.SessionOptions:
    """Session options with the provider, made without this package's sessions."""
    device = next(device for device in ivit_onnx.register() if device.ep_metadata["device"] == "cpu")
    made = onnxruntime.SessionOptions()
    made.add_provider_for_devices([device], options)
    return made


# -- lifetimes

OUTLIVE = """
import gc, sys, numpy as np, onnxruntime, ivit_onnx
image = {"image": np.full((2, 3, 32, 32), 7, np.uint8)}
session = ivit_onnx.create_session(sys.argv[1], provider="ivit-cpu", threads=2)
before = session.run(None, image)[0]
for _ in range(3):
    onnxruntime.unregister_execution_provider_library("IVitExecutionProvider")
    assert (session.run(None, image)[0] == before).all()
    ivit_onnx.register()
    other = ivit_onnx.create_session(sys.argv[1], provider="ivit-cpu", threads=1)
    assert (other.run(None, image)[0] == before).all()
onnxruntime.unregister_execution_provider_library("IVitExecutionProvider")
assert (session.run(None, image)[0] == before).all()
del session, other
gc.collect()
print("done")
"""


def test_a_session_outlives_the_registration(model: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OUTLIVE, model], capture_output=True, text=True, check=False, env=PERTURBED
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


STALE = """
import sys, onnxruntime, ivit_onnx
devices = [device for device in ivit_onnx.register() if device.ep_metadata["device"] == "cpu"]
options = onnxruntime.SessionOptions()
options.add_provider_for_devices(devices, {})
del devices
onnxruntime.unregister_execution_provider_library("IVitExecutionProvider")
try:
    onnxruntime.InferenceSession(sys.argv[1], options, enable_fallback=0)
except Exception as error:
    print(error)
"""


def test_session_options_that_outlive_the_registration(model: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STALE, model], capture_output=True, text=True, check=False, env=PERTURBED
    )
    assert done.returncode == 0, done.stderr
    assert "the library was unregistered after these session options were made" in done.stdout


@pytest.fixture(scope="module")
def outlive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outlive")
    cpp_programs.build(Path(__file__).parent / "cpp", folder)
    return folder / "outlive"


@pytest.mark.parametrize(("outlived", "runs"), [("library", 2), ("environment", 2), ("process", 1)])
def test_a_session_in_cpp_outlives(outlive: Path, model: Path, outlived: str, runs: int) -> None:
    command = [outlive, model, ivit_onnx.library_path(), outlived]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=PERTURBED)
    image = {"image": np.ones((2, 3, 32, 32), np.uint8)}
    first = ivit_onnx.create_session(model).run(None, image)[0].flat[0]
    assert (done.returncode, done.stdout) == (0, f"{first}\n" * runs), done.stderr


# -- stopping


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose runs of 64 images take long, and whose operators take much less."""
    network = VisionTransformer(
        img_size=32, patch_size=4, embed_dim=192, depth=12, num_heads=3, num_classes=10, class_token=True
    ).eval()
    folder = tmp_path_factory.mktemp("slow")
    path = folder / "slow.onnx"
    export(save_checkpoint(network, folder / "slow.pth"), path, calib=images(2), calib_preset="fast")
    return path


@pytest.mark.parametrize("threads", [1, 2])
def test_terminate_stops_a_run(slow: Path, threads: int) -> None:
    session = ivit_onnx.create_session(slow, provider="ivit-cpu", threads=threads)
    image = {"image": pixels(64)}
    started = time.perf_counter()
    wanted = session.run(None, image)[0]
    whole = time.perf_counter() - started
    options = onnxruntime.RunOptions()
    options.log_severity_level = 4
    timer = threading.Timer(whole / 10, lambda: setattr(options, "terminate", True))
    timer.start()
    started = time.perf_counter()
    with pytest.raises(Exception, match="the run was stopped: the terminate flag of its options is set"):
        session.run(None, image, options)
    assert time.perf_counter() - started < 0.7 * whole
    timer.join()
    assert_equal(session.run(None, image)[0], wanted)
    options.terminate = False
    assert_equal(session.run(None, image, options)[0], wanted)


def test_one_run_stops_and_another_goes_on(slow: Path) -> None:
    session = ivit_onnx.create_session(slow, provider="ivit-cpu", threads=2)
    image = {"image": pixels(64)}
    wanted = session.run(None, image)[0]
    stopped, other = onnxruntime.RunOptions(), onnxruntime.RunOptions()
    stopped.log_severity_level = 4
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(session.run(None, image, other)[0]))
    thread.start()
    timer = threading.Timer(0.02, lambda: setattr(stopped, "terminate", True))
    timer.start()
    with pytest.raises(Exception, match="the run was stopped: the terminate flag of its options is set"):
        session.run(None, image, stopped)
    thread.join()
    timer.join()
    assert_equal(results[0], wanted)


# -- what a model may be


def test_a_model_in_memory(model: Path) -> None:
    content = model.read_bytes()
    wanted = logits(ivit_onnx.create_session(model))
    for provider in ("cpu", "ivit-cpu"):
        assert_equal(logits(ivit_onnx.create_session(content, provider=provider)), wanted)


@pytest.mark.parametrize("content", [b"", b"not a model", bytes(range(256))], ids=["empty", "text", "binary"])
def test_a_damaged_model_in_memory(content: bytes) -> None:
    with pytest.raises(ModelError, match=r"^the model in memory cannot be loaded: .") as error:
        ivit_onnx.create_session(content)
    assert "\n" not in str(error.value)


def brings_operators() -> bool:
    return tuple(map(int, onnxruntime.__version__.split(".")[:2])) >= (1, 24)


def test_a_model_without_function_bodies(model: Path, without_bodies: Path) -> None:
    wanted = logits(ivit_onnx.create_session(model))
    assert_equal(logits(ivit_onnx.create_session(without_bodies, provider="ivit-cpu")), wanted)
    if not brings_operators():
        pytest.skip(f"ONNX Runtime {onnxruntime.__version__} takes no operators from a provider; 1.24 does")
    session = onnxruntime.InferenceSession(str(without_bodies), plain_options(), enable_fallback=0)
    assert_equal(logits(session), wanted)


def test_operators_that_the_provider_leaves(tmp_path: Path) -> None:
    """Without bodies, computed parameters: the nodes run on the operators that the provider brings."""
    if not brings_operators():
        pytest.skip(f"ONNX Runtime {onnxruntime.__version__} takes no operators from a provider; 1.24 does")
    case = random_case("IntLinear", np.random.default_rng(2))
    path = tmp_path / "model.onnx"
    onnx.save(single_operator_model(case, constants=False, functions=False), path)
    assert_equal(run(onnxruntime.InferenceSession(str(path), plain_options(), enable_fallback=0), case), expected(case))


def test_sessions_write_nothing(model: Path) -> None:
    """Operators that were added twice would be a warning of ONNX Runtime."""
    code = f"import ivit_onnx; ivit_onnx.create_session({str(model)!r}, provider='ivit-cpu')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


# -- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"thread": "2"},
            r"expected one of threads, max_batch, profile, cuda_graph \(did you mean threads\?\), found 'thread'",
        ),
        ({"cudagraph": "1"}, r"\(did you mean cuda_graph\?\), found 'cudagraph'"),
        ({"Threads": "1"}, r"\(did you mean threads\?\), found 'Threads'"),
        ({"zzz": "1"}, r"expected one of threads, max_batch, profile, cuda_graph, found 'zzz'"),
        ({"": "1"}, r"expected one of threads, max_batch, profile, cuda_graph, found ''"),
        ({"threads": "20000"}, r"threads: expected 1\.\.1024, found '20000'"),
        ({"threads": ""}, r"threads: expected 1\.\.1024, found ''"),
        ({"threads": "1.5"}, r"threads: expected 1\.\.1024, found '1.5'"),
        ({"threads": " 1"}, r"threads: expected 1\.\.1024, found ' 1'"),
        ({"max_batch": "-1"}, r"max_batch: expected 0\.\.1048576, found '-1'"),
        ({"max_batch": "99999999999999999999"}, r"max_batch: expected 0\.\.1048576, found '9999"),
        ({"max_batch": "nan"}, r"max_batch: expected 0\.\.1048576, found 'nan'"),
        ({"profile": "2"}, r"profile: expected 0\.\.1, found '2'"),
        ({"cuda_graph": "yes"}, r"cuda_graph: expected 0\.\.1, found 'yes'"),
    ],
)
def test_wrong_options(model: Path, options: dict[str, str], message: str) -> None:
    if options != {"": "1"}:  # which ONNX Runtime refuses itself
        with pytest.raises(Exception, match=message):
            onnxruntime.InferenceSession(str(model), plain_options(**options), enable_fallback=0)
    with pytest.raises(IvitError) as error:
        ivit_onnx.create_session(model, [(IVIT, options)])
    assert "\n" not in str(error.value)


def test_the_least_and_the_greatest_are_allowed(model: Path) -> None:
    wanted = logits(ivit_onnx.create_session(model))
    for options in ({"threads": 1024, "max_batch": 2}, {"threads": 1, "max_batch": 0, "profile": 0, "cuda_graph": 1}):
        assert_equal(logits(ivit_onnx.create_session(model, [(IVIT, options)], threads=2)), wanted)


def test_there_are_no_context_models(model: Path, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("ep.context_enable", "1")
    options.add_session_config_entry("ep.context_file_path", str(tmp_path / "context.onnx"))
    with pytest.raises(IvitError, match=r"ep\.context_enable: expected 0: this provider .* makes no context models"):
        ivit_onnx.create_session(model, provider="ivit-cpu", session_options=options)
    assert not list(tmp_path.iterdir())
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("ep.context_enable", "0")
    session = ivit_onnx.create_session(model, provider="ivit-cpu", session_options=options)
    assert_equal(logits(session), logits(ivit_onnx.create_session(model)))


# -- other providers


@pytest.mark.parametrize("position", [0, 1])
def test_unchecked_providers_are_refused(model: Path, monkeypatch: pytest.MonkeyPatch, position: int) -> None:
    """Also where they are installed; nothing is started."""
    other = "OpenVINOExecutionProvider"
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [other, "CPUExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", None)
    providers: list[Any] = ["CPUExecutionProvider"]
    providers.insert(position, (other, {"device_type": "CPU"}))
    with pytest.raises(
        IvitError,
        match=r"^create_session: expected providers of CPUExecutionProvider, CUDAExecutionProvider, "
        r"IVitExecutionProvider, found OpenVINOExecutionProvider, which computes int64 as int32, .*"
        r"pass unchecked_providers=True",
    ):
        ivit_onnx.create_session(model, providers)


def test_unchecked_providers_can_be_asked_for(model: Path) -> None:
    """The one that every build of ONNX Runtime for Python has, and that takes no nodes of ours."""
    other = "AzureExecutionProvider"
    if other not in onnxruntime.get_available_providers():
        pytest.skip(f"this build of ONNX Runtime has no {other}")
    providers = [other, "CPUExecutionProvider"]
    with pytest.raises(IvitError, match=f"found {other}, which may return other integers without a word"):
        ivit_onnx.create_session(model, providers)
    session = ivit_onnx.create_session(model, providers, unchecked_providers=True)
    assert session.get_providers() == providers


def test_no_provider_at_all(model: Path) -> None:
    with pytest.raises(IvitError, match="providers: expected at least one, such as CPUExecutionProvider, found none"):
        ivit_onnx.create_session(model, [])


def test_the_provider_consists_of_kernels(model: Path) -> None:
    with pytest.raises(IvitError, match=r"expected no IVitExecutionProvider with kernels=False \(--no-kernels\)"):
        ivit_onnx.create_session(model, provider="ivit-cpu", kernels=False)
