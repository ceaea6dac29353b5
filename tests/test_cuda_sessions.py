"""Whole models on the GPU through ONNX Runtime's CUDA provider: the bits of the function bodies on the CPU.

Needs an NVIDIA GPU, onnxruntime-gpu, and a library that was built with CUDA. Where one is missing every test is skipped
with the reason, or fails with it when IVIT_REQUIRE_GPU is set.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import ivit_onnx
from cases import activations, random_case
from graphs import single_operator_model
from ivit_onnx.api import export
from ivit_onnx.bench.cuda.binding import BoundSession, cuda_providers
from ivit_onnx.errors import IvitError, ModelError
from ivit_onnx.opset import OPERATORS
from ivit_onnx.runtime import DEVICES
from networks import SIZE, images, pixels, save_checkpoint, timm_network, timm_swin
from sessions import assert_equal, expected, run

pytestmark = pytest.mark.gpu

Array = np.ndarray[Any, Any]

REQUIRED = "IVIT_REQUIRE_GPU"
PROVIDERS: Sequence[Any] = DEVICES["cuda"]
GRAPHS: Sequence[Any] = cuda_providers(graphs=True)
PLACE = "cuda"
BATCHES = (1, 3, 8)

#: Networks and options of the export; together they have every operator that exported models use.
MODELS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "vit": (lambda: timm_network(class_token=True), {"num_heads": 3}),
    "vit-softmax8": (lambda: timm_network(seed=1), {"num_heads": 3, "softmax_bits": 8}),
    "vit-int8-input": (lambda: timm_network(seed=2), {"num_heads": 3, "softmax_bits": 7, "input": "int8"}),
    "deit": (lambda: timm_network(distilled=True), {"num_heads": 3}),
    "swin": (timm_swin, {"img_size": 32}),
    "vit-table": (lambda: timm_network(seed=3), {"num_heads": 3, "nonlinear": "table"}),
    "swin-table": (timm_swin, {"img_size": 32, "nonlinear": "table"}),
    "swin-padded": (lambda: timm_swin(img_size=36), {"img_size": 36, "softmax_bits": 8}),
}


@pytest.fixture(scope="module", autouse=True)
def gpu(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips where the CUDA provider does not start with our kernels."""
    path = tmp_path_factory.mktemp("probe") / "model.onnx"
    case = random_case("Requantize", np.random.default_rng(0))
    onnx.save(single_operator_model(case, constants=True), path)
    try:
        ivit_onnx.create_session(path, PROVIDERS)
    except IvitError as error:
        if os.environ.get(REQUIRED):
            pytest.fail(str(error))
        pytest.skip(f"no GPU to test on: {error}")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Exports a model once."""
    folder = tmp_path_factory.mktemp("models")

    def file(name: str) -> Path:
        path = folder / f"{name}.onnx"
        if not path.is_file():
            build, options = MODELS[name]
            checkpoint = save_checkpoint(build(), folder / f"{name}.pt")
            size = options.get("img_size", SIZE)
            calibration = [np.resize(image, (3, size, size)) for image in images(16)]
            export(checkpoint, path, calib=calibration, **options)
        return path

    return file


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest, files: Callable[[str], Path]) -> Path:
    return files(request.param)


def batch_for(session: Any, batch: int, seed: int) -> Array:
    """Random images of the type and size that a model takes."""
    (image,) = session.get_inputs()
    random = pixels(batch, seed=seed, size=image.shape[-1])
    return random if image.type == "tensor(uint8)" else random.view(np.int8)


def bodies(path: Path) -> Callable[[Array], Array]:
    """The function bodies on the CPU."""
    session = ivit_onnx.create_session(path, kernels=False)
    return lambda image: np.asarray(session.run(None, {session.get_inputs()[0].name: image})[0])


def on_gpu(session: Any, image: Array) -> Array:
    return np.asarray(session.run(None, {session.get_inputs()[0].name: image})[0])


def fixed(path: Path, batch: int) -> Any:
    """A session with CUDA graphs, for batches of one size."""
    options = onnxruntime.SessionOptions()
    options.add_free_dimension_override_by_name("batch", batch)
    return ivit_onnx.create_session(path, GRAPHS, session_options=options)


@pytest.mark.parametrize("batch", BATCHES)
def test_the_same_bits_as_the_function_bodies(model: Path, batch: int) -> None:
    session, reference = ivit_onnx.create_session(model, PROVIDERS), bodies(model)
    for seed in range(3):
        image = batch_for(session, batch, seed)
        np.testing.assert_array_equal(on_gpu(session, image), reference(image), strict=True)


def test_batches_of_changing_size(model: Path) -> None:
    session, reference = ivit_onnx.create_session(model, PROVIDERS), bodies(model)
    for seed, batch in enumerate((1, 8, 3, 8, 2, 1)):
        image = batch_for(session, batch, seed)
        np.testing.assert_array_equal(on_gpu(session, image), reference(image), strict=True)


def test_every_node_runs_on_the_gpu(model: Path, tmp_path: Path) -> None:
    """And nothing is copied between devices in between."""
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    session = ivit_onnx.create_session(model, PROVIDERS, session_options=options)
    on_gpu(session, batch_for(session, 3, 0))
    nodes = nodes_of(json.loads(Path(session.end_profiling()).read_text(encoding="utf-8")))
    assert nodes
    assert {provider for _, provider in nodes.values()} == {PROVIDERS[0]}
    assert not [name for name, (operator, _) in nodes.items() if operator.startswith("Memcpy")]


def nodes_of(events: Sequence[Any]) -> dict[str, tuple[str, str]]:
    """Operator and provider of every node that ran, by its name."""
    return {
        event["name"].removesuffix("_kernel_time"): (event["args"]["op_name"], event["args"]["provider"])
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
    }


@pytest.mark.parametrize("batch", BATCHES)
def test_replayed_graphs_follow_their_inputs(model: Path, batch: int) -> None:
    session, reference = fixed(model, batch), bodies(model)
    name = session.get_inputs()[0].name
    bound = BoundSession(session, {name: batch_for(session, batch, 0)}, batch, device=PLACE)
    for seed in (0, 1, 2, 1, 3):
        image = batch_for(session, batch, seed)
        bound.update({name: image})
        bound.run()
        (logits,) = bound.outputs().values()
        np.testing.assert_array_equal(logits, reference(image), strict=True)


def test_replays_give_the_same_bits_again(files: Callable[[str], Path]) -> None:
    """Many replays of the same images, where a race would show sooner or later."""
    path = files("deit")
    session = fixed(path, 8)
    image = batch_for(session, 8, 0)
    bound = BoundSession(session, {session.get_inputs()[0].name: image}, 8, device=PLACE)
    wanted = bodies(path)(image)
    for _ in range(200):
        bound.run()
        (logits,) = bound.outputs().values()
        np.testing.assert_array_equal(logits, wanted, strict=True)


@pytest.mark.parametrize("name", ["deit", "swin-padded"])
def test_four_threads_share_a_session(files: Callable[[str], Path], name: str) -> None:
    path = files(name)
    session, reference = ivit_onnx.create_session(path, PROVIDERS), bodies(path)
    batches = [batch_for(session, batch, seed) for seed, batch in enumerate((1, 3, 8, 2))]
    wanted = [reference(image) for image in batches]

    def work(index: int) -> list[Array]:
        return [on_gpu(session, batches[index]) for _ in range(25)]

    with ThreadPoolExecutor(4) as pool:
        for index, outputs in enumerate(pool.map(work, range(4))):
            for output in outputs:
                np.testing.assert_array_equal(output, wanted[index], strict=True)


@pytest.mark.parametrize("graphs", [False, True])
def test_two_sessions_at_once(files: Callable[[str], Path], graphs: bool) -> None:
    """Each has streams of its own; with graphs, each is recorded and replayed by its own thread."""

    def work(name: str) -> None:
        path = files(name)
        session = fixed(path, 3) if graphs else ivit_onnx.create_session(path, PROVIDERS)
        image, reference = batch_for(session, 3, 0), bodies(path)
        wanted = reference(image)
        if graphs:
            bound = BoundSession(session, {session.get_inputs()[0].name: image}, 3, device=PLACE)
        for _ in range(25):
            if graphs:
                bound.run()
                (output,) = bound.outputs().values()
            else:
                output = on_gpu(session, image)
            np.testing.assert_array_equal(output, wanted, strict=True)

    names = ("deit", "swin")
    for name in names:
        files(name)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, names))


@pytest.mark.parametrize("extreme", [False, True], ids=["normal", "extreme"])
@pytest.mark.parametrize("operator", OPERATORS)
def test_operators_equal_their_references(tmp_path: Path, operator: str, extreme: bool) -> None:
    for seed in range(8):
        case = random_case(operator, np.random.default_rng(seed), extreme=extreme, size=1 + 2 * (seed % 2))
        path = tmp_path / f"{seed}.onnx"
        onnx.save(single_operator_model(case, constants=True, functions=False), path)
        assert_equal(run(ivit_onnx.create_session(path, PROVIDERS), case), expected(case))


WITH_PARAMETERS = [name for name, operator in OPERATORS.items() if len(activations(name)) < len(operator.inputs)]


@pytest.mark.parametrize("operator", WITH_PARAMETERS)
def test_parameters_must_be_constant(tmp_path: Path, operator: str) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(single_operator_model(random_case(operator, np.random.default_rng(0)), functions=False), path)
    with pytest.raises(ModelError, match=rf"{operator}: input \w+: expected a constant of the model, which GPUs need"):
        ivit_onnx.create_session(path, PROVIDERS)


def test_verification_on_the_gpu(files: Callable[[str], Path]) -> None:
    from ivit_onnx.verification import verify

    report = verify(files("deit"), device="cuda", count=4)
    assert report.passed
    assert {entry.implementation for entry in report.comparisons} >= {"kernels", "kernels on cuda"}
