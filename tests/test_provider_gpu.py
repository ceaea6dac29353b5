"""IVitExecutionProvider on a GPU, with the plain onnxruntime wheel: on the emulator, and on a GPU if there is one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from ivit_onnx.runtime import IVIT
from networks import pixels
from sessions import SILENT, assert_equal
from test_provider import NETWORKS, batch, models

__all__ = ["models"]

#: Where `make test` says it has built the libraries.
LIBRARIES = {"emulator": "IVIT_EMULATED_LIBRARY", "gpu": "IVIT_CUDA_LIBRARY"}


@pytest.fixture(scope="module", params=["emulator", pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The provider's first GPU, of a library beside the package's own."""
    path = os.environ.get(LIBRARIES[request.param], "")
    if not Path(path).is_file():
        pytest.skip(f"{LIBRARIES[request.param]} names no library; see docs/gpu.md")
    onnxruntime.register_execution_provider_library(request.param, path)
    gpus = [
        found
        for found in onnxruntime.get_ep_devices()
        if found.ep_name == IVIT and (found.ep_metadata["device"], found.ep_metadata["library_path"]) == ("cuda", path)
    ]
    if not gpus:
        pytest.skip("there is no NVIDIA GPU, or no driver for it")
    yield gpus[0]
    gpus.clear()
    onnxruntime.unregister_execution_provider_library(request.param)


def compiled(path: Path, device: Any, **options: str) -> onnxruntime.InferenceSession:
    session_options = onnxruntime.SessionOptions()
    session_options.log_severity_level = SILENT
    session_options.add_provider_for_devices([device], options)
    return onnxruntime.InferenceSession(str(path), session_options)


def bodies(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("graph", ["0", "1"], ids=["launches", "recorded"])
@pytest.mark.parametrize("name", NETWORKS)
def test_equals_function_bodies(models: dict[str, Path], device: Any, name: str, graph: str) -> None:
    session, reference = compiled(models[name], device, cuda_graph=graph), bodies(models[name])
    for count in (1, 3, 1, 2):
        image = {"image": batch(name, count, seed=count)}
        assert_equal(tuple(session.run(None, image)), tuple(reference.run(None, image)))


def test_standard_operators_around(models: dict[str, Path], device: Any, tmp_path: Path) -> None:
    """What the provider leaves, here at the end and within a block, runs on the CPU, with copies between."""
    model = onnx.load(models["flat vit"])
    (head,) = [node for node in model.graph.node if "logits" in node.output]
    head.output[0] = "before"
    model.graph.node.append(onnx.helper.make_node("Neg", ["before"], ["logits"], "end"))
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info("score"))
    onnx.save(model, tmp_path / "model.onnx")
    image = {"image": pixels(2)}
    session = compiled(tmp_path / "model.onnx", device)
    assert_equal(tuple(session.run(None, image)), tuple(bodies(tmp_path / "model.onnx").run(None, image)))


@pytest.mark.parametrize("name", ["vit", "flat swin"])
def test_takes_the_whole_graph(
    models: dict[str, Path], device: Any, name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IVIT_EP_LOG", "1")
    compiled(models[name], device).run(None, {"image": pixels(2)})
    log = capfd.readouterr().err
    assert log.count("operators for the GPU") == 1
    assert "leaves" not in log
    packed, scratch = (re.search(pattern, log) for pattern in (r"(\d+) bytes of packed", r"(\d+) of scratch memory"))
    assert packed is not None
    assert int(packed[1]) > 20_000
    assert scratch is not None
    assert int(scratch[1]) > 0


def test_no_images(models: dict[str, Path], device: Any) -> None:
    assert compiled(models["vit"], device).run(None, {"image": pixels(0)})[0].shape == (0, 7)


def test_several_threads_and_sessions(models: dict[str, Path], device: Any) -> None:
    cases = []
    for name in ("vit", "average"):
        session, reference = compiled(models[name], device), bodies(models[name])
        for count in (1, 2):
            image = {"image": pixels(count, seed=count)}
            cases.append((session, image, reference.run(None, image)[0]))
    with ThreadPoolExecutor(4) as pool:
        futures = [(pool.submit(s.run, None, image), wanted) for s, image, wanted in cases * 3]
        for future, wanted in futures:
            np.testing.assert_array_equal(future.result()[0], wanted)


def test_tensors_stay_on_the_device(models: dict[str, Path], device: Any) -> None:
    """IO binding with tensors in the provider's memory; the same binding runs again with other pixels."""
    session, reference = compiled(models["vit"], device), bodies(models["vit"])
    place = ("gpu", 0, 0x10DE)
    image = onnxruntime.OrtValue.ortvalue_from_numpy(pixels(2), *place)
    logits = onnxruntime.OrtValue.ortvalue_from_shape_and_type([2, 7], np.int32, *place)
    binding = session.io_binding()
    binding.bind_ortvalue_input("image", image)
    binding.bind_ortvalue_output("logits", logits)
    for seed in range(3):
        image.update_inplace(pixels(2, seed=seed))
        session.run_with_iobinding(binding)
        np.testing.assert_array_equal(logits.numpy(), reference.run(None, {"image": pixels(2, seed=seed)})[0])
