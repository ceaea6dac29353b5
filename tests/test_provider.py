"""IVitExecutionProvider: the compiled graph gives the integers of the function bodies."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument
from timm.models.swin_transformer import SwinTransformer

import cpp_programs
import ivit_onnx
from cases import random_case
from graphs import single_operator_model, with_opset_version
from ivit_onnx.api import export
from ivit_onnx.errors import IvitError, ModelError
from ivit_onnx.opset import OPERATORS, OPSET_VERSION
from ivit_onnx.opset.generators import standard_versions
from ivit_onnx.runtime import IVIT
from networks import images, pixels, save_checkpoint, timm_network
from sessions import assert_equal, expected, run

VERSIONS = Path(__file__).parents[1] / "custom_ops" / "ep" / "standard_versions.inc"

SWIN: dict[str, Any] = {
    "img_size": 32,
    "patch_size": 4,
    "embed_dim": 24,
    "depths": (2, 2),
    "num_heads": (2, 4),
    "window_size": 4,
    "num_classes": 5,
}


def swin() -> SwinTransformer:
    return SwinTransformer(**SWIN).eval()


#: Networks by name, with the options of export.
NETWORKS: dict[str, tuple[Any, dict[str, Any]]] = {
    "vit": (timm_network, {"num_heads": 3}),
    "distilled": (lambda: timm_network(distilled=True), {"num_heads": 3}),
    "average": (lambda: timm_network(global_pool="avg"), {"num_heads": 3}),
    "features": (lambda: timm_network(num_classes=0), {"num_heads": 3}),
    "int8": (timm_network, {"num_heads": 3, "input": "int8"}),
    "swin": (swin, {"img_size": 32}),
    "table": (timm_network, {"num_heads": 3, "nonlinear": "table"}),
    "swin-table": (swin, {"img_size": 32, "nonlinear": "table", "softmax_bits": 8}),
}
NETWORKS = {name: (network, {"nonlinear": "ivit", **options}) for name, (network, options) in NETWORKS.items()}
NETWORKS |= {f"flat {name}": (network, {**options, "flat": True}) for name, (network, options) in NETWORKS.items()}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    paths = {}
    for name, (network, options) in NETWORKS.items():
        checkpoint = save_checkpoint(network(), folder / f"{name}.pth")
        paths[name] = folder / f"{name}.onnx"
        export(checkpoint, paths[name], calib=images(8), **options)
    return paths


def batch(name: str, count: int, seed: int = 0) -> np.ndarray[Any, Any]:
    image = pixels(count, seed)
    return (image.astype(np.int16) - 128).astype(np.int8) if name.endswith("int8") else image


def compiled(path: Path, **options: Any) -> onnxruntime.InferenceSession:
    return ivit_onnx.create_session(path, provider="ivit-cpu", **options)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("threads", [1, 2])
def test_equals_function_bodies(models: dict[str, Path], name: str, threads: int) -> None:
    bodies = ivit_onnx.create_session(models[name], kernels=False)
    session = compiled(models[name], threads=threads)
    assert IVIT in session.get_providers()
    for count in (1, 3, 8):
        image = {"image": batch(name, count, seed=count)}
        assert_equal(tuple(session.run(None, image)), tuple(bodies.run(None, image)))


@pytest.mark.parametrize("name", NETWORKS)
def test_takes_the_whole_graph(models: dict[str, Path], name: str, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    session = compiled(models[name], session_options=options)
    session.run(None, {"image": batch(name, 2)})
    events = json.loads(Path(session.end_profiling()).read_text())
    nodes = Counter(event["args"]["provider"] for event in events if event.get("cat") == "Node")
    assert nodes == {IVIT: 1}


@pytest.mark.parametrize("operator", OPERATORS)
def test_compiles_every_operator(operator: str, tmp_path: Path) -> None:
    case = random_case(operator, np.random.default_rng(1))
    path = tmp_path / "model.onnx"
    for functions in (True, False):
        onnx.save(single_operator_model(case, constants=True, functions=functions), path)
        assert_equal(run(compiled(path), case), expected(case))


@pytest.mark.parametrize("operator", ["IntLinear", "IntAttention", "IntMlpAddNorm"])
def test_computed_parameters_are_left_to_the_kernels(operator: str, tmp_path: Path) -> None:
    case = random_case(operator, np.random.default_rng(2))
    path = tmp_path / "model.onnx"
    onnx.save(single_operator_model(case, constants=False), path)
    assert_equal(run(compiled(path), case), expected(case))


def test_an_operator_of_others_splits_the_graph(tmp_path: Path) -> None:
    """ivit, standard, ivit: two compiled graphs with a node of the CPU provider between them."""
    case = random_case("IntLayerNorm16", np.random.default_rng(3))
    parameters = {name: array for name, array in case.inputs.items() if name != "x"}
    norm = [helper.make_node("IntLayerNorm16", [x, *parameters], [y], domain="ivit") for x, y in ("xa", "by")]
    graph = helper.make_graph(
        [norm[0], helper.make_node("Neg", ["a"], ["b"]), norm[1]],
        "split",
        [helper.make_tensor_value_info("x", onnx.TensorProto.INT16, ["n", "t", case.inputs["x"].shape[-1]])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.INT16, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in parameters.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ivit", 1)]
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    reference = OPERATORS["IntLayerNorm16"].reference
    wanted = reference(-reference(case.inputs["x"], *parameters.values()), *parameters.values())
    result = subprocess.run(
        [sys.executable, "-c", LOG_SCRIPT, str(path)], capture_output=True, text=True, check=True, env=logging()
    )
    assert result.stderr.count("ivit: takes 1 nodes") >= 2
    assert "ivit: leaves Neg: operators of the domain '' are left to other providers" in result.stderr
    assert_equal(compiled(path).run(None, {"x": case.inputs["x"]})[0], wanted)


@pytest.mark.parametrize("functions", [True, False])
@pytest.mark.parametrize("version", [OPSET_VERSION + 1, 999])
def test_a_later_version_of_the_domain_is_refused(functions: bool, version: int) -> None:
    """What is left would run on the library's operators, which are told no version; so nothing runs."""
    case = random_case("IntLinear", np.random.default_rng(4))
    model = with_opset_version(single_operator_model(case, constants=True, functions=functions), version)
    options = onnxruntime.SessionOptions()
    options.add_provider_for_devices([device for device in ivit_onnx.register() if device.ep_name == IVIT][:1], {})
    with pytest.raises(InvalidArgument) as error:
        onnxruntime.InferenceSession(model.SerializeToString(), options)
    assert str(error.value).endswith(
        f"ivit: expected a model for version {OPSET_VERSION} of the domain ivit at most, found version {version}: "
        "install a newer ivit-onnx"
    )


@pytest.mark.parametrize("version", [13, 19, 23])
def test_other_definitions_of_standard_operators_are_left(version: int, tmp_path: Path) -> None:
    """ReduceMax-13 has axes as an attribute, Cast-23 knows other types: the patterns are those of one version."""
    known = dict(re.findall(r'{"(\w+)", (\d+)}', VERSIONS.read_text()))
    x = helper.make_tensor_value_info("x", onnx.TensorProto.INT8, [1, 2, 3])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.INT32, [1, 2, 3])
    graph = helper.make_graph([helper.make_node("Cast", ["x"], ["y"], to=onnx.TensorProto.INT32)], "cast", [x], [y])
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=10), path)
    found = onnx.defs.get_schema("Cast", version).since_version
    result = subprocess.run(
        [sys.executable, "-c", LOG_SCRIPT, str(path)], capture_output=True, text=True, check=True, env=logging()
    )
    assert "ivit: takes" not in result.stderr
    assert f"ivit: leaves Cast: expected Cast-{known['Cast']}, found {found}" in result.stderr
    values = np.array([[[-128, 0, 1], [2, 3, 127]]], np.int8)
    np.testing.assert_array_equal(compiled(path).run(None, {"x": values})[0], values)


def test_table_of_versions_is_made_from_the_bodies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert standard_versions.main(["--check", "-o", str(VERSIONS)]) == 0
    copy = tmp_path / "standard_versions.inc"
    copy.write_text(VERSIONS.read_text().replace('"Add", 14', '"Add", 13'))
    assert standard_versions.main(["--check", "-o", str(copy)]) == 1
    assert "out of date: run python -m ivit_onnx.opset.generators.standard_versions" in capsys.readouterr().err


LOG_SCRIPT = """
import sys, ivit_onnx
ivit_onnx.create_session(sys.argv[1], provider="ivit-cpu")
"""


def logging() -> dict[str, str]:
    return {**os.environ, "IVIT_EP_LOG": "1"}


@pytest.mark.parametrize("name", ["vit", "flat vit"])
def test_a_float_input_is_left(name: str, models: dict[str, Path], tmp_path: Path) -> None:
    """Its quantisation is the only node that the provider does not take."""
    network, options = NETWORKS[name]
    path = tmp_path / "float.onnx"
    export(save_checkpoint(network(), tmp_path / "model.pth"), path, calib=images(8), **options, input="float32")
    arguments = [sys.executable, "-c", LOG_SCRIPT, str(path)]
    log = subprocess.run(arguments, capture_output=True, text=True, check=True, env=logging()).stderr
    assert {line.partition(":")[0] for line in re.findall(r"ivit: leaves (.*)", log)} == {
        "QuantizeLinear (image.quantized)"
    }
    image = {"image": np.stack(images(3))}
    bodies = ivit_onnx.create_session(path, kernels=False)
    assert_equal(tuple(compiled(path).run(None, image)), tuple(bodies.run(None, image)))


#: Bytes of parameters and constants, and of the activations of each batch that needs more than those before.
MEMORY = (
    r"ivit: memory: (\d+) bytes of packed weights and tables, (\d+) of other parameters; "
    r"(\d+) bytes of constants are dropped\n"
    r"ivit: memory: (\d+) bytes of activations for a batch of 4\n"
    r"ivit: memory: (\d+) bytes of activations for a batch of 9\n"
)


@pytest.mark.parametrize("name", ["vit", "flat vit"])
def test_memory_is_reported(name: str, models: dict[str, Path]) -> None:
    """Weights once, packed; a place for the activations of the largest batch so far."""
    code = f"""
import ivit_onnx, numpy as np
session = ivit_onnx.create_session({str(models[name])!r}, provider="ivit-cpu")
for batch in (4, 2, 9, 1):
    session.run(None, {{"image": np.zeros((batch, 3, 32, 32), np.uint8)}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=logging())
    found = re.search(MEMORY, done.stderr)
    assert found, done.stderr
    packed, parameters, dropped, arena, larger = map(int, found.groups())
    weights = sum(
        tensor.dims[0] * tensor.dims[1]
        for tensor in onnx.load(models[name]).graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 2
    )
    # Layers of so few channels are mostly tables and padding.
    assert weights < packed < 5 * weights
    assert 0 < parameters < weights
    assert weights < dropped < 3 * weights
    # The residual stream and what an MLP reads and writes, at least.
    assert arena > 4 * 17 * 48 * (2 + 1)
    assert 2 * arena < larger < 3 * arena
    assert done.stderr.count("bytes of activations") == 2


def test_batches_of_every_size(models: dict[str, Path]) -> None:
    session, kernels = compiled(models["vit"], threads=2), ivit_onnx.create_session(models["vit"], threads=2)
    rng = np.random.default_rng(5)
    for count in [*range(1, 65), *rng.integers(1, 65, 40)]:
        image = {"image": pixels(int(count), seed=int(count))}
        assert_equal(session.run(None, image)[0], kernels.run(None, image)[0])


def test_no_images(models: dict[str, Path]) -> None:
    (logits,) = compiled(models["vit"]).run(None, {"image": pixels(0)})
    assert logits.shape == (0, 7)


def test_concurrent_runs_share_a_session(models: dict[str, Path]) -> None:
    """More runs at a time than threads in the pool, of different batch sizes, on two models."""
    cases = []
    for name in ("vit", "swin"):
        session, kernels = compiled(models[name], threads=2), ivit_onnx.create_session(models[name])
        for count in (1, 5, 2):
            image = {"image": pixels(count, seed=count)}
            cases.append((session, image, kernels.run(None, image)[0]))
    with ThreadPoolExecutor(8) as pool:
        futures = [(pool.submit(s.run, None, image), wanted) for s, image, wanted in cases * 30]
        for future, wanted in futures:
            np.testing.assert_array_equal(future.result()[0], wanted)


def test_sessions_come_and_go_without_growth(models: dict[str, Path]) -> None:
    """Resident memory after 100 more sessions, in a process of its own."""
    code = f"""
import ctypes, gc, numpy as np, ivit_onnx
image = {{"image": np.zeros((2, 3, 32, 32), np.uint8)}}
def once():
    ivit_onnx.create_session({str(models["swin"])!r}, provider="ivit-cpu", threads=2).run(None, image)
def resident():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(open("/proc/self/statm").read().split()[1]) * 4096
for _ in range(20): once()
before = resident()
for _ in range(100): once()
print(resident() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2 * 2**20


def test_wrong_shape_is_an_error_and_the_session_lives(models: dict[str, Path]) -> None:
    session = compiled(models["vit"])
    wanted = session.run(None, {"image": pixels(1)})[0]
    with pytest.raises(Exception, match="image"):
        session.run(None, {"image": np.zeros((1, 3, 40, 32), np.uint8)})
    assert_equal(session.run(None, {"image": pixels(1)})[0], wanted)


def test_rejected_parameters_name_the_reason(tmp_path: Path) -> None:
    """A parameter outside its range is left to the kernels, which refuse it with the reason."""
    case = random_case("IntLayerNorm", np.random.default_rng(0))
    case.inputs["shift"][:] = 63
    path = tmp_path / "model.onnx"
    onnx.save(single_operator_model(case, constants=True), path)
    with pytest.raises(ModelError, match=r"values of input shift: expected 1\.\.62, found 63"):
        compiled(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": "many"}, r"provider option threads: expected 1\.\.1024, found 'many'"),
        ({"threads": 0}, r"provider option threads: expected 1\.\.1024, found '0'"),
        ({"device": "abacus"}, r"option device: expected one of .*cpu.*, found 'abacus'"),
    ],
)
def test_wrong_options(models: dict[str, Path], options: dict[str, Any], message: str) -> None:
    with pytest.raises(IvitError, match=message):
        ivit_onnx.create_session(models["vit"], [(IVIT, options)])


def test_without_a_gpu(models: dict[str, Path]) -> None:
    if any(device.ep_metadata["device"] == "cuda" for device in ivit_onnx.register()):
        pytest.skip("there is a GPU")
    with pytest.raises(IvitError, match="finds no GPU: it needs an NVIDIA GPU with its driver"):
        ivit_onnx.create_session(models["vit"], provider="ivit-cuda")


def test_max_batch(models: dict[str, Path]) -> None:
    session = ivit_onnx.create_session(models["vit"], [(IVIT, {"max_batch": 3})])
    assert session.run(None, {"image": pixels(3)})[0].shape == (3, 7)
    with pytest.raises(Exception, match="batch: expected at most max_batch = 3, found 4"):
        session.run(None, {"image": pixels(4)})


def test_profile_names_every_operator(models: dict[str, Path]) -> None:
    code = f"""
import ivit_onnx, numpy as np
session = ivit_onnx.create_session({str(models["vit"])!r}, [("IVitExecutionProvider", {{"profile": 1}})])
for _ in range(3):
    session.run(None, {{"image": np.zeros((1, 3, 32, 32), np.uint8)}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("ivit: ")]
    assert sum("IntAttention (blocks." in line and "       3  " in line for line in lines) == 2


def test_the_example_in_cpp(models: dict[str, Path], tmp_path: Path) -> None:
    """Built against the library inside the Python package, it prints the logits that Python gets."""
    cpp_programs.build(Path(__file__).parents[1] / "examples" / "cpp", tmp_path)
    image = pixels(2, seed=9)
    arguments = [tmp_path / "classify", models["vit"], ivit_onnx.library_path()]
    done = subprocess.run(arguments, input=image.tobytes(), capture_output=True, check=True)
    found = [[int(x) for x in line.partition(b":")[2].split()] for line in done.stdout.splitlines()]
    np.testing.assert_array_equal(found, ivit_onnx.create_session(models["vit"]).run(None, {"image": image})[0])
    wrong = subprocess.run(arguments, input=b"few", capture_output=True, check=False)
    assert (wrong.returncode, wrong.stdout) == (2, b"")
    assert b"expected whole images of 3 x 32 x 32 bytes, found 3 bytes" in wrong.stderr


@pytest.mark.parametrize(
    "name", ["team_does_every_task_once", "team_carries_errors", "team_stops", "arena_keeps_values_apart"]
)
def test_parts_under_the_thread_sanitizer(name: str) -> None:
    program = Path(os.environ.get("IVIT_EMULATOR_TEST", "none")).with_name("ep_test")
    if not program.is_file():
        pytest.skip("IVIT_EMULATOR_TEST names no program beside an ep_test; make test builds both")
    done = subprocess.run([program, name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_wrong_provider(models: dict[str, Path]) -> None:
    with pytest.raises(IvitError, match=r"provider: expected one of cpu, cuda, ivit-cpu.*, found 'ivit'"):
        ivit_onnx.create_session(models["vit"], provider="ivit")
    with pytest.raises(IvitError, match="expected providers or provider, found both"):
        ivit_onnx.create_session(models["vit"], ["CPUExecutionProvider"], provider="cpu")
    with pytest.raises(IvitError, match="expected no other provider but"):
        ivit_onnx.create_session(models["vit"], [IVIT, "CUDAExecutionProvider"])


def test_registering_twice_is_once() -> None:
    first, second = ivit_onnx.register(), ivit_onnx.register()
    assert [device.ep_name for device in first] == [device.ep_name for device in second]
    (cpu,) = [device for device in second if device.ep_metadata["device"] == "cpu"]
    assert cpu.ep_vendor == "ivit-onnx"


def test_plain_onnxruntime(models: dict[str, Path]) -> None:
    """The five lines of the documentation, without this package's sessions."""
    ivit_onnx.register()
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == IVIT]
    options = onnxruntime.SessionOptions()
    options.add_provider_for_devices(devices[:1], {"threads": "1"})
    session = onnxruntime.InferenceSession(str(models["vit"]), options)
    image = {"image": pixels(2)}
    assert_equal(session.run(None, image)[0], ivit_onnx.create_session(models["vit"]).run(None, image)[0])
