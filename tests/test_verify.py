"""ivit-verify: what counts as floating point, how differences show, and bad input."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the export extra is not installed")
onnx = pytest.importorskip("onnx", reason="the export extra is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import ivit_onnx  # noqa: E402
from commands import MICRO, call, installed  # noqa: E402
from ivit_onnx.errors import ModelError, OptionError  # noqa: E402
from ivit_onnx.float_audit import audit  # noqa: E402
from ivit_onnx.model_files import load_graph  # noqa: E402
from ivit_onnx.verification import verify  # noqa: E402

Model = Any
FORMS = [(kind, flat) for kind in ("uint8", "int8", "float32") for flat in (False, True)]


def pixels(count: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, bool], Path]:
    """The micro model in every form."""
    from ivit_onnx.api import calibrate, export

    folder = tmp_path_factory.mktemp("models")
    calibration = calibrate(MICRO, pixels(8), num_heads=2)
    paths = {}
    for kind, flat in FORMS:
        paths[kind, flat] = folder / f"{kind}-{flat}.onnx"
        export(MICRO, paths[kind, flat], calib=calibration, input=kind, flat=flat, num_heads=2)
    return paths


@pytest.fixture
def model(models: dict[tuple[str, bool], Path]) -> Path:
    return models["uint8", False]


@pytest.mark.parametrize("form", FORMS)
def test_exported_models_pass(models: dict[tuple[str, bool], Path], form: tuple[str, bool]) -> None:
    report = verify(models[form], against=MICRO, images=pixels(4, seed=1), count=4)
    assert report.audit.findings == ()
    assert report.passed
    assert [note.split(":")[0] for note in report.notes] == [
        "not compared with the forward of the library that made it"
    ]
    # Three implementations in two batch sizes, the reference itself left out, on two sets of four images.
    assert (report.equal, report.total) == (40, 40)
    assert (report.audit.boundary is not None) == (form[0] == "float32")
    assert report.audit.values > 500


def test_weights_in_a_second_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ivit_onnx import api

    monkeypatch.setattr(api, "save", functools.partial(api.save, max_proto_bytes=0))
    path = tmp_path / "model.onnx"
    api.export(MICRO, path, calib=pixels(4), num_heads=2)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert verify(path, against=MICRO, count=1).passed
    api.export(MICRO, path, calib=pixels(8), num_heads=2, force=True)
    assert verify(path, against=MICRO, count=1).passed
    path.with_name("model.onnx.data").unlink()
    with pytest.raises(ModelError, match=r"model\.onnx"):
        verify(path, count=1)


def test_without_images_and_checkpoint_says_so(model: Path) -> None:
    report = verify(model, count=2, threads=1)
    assert report.passed
    assert report.total == 6
    assert any("--images" in note for note in report.notes)
    assert any("--against" in note for note in report.notes)


def test_seed_decides_the_images(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ivit_onnx.metadata import describe
    from ivit_onnx.verification import random_images

    description = describe(ivit_onnx.create_session(model, kernels=False), model)
    first = random_images(description, 8, 0)
    np.testing.assert_array_equal(first, random_images(description, 8, 0))
    assert (first != random_images(description, 8, 1)).any()
    assert (first.min(), first.max()) == (0, 255)


def add_initializer(model: Model) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float16), "half"))


def add_float_value(model: Model) -> None:
    """Logits to float and back."""
    last = model.graph.node[-1]
    last.output[0] = "integers"
    model.graph.node.append(helper.make_node("Cast", ["integers"], ["floats"], to=TensorProto.FLOAT))
    model.graph.node.append(helper.make_node("Cast", ["floats"], ["logits"], to=TensorProto.INT32))


def add_float_attribute(model: Model) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("alpha", 0.5))


def add_floats_attribute(model: Model) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("alphas", [0.5]))


def add_tensor_attribute(model: Model) -> None:
    tensor = numpy_helper.from_array(np.zeros(1))
    model.graph.node[0].attribute.append(helper.make_attribute("table", tensor))


def add_subgraph(model: Model) -> None:
    constant = helper.make_node("Constant", [], ["c"], value_float=1.0)
    graph = helper.make_graph([constant], "inner", [], [helper.make_tensor_value_info("c", TensorProto.FLOAT, [])])
    model.graph.node[0].attribute.append(helper.make_attribute("body", graph))


def add_unused_function(*nodes: Model) -> Callable[[Model], None]:
    def change(model: Model) -> None:
        opset = [helper.make_opsetid("", 21)]
        model.functions.append(helper.make_function("ivit", "Unused", ["x"], ["y"], list(nodes), opset))

    return change


def change_function_body(model: Model) -> None:
    """One Cast inside a body that is in use goes through float32."""
    for function in model.functions:
        for node in function.node:
            if node.op_type == "Cast":
                original = node.output[0]
                node.output[0] = f"{original}_again"
                through = helper.make_node("Cast", [node.output[0]], [f"{original}_float"], to=TensorProto.FLOAT)
                back = helper.make_node("CastLike", [through.output[0], node.output[0]], [original])
                nodes = list(function.node)
                nodes[nodes.index(node) + 1 : nodes.index(node) + 1] = [through, back]
                copies = [onnx.NodeProto.FromString(entry.SerializeToString()) for entry in nodes]
                del function.node[:]
                function.node.extend(copies)
                return


def remove_functions(model: Model) -> None:
    del model.functions[:]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (add_initializer, "initializer 'half' is float16"),
        (add_float_value, "value 'floats' is float"),
        (add_float_attribute, "attribute 'alpha' is a float"),
        (add_floats_attribute, "attribute 'alphas' is a float"),
        (add_tensor_attribute, "attribute 'table' is a double tensor"),
        (add_subgraph, "attribute 'value_float' is a float"),
        (add_unused_function(helper.make_node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16)), "the type bfloat16"),
        (
            add_unused_function(helper.make_node("DequantizeLinear", ["x", "x"], ["y"])),
            "ivit::Unused: DequantizeLinear 'y': not known to compute in integers",
        ),
        (
            add_unused_function(helper.make_node("Constant", [], ["y"], value_floats=[1.0])),
            "attribute 'value_floats' is a float",
        ),
        (change_function_body, "attribute 'to' names the type float"),
    ],
)
def test_floating_point_is_found(model: Path, change: Callable[[Model], None], expected: str) -> None:
    proto = onnx.load(model)
    change(proto)
    findings = audit(proto).findings
    assert any(expected in finding for finding in findings), findings


def test_values_without_type_are_findings_or_errors(model: Path) -> None:
    proto = onnx.load(model)
    remove_functions(proto)
    del proto.graph.value_info[:]
    try:
        findings = audit(proto).findings
    except ModelError:
        return
    assert any("has no type" in finding for finding in findings)


def use_scale_elsewhere(model: Model) -> None:
    scale = next(node for node in model.graph.node if node.op_type == "QuantizeLinear").input[1]
    model.graph.node.append(helper.make_node("Identity", [scale], ["copy"]))


def use_image_elsewhere(model: Model) -> None:
    model.graph.node.append(helper.make_node("Identity", [model.graph.input[0].name], ["copy"]))


def second_boundary(model: Model) -> None:
    first = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    model.graph.node.append(helper.make_node("QuantizeLinear", list(first.input), ["copy"], name="second"))


@pytest.mark.parametrize("change", [use_scale_elsewhere, use_image_elsewhere, second_boundary])
def test_only_one_boundary_is_allowed(models: dict[tuple[str, bool], Path], change: Callable[[Model], None]) -> None:
    proto = onnx.load(models["float32", False])
    assert audit(onnx.load(models["float32", False])).findings == ()
    change(proto)
    result = audit(proto)
    assert result.boundary is None
    assert result.findings


class Wrong:
    """A session whose logits are off by one in one class of one image of each batch."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    def run(self, names: Any, feeds: Any) -> list[Any]:
        logits = self.session.run(names, feeds)[0].copy()
        logits[-1, 3] += 1
        return [logits]


@pytest.fixture
def wrong_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    create = ivit_onnx.create_session

    def create_session(path: Path, *, kernels: bool = True, **options: Any) -> Any:
        session = create(path, kernels=kernels, **options)
        return Wrong(session) if kernels else session

    monkeypatch.setattr(ivit_onnx, "create_session", create_session)


@pytest.mark.usefixtures("wrong_kernels")
def test_differences_are_reported(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    report = verify(model, count=4)
    assert report.integer_only
    assert not report.passed
    bodies, single, triple = report.comparisons
    assert (bodies.implementation, bodies.equal) == ("function bodies", 4)
    assert (single.batch, single.equal, single.elements) == (1, 0, 4)
    assert single.first is not None
    assert (single.first["image"], single.first["class"]) == (0, 3)
    assert single.first["found"] == single.first["expected"] + 1
    # In threes the last image of a full batch is off; the fourth image stands first in a filled-up batch.
    assert (triple.batch, triple.equal, triple.elements) == (3, 3, 1)
    result = call(capsys, "verify", model, "--count", "4")
    assert result.status == 1
    assert "bit-exact 0/4; 4 logits differ" in result.out.replace("\n", " ")
    assert "FAILED: bit-exact 7/12" in result.out


def test_command_shows_what_was_compared(capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", images=pixels(2))
    options = ("--against", MICRO, "--images", tmp_path / "images.npz", "--count", "2", "--threads", "1")
    result = call(capsys, "verify", model, *options)
    assert (result.status, result.err) == (0, "")
    assert "integer-only: no floating point in" in result.out
    assert result.out.count("bit-exact 2/2") == 10
    assert "verified: bit-exact 20/20" in result.out.splitlines()[-1]
    as_json = call(capsys, "verify", model, *options, "--json")
    content = json.loads(as_json.out)
    assert content["passed"] is True
    assert content["bit_exact"] == "20/20"
    assert {entry["implementation"] for entry in content["comparisons"]} == {"function bodies", "kernels", "PyTorch"}


def test_command_with_float_input_names_the_boundary(
    capsys: pytest.CaptureFixture[str], models: dict[tuple[str, bool], Path]
) -> None:
    result = call(capsys, "verify", models["float32", True], "--count", "1")
    assert result.status == 0
    assert "the only exception is the boundary of the float32 input: QuantizeLinear" in result.out


def test_command_with_floats_fails(capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path) -> None:
    proto = onnx.load(model)
    add_float_value(proto)
    onnx.save(proto, tmp_path / "floats.onnx")
    result = call(capsys, "verify", tmp_path / "floats.onnx", "--count", "1")
    assert result.status == 1
    assert "NOT integer-only" in result.out
    assert "FAILED" in result.out


def test_bad_input(capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.onnx").write_bytes(model.read_bytes()[:4000])
    (tmp_path / "text.onnx").write_text("this is no model at all")
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "none").mkdir()
    for name in ("cut.onnx", "text.onnx", "empty.onnx", "nowhere.onnx", "none"):
        assert name in call(capsys, "verify", tmp_path / name).error()
    state_dict = torch.load(MICRO, weights_only=True)
    state_dict["norm.bias"] += 1
    torch.save(state_dict, tmp_path / "other.pth")
    assert "the weights differ" in call(capsys, "verify", model, "--against", tmp_path / "other.pth").error()
    assert "does not exist" in call(capsys, "verify", model, "--against", tmp_path / "nowhere.pth").error()
    assert "no images in" in call(capsys, "verify", model, "--images", tmp_path / "none").error()
    assert "--count" in call(capsys, "verify", model, "--count", "0").error()
    with pytest.raises(OptionError, match="count: expected an integer in 1"):
        verify(model, count=0)


def test_names_that_are_no_text(model: Path, tmp_path: Path) -> None:
    content = model.read_bytes()
    assert b"blocks.0.norm1" in content
    (tmp_path / "damaged.onnx").write_bytes(content.replace(b"blocks.0.norm1", b"blocks.0.norm\xc6"))
    with pytest.raises(ModelError):
        verify(tmp_path / "damaged.onnx")


def test_other_models_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "other", [value], [output])
    onnx.save(helper.make_model(graph, ir_version=10), tmp_path / "other.onnx")
    assert "is not a model of ivit-onnx" in call(capsys, "verify", tmp_path / "other.onnx").error()
    assert audit(load_graph(tmp_path / "other.onnx")).findings


@pytest.mark.slow
def test_installed_command(model: Path, tmp_path: Path) -> None:
    done = installed("verify", model, "--against", MICRO, "--count", "2")
    assert done.status == 0, done.err
    assert "verified: bit-exact 10/10" in done.out
    assert "does not exist" in installed("verify", tmp_path / "nowhere.onnx").error()


def test_kernels_of_another_device_take_part(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the device is the CPU under another name."""
    from ivit_onnx import runtime

    monkeypatch.setitem(runtime.DEVICES, "cuda", ("CPUExecutionProvider",))
    report = verify(model, count=2, device="cuda")
    assert report.passed
    assert {entry.implementation for entry in report.comparisons} == {"function bodies", "kernels", "kernels on cuda"}


@pytest.mark.parametrize("operator", ["Div", "Mod"])
def test_a_division_that_is_not_proven_is_not_run(model: Path, operator: str, tmp_path: Path) -> None:
    """In the command, which would end with a signal: a division by zero in front of the logits."""
    proto = onnx.load(model)
    logits = proto.graph.output[0].name
    last = next(node for node in proto.graph.node if logits in node.output)
    last.output[list(last.output).index(logits)] = "undivided"
    proto.graph.initializer.append(numpy_helper.from_array(np.asarray(0, np.int32), "zero"))
    proto.graph.node.append(helper.make_node(operator, ["undivided", "zero"], [logits], "division"))
    path = tmp_path / "divided.onnx"
    onnx.save(proto, path)
    done = installed("verify", path, "--json")
    report = json.loads(done.out)
    assert done.status == 1, done
    assert not report["passed"]
    assert report["comparisons"] == report["evidence"] == []
    assert any("the divisor can be 0" in finding["message"] for finding in report["proof"]["findings"])
    assert report["notes"][0].startswith("nothing was run: the model divides and is not proven")
    shown = installed("verify", path)
    assert shown.status == 1
    assert "FAILED: bit-exact 0/0" in shown.out
    zero = next(value for value in proto.graph.initializer if value.name == "zero")
    zero.CopyFrom(numpy_helper.from_array(np.asarray(3, np.int32), "zero"))
    onnx.save(proto, path)
    assert verify(path, count=2).equal  # runs, whatever the certificate says
