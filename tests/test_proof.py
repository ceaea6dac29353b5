"""The proof against overflow: ranges hold whatever runs, exported models are proven, certificates show changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import helper, inliner, numpy_helper

from cases import random_case
from commands import MICRO, call
from ivit_onnx.errors import ExportError
from ivit_onnx.model_files import load_with_weights
from ivit_onnx.opset import OPERATORS
from ivit_onnx.proof import METADATA_KEY, graph_hash, mismatch, prove
from ivit_onnx.proof.walk import Walk
from ivit_onnx.verification import verify
from proofs import assert_in_ranges, assert_inside, model_of, operator_model

Array = np.ndarray[Any, Any]
SEEDS = st.integers(0, 2**32 - 1)
DATA = Path(__file__).parent / "data"


# -- soundness


@pytest.mark.parametrize("operator", OPERATORS)
@settings(max_examples=6, deadline=None)
@given(seed=SEEDS, extreme=st.booleans())
def test_every_intermediate_is_in_its_range(operator: str, seed: int, extreme: bool) -> None:
    """Of a random call, all functions inlined; and nothing is found, because operators fit by construction."""
    case = random_case(operator, np.random.default_rng(seed), extreme=extreme)
    model = operator_model(case)
    report = prove(model)
    assert report.proven, report.findings
    inputs = {value.name: case.inputs[value.name] for value in model.graph.input}
    assert_inside(inliner.inline_local_functions(model), inputs)


BINARY = ("Add", "Sub", "Mul", "Div", "Mod", "Min", "Max")


@st.composite
def graphs(draw: st.DrawFn) -> onnx.ModelProto:
    """Elementwise operators, reductions and moves on int64 tensors [2, 3, 4], in any order."""
    nodes = [helper.make_node("Cast", ["x"], ["v0"], to=7), helper.make_node("Cast", ["z"], ["v1"], to=7)]
    constants = {"last": np.asarray([-1]), "table": np.asarray([3, -7, 100, 5, 0, -1, 50, 2])}
    values = ["v0", "v1"]
    for index in range(2, draw(st.integers(4, 12))):
        a, b = draw(st.sampled_from(values)), draw(st.sampled_from(values))
        kind = draw(st.sampled_from([*BINARY, *BINARY, "const", "Neg", "less max", "share", "square", "look", "turn"]))
        new = f"v{index}"
        if kind == "const":
            shape = draw(st.sampled_from([(), (4,), (3, 1)]))
            numbers = st.integers(-20, 20).filter(bool)
            size = int(np.prod(shape))
            constants[f"c{index}"] = np.asarray(
                draw(st.lists(numbers, min_size=size, max_size=size)), np.int64
            ).reshape(shape)
            operator = draw(st.sampled_from(BINARY))
            nodes.append(helper.make_node(operator, [a, f"c{index}"], [new]))
        elif kind == "Neg":
            nodes.append(helper.make_node(kind, [a], [new]))
        elif kind == "turn":
            nodes.append(helper.make_node("Transpose", [a], [f"t{index}"], perm=[0, 2, 1]))
            constants[f"s{index}"] = np.asarray([2, 3, 4])
            nodes.append(helper.make_node("Reshape", [f"t{index}", f"s{index}"], [new]))
        elif kind == "less max":
            nodes.append(helper.make_node("ReduceMax", [a, "last"], [f"m{index}"], keepdims=1))
            nodes.append(helper.make_node("Sub", [a, f"m{index}"], [new]))
        elif kind == "share":  # of a row: |a| * (c // sum(|a|) + 1)
            nodes.append(helper.make_node("Mul", [a, a], [f"p{index}"]))
            nodes.append(helper.make_node("ReduceSum", [f"p{index}", "last"], [f"r{index}"], keepdims=1))
            constants[f"c{index}"], constants[f"o{index}"] = np.asarray(1000), np.asarray(1)
            nodes.append(helper.make_node("Max", [f"r{index}", f"o{index}"], [f"d{index}"]))
            nodes.append(helper.make_node("Div", [f"c{index}", f"d{index}"], [f"f{index}"]))
            nodes.append(helper.make_node("Mul", [f"p{index}", f"f{index}"], [new]))
        elif kind == "square":
            nodes.append(helper.make_node("Mul", [a, a], [new]))
        elif kind == "look":
            constants[f"c{index}"] = np.asarray(8)
            nodes.append(helper.make_node("Mod", [a, f"c{index}"], [f"i{index}"]))
            nodes.append(helper.make_node("Gather", ["table", f"i{index}"], [new]))
        else:
            nodes.append(helper.make_node(kind, [a, b], [new]))
        values.append(new)
    shape: list[int | str] = [2, 3, 4]
    return model_of(nodes, {"x": ("int8", shape), "z": ("int16", shape)}, constants, (values[-1], "int64"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(model=graphs(), seed=SEEDS)
def test_random_graphs_stay_in_their_ranges(model: onnx.ModelProto, seed: int) -> None:
    walk = Walk(model)
    ranges = walk.run()
    assume(not walk.ledger.findings)
    rng = np.random.default_rng(seed)
    for kind in range(3):
        x, z = rng.integers(-128, 128, (2, 3, 4)), rng.integers(-32768, 32768, (2, 3, 4))
        if kind:
            x, z = rng.choice([-128, 127, 0, -1], x.shape), rng.choice([-32768, 32767, 0, 1], z.shape)
        if kind == 2:
            x[:], z[:] = x.flat[0], z.flat[0]
        assert_in_ranges(ranges, model, {"x": x, "z": z})


def squares(reduced: str, divided: str) -> onnx.ModelProto:
    """v * (2^31 // d) for d the square root of the sum of the squares of a value: bounded only for that value."""
    constants = {"last": np.asarray([-1]), "start": np.asarray(256), "two": np.asarray(2), "c": np.asarray(2**31)}
    nodes = [helper.make_node("Cast", [name], [f"{name}64"], to=7) for name in "xz"]
    nodes += [
        helper.make_node("Mul", [f"{reduced}64", f"{reduced}64"], ["squares"]),
        helper.make_node("ReduceSum", ["squares", "last"], ["total"], keepdims=1),
        helper.make_node("Div", ["total", "start"], ["quotient"]),
        helper.make_node("Add", ["start", "quotient"], ["sum"]),
        helper.make_node("Div", ["sum", "two"], ["root"]),
        helper.make_node("Div", ["c", "root"], ["factor"]),
        helper.make_node("Mul", [f"{divided}64", "factor"], ["y"]),
    ]
    shape: list[int | str] = [2, 3, 4]
    return model_of(nodes, {"x": ("int16", shape), "z": ("int16", shape)}, constants, ("y", "int64"))


def test_lemmas_hold_only_for_the_value_they_are_about() -> None:
    assert Walk(squares("x", "x")).run()["y"].magnitude == 2**31
    assert Walk(squares("x", "z")).run()["y"].magnitude == 2**39


def test_divisors_of_both_signs() -> None:
    """x + x + 1 is never 0, and 1 or -1 in between."""
    constants = {"one": np.asarray(1)}
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], to=7),
        helper.make_node("Cast", ["z"], ["b"], to=7),
        helper.make_node("Add", ["a", "a"], ["twice"]),
        helper.make_node("Add", ["twice", "one"], ["odd"]),
        helper.make_node("Div", ["b", "odd"], ["y"]),
    ]
    model = model_of(nodes, {"x": ("int8", [3]), "z": ("int16", [3])}, constants, ("y", "int64"))
    assert_inside(model, {"x": np.asarray([0, -1, 127]), "z": np.asarray([32767, -32768, 5])})


def test_row_sums_end_where_rows_end() -> None:
    """A probability that is broadcast along a row counts there many times."""
    for width, expected in ((1, 1000), (5, None)):
        constants = {"last": np.asarray([-1]), "c": np.asarray(1000), "more": np.ones((1, width), np.int64)}
        nodes = [
            helper.make_node("Cast", ["x"], ["e"], to=7),
            helper.make_node("ReduceSum", ["e", "last"], ["s"], keepdims=1),
            helper.make_node("Max", ["s", "more"], ["positive"]),
            helper.make_node("Div", ["c", "positive"], ["f"]),
            helper.make_node("Mul", ["e", "f"], ["y"]),
        ]
        model = model_of(nodes, {"x": ("uint8", [3, 1])}, constants, ("y", "int64"))
        found = Walk(model).run()["y"].row_sum
        assert found is None or expected is not None
        assert_inside(model, {"x": np.asarray([[1], [2], [255]])})


def test_what_is_not_covered_is_found() -> None:
    relu = model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": ("int8", [1])}, {}, ("y", "int8"))
    assert "no rule" in prove(relu).findings[0].message
    free = model_of(
        [helper.make_node("Cast", ["x"], ["w"], to=6), helper.make_node("ReduceSum", ["w"], ["y"])],
        {"x": ("int8", ["any"])},
        {},
        ("y", "int32"),
    )
    assert "not known" in prove(free).findings[0].message


def test_a_range_of_many_numbers_is_a_finding() -> None:
    """A few bytes of a model would be gigabytes of the analysis."""
    ends = [
        numpy_helper.from_array(np.asarray(end, np.int64), name) for end, name in ((0, "a"), (2**33, "b"), (1, "c"))
    ]
    y = helper.make_tensor_value_info("y", onnx.TensorProto.INT64, [2**33])
    graph = helper.make_graph([helper.make_node("Range", ["a", "b", "c"], ["y"])], "graph", [], [y], ends)
    assert "at most 16777216 numbers" in prove(helper.make_model(graph)).findings[0].message


@pytest.mark.parametrize("axes", [[1, 1], [1, -1], [2], [-3]])
@pytest.mark.parametrize("kind", ["Slice", "Unsqueeze", "ReduceSum"])
def test_axes_that_stand_twice_or_nowhere(kind: str, axes: list[int]) -> None:
    """The analysis took off an end for each of them, exact integers for the last one; ONNX Runtime refuses."""
    axes = [axis * 2 for axis in axes] if kind == "Unsqueeze" else axes  # of the result, which has more of them
    constants = {"one": np.ones(len(axes), np.int64), "axes": np.asarray(axes)}
    inputs = ["w", *(["one", "one"] if kind == "Slice" else []), "axes"]
    nodes = [helper.make_node("Cast", ["x"], ["w"], to=7), helper.make_node(kind, inputs, ["y"])]
    model = model_of(nodes, {"x": ("int8", [5, 5])}, constants, ("y", "int64"))
    assert "expected different axes" in prove(model).findings[0].message


def test_floats_are_not_taken_for_integers() -> None:
    nodes = [helper.make_node("Cast", ["f"], ["w"], to=6), helper.make_node("Mul", ["w", "w"], ["y"])]
    for model in (
        model_of(nodes, {"x": ("int8", [1])}, {"f": np.asarray([1e9], np.float32)}, ("y", "int32")),
        model_of(nodes, {"f": ("float32", [1])}, {}, ("y", "int32")),
    ):
        assert "no integer" in prove(model).findings[0].message


def test_defaults_of_inputs_are_not_trusted() -> None:
    """An initializer that is also an input can be replaced by whoever runs the model."""
    nodes = [helper.make_node("Cast", ["x"], ["w"], to=6), helper.make_node("Mul", ["w", "m"], ["y"])]
    fixed = model_of(nodes, {"x": ("int16", [1])}, {"m": np.asarray([2], np.int32)}, ("y", "int32"))
    assert prove(fixed).proven
    fixed.graph.input.append(helper.make_tensor_value_info("m", onnx.TensorProto.INT32, [1]))
    assert not prove(fixed).proven


# -- exported models


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every family and form of small models."""
    from ivit_onnx.api import calibrate, export

    folder = tmp_path_factory.mktemp("models")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)
    vit = calibrate(MICRO, pixels, num_heads=2)
    swin = DATA / "swin_micro_timm_fp.pth"
    grid = calibrate(swin, pixels, img_size=32)
    paths = {}

    def write(name: str, checkpoint: Path, **options: Any) -> None:
        paths[name] = folder / f"{name}.onnx"
        export(checkpoint, paths[name], **options)

    for bits in (7, 8, 15):
        write(f"vit-{bits}", MICRO, calib=vit, num_heads=2, softmax_bits=bits, nonlinear="ivit")
    write("vit-float32", MICRO, calib=vit, num_heads=2, input="float32", nonlinear="ivit")
    write("swin-8", swin, calib=grid, img_size=32, softmax_bits=8, nonlinear="ivit")
    for kind, prefix in (("ivit", ""), ("table", "table-")):
        write(f"{prefix}vit-flat", MICRO, calib=vit, num_heads=2, flat=True, nonlinear=kind)
        write(f"{prefix}swin-flat", swin, calib=grid, img_size=32, flat=True, nonlinear=kind)
    write("table-vit", MICRO, calib=vit, num_heads=2, nonlinear="table")
    write("table-swin", swin, calib=grid, img_size=32, nonlinear="table", softmax_bits=8)
    write("reference-ivit-vit", DATA / "deit_micro_ivit.pth.tar", num_heads=2)
    write("reference-ivit-swin", DATA / "swin_micro_ivit.pth.tar")
    return paths


def test_exported_models_are_proven(exported: dict[str, Path]) -> None:
    for name, path in exported.items():
        model = load_with_weights(path)
        report = prove(model)
        assert report.proven, (name, report.findings)
        assert report.checks > (900 if name.startswith("table-") else 1000)
        assert mismatch(model, report) is None
        assert {headroom.dtype for headroom in report.headrooms} == {"int32", "int64"}
        certificate = json.loads({entry.key: entry.value for entry in model.metadata_props}[METADATA_KEY])
        assert certificate["checks"] == report.checks


def test_exported_models_stay_in_their_ranges(exported: dict[str, Path]) -> None:
    rng = np.random.default_rng(1)
    for name in ("vit-flat", "table-swin-flat", "reference-ivit-swin"):
        model = load_with_weights(exported[name])
        image = rng.choice(np.asarray([0, 255, 128]), (1, 3, 32, 32))
        assert_inside(inliner.inline_local_functions(model), {"image": image})


def change_weight(model: onnx.ModelProto) -> None:
    """One byte."""
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("weight"))
    array = np.array(numpy_helper.to_array(tensor))
    array.flat[5] ^= 1
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def change_attribute(model: onnx.ModelProto) -> None:
    """One shift exponential."""
    node = next(node for node in model.graph.node if node.op_type == "IntAttention")
    next(entry for entry in node.attribute if entry.name == "n").i -= 1


def change_body(model: onnx.ModelProto) -> None:
    """One node of one function."""
    function = next(function for function in model.functions if function.name == "ShiftGELU")
    next(node for node in function.node if node.op_type == "Neg").op_type = "Abs"


def change_constant(model: onnx.ModelProto) -> None:
    """One number in one function."""
    function = next(function for function in model.functions if function.name == "ShiftExp")
    node = next(node for node in function.node if node.op_type == "Constant" and node.attribute[0].HasField("t"))
    node.attribute[0].t.CopyFrom(numpy_helper.from_array(np.asarray(4, np.int64)))


def change_order(model: onnx.ModelProto) -> None:
    """Two inputs of one node."""
    node = next(node for node in model.graph.node if node.op_type == "IntLinearAddNorm")
    node.input[6], node.input[8] = node.input[8], node.input[6]


def change_shape(model: onnx.ModelProto) -> None:
    """The size of the image."""
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value += 4


def add_sparse_weight(model: onnx.ModelProto) -> None:
    """Numbers of another kind, which ONNX Runtime takes in the place of an initializer of their name."""
    name = model.graph.initializer[0].name
    values = numpy_helper.from_array(np.asarray([7], np.int8), name)
    places = numpy_helper.from_array(np.asarray([0], np.int64), f"{name}.places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [4]))


def change_kind(model: onnx.ModelProto) -> None:
    """A sequence of images for an image."""
    kind = model.graph.input[0].type
    kind.CopyFrom(helper.make_sequence_type_proto(kind))


CHANGES = (
    change_weight,
    change_attribute,
    change_body,
    change_constant,
    change_order,
    change_shape,
    add_sparse_weight,
    change_kind,
)


@pytest.mark.parametrize("change", CHANGES)
def test_changed_models_do_not_match_their_certificate(
    exported: dict[str, Path], change: Callable[[onnx.ModelProto], None]
) -> None:
    model = load_with_weights(exported["vit-15"])
    before = graph_hash(model)
    change(model)
    assert graph_hash(model) != before
    assert "another graph" in str(mismatch(model, prove(model)))


@pytest.mark.parametrize("change", [change_body, change_constant])
def test_changed_bodies_are_not_proven(exported: dict[str, Path], change: Callable[[onnx.ModelProto], None]) -> None:
    """Kernels compute what the operator set says, whatever the file says."""
    for name in ("vit-15", "vit-flat"):
        model = load_with_weights(exported[name])
        if change is change_constant and name == "vit-flat":
            continue  # ShiftExp is part of the bodies that call it there
        change(model)
        assert any("not that of the operator set" in found.message for found in prove(model).findings)


def test_documentation_is_no_part_of_the_certificate(exported: dict[str, Path], tmp_path: Path) -> None:
    model = load_with_weights(exported["vit-15"])
    before = graph_hash(model)
    model.doc_string = model.graph.doc_string = model.graph.node[0].doc_string = "something else"
    for index, node in enumerate(model.graph.node):
        node.name = "the same name" if index % 3 else ""
    assert mismatch(model, prove(model)) is None
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, size_threshold=0)
    assert graph_hash(load_with_weights(tmp_path / "model.onnx")) == before


def test_verify_checks_the_certificate(
    exported: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = exported["vit-15"]
    good = call(capsys, "verify", "--prove", path)
    assert (good.status, good.err) == (0, "")
    assert "no overflow: " in good.out
    report = json.loads(call(capsys, "verify", "--prove", path, "--json").out)
    assert report["passed"]
    assert report["certified"]
    assert {"blocks.0.mlp", "head"} <= {node["node"] for node in report["nodes"]}

    model = load_with_weights(path)
    change_weight(model)
    onnx.save(model, tmp_path / "changed.onnx")
    assert not verify(tmp_path / "changed.onnx", count=1).passed
    bad = call(capsys, "verify", "--prove", tmp_path / "changed.onnx")
    assert bad.status == 1
    assert "WRONG certificate" in bad.out

    del model.metadata_props[:]
    onnx.save(model, tmp_path / "none.onnx")
    none = call(capsys, "verify", "--prove", tmp_path / "none.onnx")
    assert none.status == 0
    assert "no certificate" in none.out


def test_false_numbers_in_a_certificate(exported: dict[str, Path]) -> None:
    model = load_with_weights(exported["vit-15"])
    (entry,) = (entry for entry in model.metadata_props if entry.key == METADATA_KEY)
    false = json.loads(entry.value)
    false["tightest"]["int32"]["bits"] += 5
    entry.value = json.dumps(false)
    assert "tightest" in str(mismatch(model, prove(model)))
    for damaged in ("nothing", "[" * 100_000):
        entry.value = damaged
        assert mismatch(model, prove(model)) is not None


def test_certificates_of_other_analyses_are_about_the_graph_alone(exported: dict[str, Path]) -> None:
    """As of version 0.1.0 before it had a number of its own, which named nodes and may have counted otherwise."""
    model = load_with_weights(exported["vit-15"])
    (entry,) = (entry for entry in model.metadata_props if entry.key == METADATA_KEY)
    old = json.loads(entry.value)
    old |= {"tool": "ivit-onnx 0.1.0", "checks": 1, "tightest": {"int32": {"node": "head"}}}
    entry.value = json.dumps(old)
    assert mismatch(model, prove(model)) is None
    entry.value = json.dumps({**old, "graph": "sha256:0"})
    assert "another graph" in str(mismatch(model, prove(model)))


def test_the_exporter_refuses_what_overflows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A twin whose bias was made too large behind the exporter's back: no file, and the node is named."""
    from ivit_onnx.api import export
    from ivit_onnx.quant.modules import WeightedModule

    quantize = WeightedModule.quantize_linear

    def spoiled(self: WeightedModule, *arguments: Any) -> Any:
        weight, bias, scale = quantize(self, *arguments)
        return weight, (np.full_like(bias, 2**31 - 5) if self.path == "blocks.1.mlp" else bias), scale

    monkeypatch.setattr(WeightedModule, "quantize_linear", spoiled)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)
    with pytest.raises(ExportError, match=r"not proven .* blocks\.1\.mlp: .*expected less than 2\^31"):
        export(MICRO, tmp_path / "model.onnx", calib=pixels, num_heads=2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("tokens", "x0", "expected"), [(197, -(2**20), 15), (577, -100, 15), (577, -(2**10), 11), (577, -(2**29), 1)]
)
def test_n_is_lowered_where_sums_would_not_fit(tokens: int, x0: int, expected: int) -> None:
    from ivit_onnx.quant.exponents import fitting_n

    assert fitting_n(15, x0, tokens, 15) == expected
    assert fitting_n(15, x0, tokens, 8) == 15
