"""Functions of a file against those of the operator set: what is the same, what is not, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, inliner, numpy_helper

import ivit_onnx
from cases import random_case
from commands import MICRO, call
from graphs import single_operator_model, with_negated_body
from ivit_onnx.api import export
from ivit_onnx.errors import ModelError
from ivit_onnx.function_bodies import foreign_functions, unused_functions
from ivit_onnx.model_files import load_graph
from ivit_onnx.opset import DOMAIN, OPERATORS, OPSET_VERSION, STANDARD_OPSET_VERSION, function_protos
from ivit_onnx.verification import verify

IMPORTS = [helper.make_opsetid("", STANDARD_OPSET_VERSION), helper.make_opsetid(DOMAIN, OPSET_VERSION)]
ALTERED = "the body is not that of the operator set, which kernels compute in its place"


def model() -> onnx.ModelProto:
    """One operator, with all functions of the operator set."""
    proto = single_operator_model(random_case("IntLinear", np.random.default_rng(0)), constants=True, functions=False)
    proto.functions.extend(function_protos())
    return proto


def function(proto: onnx.ModelProto, name: str) -> onnx.FunctionProto:
    return next(entry for entry in proto.functions if entry.name == name)


def test_functions_of_the_operator_set_are_its_own() -> None:
    assert foreign_functions(model()) == {}


@pytest.mark.parametrize("name", OPERATORS)
def test_every_changed_body_is_foreign_with_its_callers(name: str) -> None:
    found = foreign_functions(with_negated_body(model(), name))
    assert found.pop(name) == ALTERED
    callers = {entry.name for entry in function_protos() if any(node.op_type == name for node in entry.node)}
    assert callers <= {*found}


def rename_everything(proto: onnx.ModelProto) -> None:
    """Values, nodes and documentation."""
    for entry in proto.functions:
        renamed = {name: f"v{index}" for index, name in enumerate(name for node in entry.node for name in node.output)}
        renamed |= {name: f"i{index}" for index, name in enumerate(entry.input)}
        entry.doc_string = "other words"
        for node in entry.node:
            node.name = "other"
            node.input[:] = [renamed.get(name, name) for name in node.input]
            node.output[:] = [renamed.get(name, name) for name in node.output]
        entry.input[:] = [renamed[name] for name in entry.input]
        entry.output[:] = [renamed[name] for name in entry.output]


def add_idle_node(proto: onnx.ModelProto) -> None:
    entry = function(proto, "Requantize")
    entry.node.append(helper.make_node("Neg", [entry.output[0]], ["idle"]))


def write_domain_out(proto: onnx.ModelProto) -> None:
    for entry in proto.functions:
        for node in entry.node:
            node.domain = node.domain or "ai.onnx"


@pytest.mark.parametrize("change", [rename_everything, add_idle_node, write_domain_out])
def test_what_computes_the_same_is_the_same(change: Callable[[onnx.ModelProto], None]) -> None:
    proto = model()
    change(proto)
    assert foreign_functions(proto) == {}


def test_callees_may_be_inlined() -> None:
    """IntLinear with the body of all that it calls."""
    proto = model()
    whole = inliner.inline_local_functions(proto)
    entry = function(proto, "IntLinear")
    del entry.node[:]
    entry.node.extend(whole.graph.node)
    entry.input[:], entry.output[:] = proto.graph.node[0].input, proto.graph.node[0].output
    assert foreign_functions(proto) == {}


def older_definitions(proto: onnx.ModelProto) -> None:
    """The same nodes, with the meaning of another operator set."""
    for opset in function(proto, "Requantize").opset_import:
        opset.version = 13 if not opset.domain else opset.version


def attribute_twice(proto: onnx.ModelProto) -> None:
    node = next(node for node in function(proto, "Requantize").node if node.op_type == "Cast")
    node.attribute.append(helper.make_attribute("to", onnx.TensorProto.INT16))


def same_attribute_twice(proto: onnx.ModelProto) -> None:
    node = next(node for node in function(proto, "Requantize").node if node.op_type == "Cast")
    node.attribute.append(node.attribute[0])


def one_more_input(proto: onnx.ModelProto) -> None:
    function(proto, "Requantize").input.append("more")


def one_more_attribute(proto: onnx.ModelProto) -> None:
    function(proto, "Requantize").attribute.append("more")


def inputs_in_another_order(proto: onnx.ModelProto) -> None:
    entry = function(proto, "Requantize")
    entry.input[:] = [*entry.input[1:], entry.input[0]]


def another_constant(proto: onnx.ModelProto) -> None:
    for entry in proto.functions:
        for node in entry.node:
            for attribute in node.attribute:
                if attribute.HasField("t") and entry.name == "ShiftExp":
                    attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t) + 1))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (older_definitions, "Requantize"),
        (attribute_twice, "Requantize"),
        (same_attribute_twice, "Requantize"),
        (one_more_input, "Requantize"),
        (one_more_attribute, "Requantize"),
        (inputs_in_another_order, "Requantize"),
        (another_constant, "Shiftmax"),
    ],
)
def test_what_may_compute_something_else_is_foreign(change: Callable[[onnx.ModelProto], None], name: str) -> None:
    proto = model()
    change(proto)
    assert foreign_functions(proto)[name] == ALTERED


def chain(first: onnx.FunctionProto, names: list[str]) -> list[onnx.FunctionProto]:
    """Functions that each call the one before twice."""
    made = [first]
    for name in names:
        calls = [helper.make_node(made[-1].name, [x], [y], domain=DOMAIN) for x, y in ("xa", "ay")]
        made.append(helper.make_function(DOMAIN, name, ["x"], ["y"], calls, IMPORTS))
    return made


@pytest.mark.parametrize("nodes", [1, 0], ids=["node", "nothing"])
def test_doubling_calls_take_no_time(nodes: int) -> None:
    """Under names of the operator set, where the bodies are compared; also where the innermost one has no node."""
    body = [helper.make_node("Neg", ["x"], ["y"])] * nodes
    first = helper.make_function(DOMAIN, "First", ["x"], ["y" if nodes else "x"], body, IMPORTS)
    proto = onnx.ModelProto(functions=chain(first, [f"F{index}" for index in range(60)] + ["Requantize", "Shiftmax"]))
    proto.graph.node.append(helper.make_node("Shiftmax", ["x"], ["y"], domain=DOMAIN))
    started = time.perf_counter()
    found = foreign_functions(proto)
    assert time.perf_counter() - started < 1
    assert found["Shiftmax"] == found["Requantize"] == ALTERED
    assert found["F0"] == "the operator set has no function of this name"
    assert unused_functions(proto) == []


def test_calls_of_itself_are_an_error() -> None:
    call_itself = helper.make_node("Requantize", ["x"], ["y"], domain=DOMAIN)
    proto = onnx.ModelProto(
        functions=[helper.make_function(DOMAIN, "Requantize", ["x"], ["y"], [call_itself] * 2, IMPORTS)]
    )
    with pytest.raises(ModelError, match="the model is not valid"):
        foreign_functions(proto)


def test_functions_that_nothing_reaches() -> None:
    """Those that only unused ones call among them; what a graph inside of a node calls is reached."""
    first = helper.make_function(DOMAIN, "First", ["x"], ["y"], [helper.make_node("Neg", ["x"], ["y"])], IMPORTS)
    proto = onnx.ModelProto(functions=chain(first, ["Second", "Third"]))
    assert unused_functions(proto) == ["ivit.First", "ivit.Second", "ivit.Third"]
    branch = helper.make_graph([helper.make_node("Second", ["x"], ["y"], domain=DOMAIN)], "branch", [], [])
    proto.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch))
    assert unused_functions(proto) == ["ivit.Third"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model.onnx"
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), np.uint8)
    export(MICRO, path, calib=pixels, num_heads=2)
    return path


def uncertified(path: Path) -> onnx.ModelProto:
    proto = onnx.load(path)
    (certificate,) = (entry for entry in proto.metadata_props if entry.key == "ivit.proof")
    proto.metadata_props.remove(certificate)
    return proto


def test_an_altered_body_fails_verification_without_a_certificate(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A body that gives the same integers on every image, but is not the operator's: only its nodes tell."""
    proto = uncertified(exported)
    entry = function(proto, next(node.op_type for node in proto.graph.node if node.domain == DOMAIN))
    if all(opset.domain for opset in entry.opset_import):
        entry.opset_import.append(IMPORTS[0])
    for output in entry.output:
        for node in entry.node:
            node.output[:] = [f"{name}.least" if name == output else name for name in node.output]
        entry.node.append(helper.make_node("Identity", [f"{output}.least"], [output]))
    path = tmp_path / "altered.onnx"
    onnx.save(proto, path)
    report = verify(path, count=2)
    assert report.proof is not None  # why it was not run
    assert not report.proof.certified
    assert report.total == 0
    assert report.functions == (f"function {entry.name}: {ALTERED}",)
    assert not report.passed
    result = call(capsys, "verify", path, "--count", "2")
    assert result.status == 1
    assert f"function {entry.name}: {ALTERED}" in " ".join(result.out.split())


def test_an_unused_function_fails_verification(exported: Path, tmp_path: Path) -> None:
    proto = uncertified(exported)
    body = [helper.make_node("Neg", ["x"], ["y"])]
    proto.functions.append(helper.make_function("other", "Idle", ["x"], ["y"], body, IMPORTS[:1]))
    proto.opset_import.append(helper.make_opsetid("other", 1))
    path = tmp_path / "unused.onnx"
    onnx.save(proto, path)
    report = verify(path, count=2)
    assert report.functions == ("function other.Idle: nothing calls it; remove it",)
    assert not report.passed


def test_exports_have_their_functions_and_no_others(exported: Path) -> None:
    proto = load_graph(exported)
    assert (foreign_functions(proto), unused_functions(proto)) == ({}, [])
    assert ivit_onnx.create_session(exported, kernels=False) is not None
