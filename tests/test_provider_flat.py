"""IVitExecutionProvider finds the operators again in graphs of standard integer operators, and only there."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ivit_onnx.exporters.finish import flatten
from onnx import AttributeProto, helper, numpy_helper
from onnx_ir.passes.common import RemoveUnusedFunctionsPass
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidGraph

import ivit_onnx
from cases import Case, random_case
from graphs import single_operator_model
from ivit_onnx.api import export
from ivit_onnx.opset import FLAT_FUNCTIONS, OPERATORS
from ivit_onnx.opset.generators import patterns
from networks import images, pixels, save_checkpoint, timm_network
from sessions import SILENT, assert_equal, expected

TABLE = Path(__file__).parents[1] / "custom_ops" / "ep" / "flat" / "patterns.inc"
#: Of each operator; all with IVIT_ALTERATIONS=1000, which takes a quarter of an hour.
ALTERATIONS = int(os.environ.get("IVIT_ALTERATIONS", "12"))
INLINED = [name for name in OPERATORS if name not in FLAT_FUNCTIONS]


def test_table_is_made_from_the_function_bodies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert patterns.main(["--check", "-o", str(TABLE)]) == 0
    copy = tmp_path / "patterns.inc"
    assert patterns.main(["-o", str(copy)]) == 0
    assert copy.read_text() == TABLE.read_text()
    copy.write_text(TABLE.read_text().replace("127", "126", 1))
    assert patterns.main(["--check", "-o", str(copy)]) == 1
    assert "out of date: run python -m ivit_onnx.opset.generators.patterns" in capsys.readouterr().err


def flat_model(case: Case) -> onnx.ModelProto:
    """One operator, inlined as `--flat` does it. Only the batch is a variable."""
    model = single_operator_model(case, constants=True)
    for value in model.graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            dim.Clear()
            if axis == 0:
                dim.dim_param = "batch"
            else:
                dim.dim_value = case.inputs[value.name].shape[axis]
    inlined = ir.from_proto(model)
    flatten(inlined)
    RemoveUnusedFunctionsPass()(inlined)
    return ir.to_proto(inlined)


def session(model: onnx.ModelProto | str, *, compiled: bool = True, **options: Any) -> onnxruntime.InferenceSession:
    """Without the custom operators of the library: those of the provider, or the bodies on the CPU provider."""
    session_options = onnxruntime.SessionOptions()
    session_options.log_severity_level = SILENT
    session_options.intra_op_num_threads = 1
    for name, value in options.items():
        setattr(session_options, name, value)
    if compiled:
        devices = [device for device in ivit_onnx.register() if device.ep_metadata["device"] == "cpu"]
        session_options.add_provider_for_devices(devices, {})
    content = model if isinstance(model, str) else model.SerializeToString()
    providers = None if compiled else ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(content, session_options, providers=providers)


def feed(case: Case, model: onnx.ModelProto) -> dict[str, Any]:
    return {value.name: case.inputs[value.name] for value in model.graph.input}


def result(outputs: list[Any]) -> Any:
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[[], list[int]]:
    """What the provider says: the number of operators that it compiled, of each graph, since the last call."""
    monkeypatch.setenv("IVIT_EP_LOG", "1")
    capfd.readouterr()
    return lambda: [int(count) for count in re.findall(r"ivit: compiles (\d+) operators", capfd.readouterr().err)]


@pytest.mark.parametrize("extreme", [False, True], ids=["normal", "extreme"])
@pytest.mark.parametrize("operator", INLINED)
def test_every_operator_is_found(operator: str, extreme: bool, log: Any) -> None:
    for seed in range(2):
        case = random_case(operator, np.random.default_rng(seed), extreme=extreme)
        model = flat_model(case)
        assert_equal(result(session(model).run(None, feed(case, model))), expected(case))
        assert log() == [1], f"{seed=}"


@pytest.mark.parametrize("level", ["ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_ALL"])
@pytest.mark.parametrize("operator", ["IntPixelEmbed", "IntWindowAttention", "IntAttention", "IntTokenMean"])
def test_at_every_level_of_optimization(operator: str, level: str, log: Any) -> None:
    case = random_case(operator, np.random.default_rng(7))
    model = flat_model(case)
    optimized = session(model, graph_optimization_level=getattr(onnxruntime.GraphOptimizationLevel, level))
    assert_equal(result(optimized.run(None, feed(case, model))), expected(case))
    assert log() == [1]


@pytest.mark.parametrize("operator", INLINED)
def test_fixed_batch(operator: str, log: Any) -> None:
    """All shapes are known: ONNX Runtime computes those of the graph beforehand."""
    case = random_case(operator, np.random.default_rng(8))
    model = flat_model(case)
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = case.inputs[value.name].shape[0]
    assert_equal(result(session(model).run(None, feed(case, model))), expected(case))
    assert log() == [1]


def alterations(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.ModelProto]]:
    """The model with one constant, one attribute, or the order of two operands changed."""

    def altered() -> onnx.ModelProto:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        return copy

    for index, node in enumerate(model.graph.node):
        what = f"{node.op_type} {node.output[0]}"
        if node.op_type == "Constant" and node.attribute[0].name != "value":
            copy = altered()
            copy.graph.node[index].attribute[0].i += 1
            yield what, copy
            continue
        if node.op_type == "Constant":
            for position in range(min(3, numpy_helper.to_array(node.attribute[0].t).size)):
                copy = altered()
                tensor = copy.graph.node[index].attribute[0].t
                array = numpy_helper.to_array(tensor).copy()
                array.reshape(-1)[position] += 1
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
                yield what, copy
            continue
        for number, attribute in enumerate(node.attribute):
            copy = altered()
            changed = copy.graph.node[index].attribute[number]
            if attribute.type == AttributeProto.INT:
                changed.i += 1
            elif attribute.type == AttributeProto.INTS and len(attribute.ints) > 1:
                changed.ints[0], changed.ints[1] = attribute.ints[1], attribute.ints[0]
            yield f"{what} {attribute.name}", copy
        if node.op_type in ("Sub", "Div", "Mod", "MatMulInteger", "Greater", "Concat") and len(node.input) > 1:
            copy = altered()
            swapped = copy.graph.node[index].input
            swapped[0], swapped[1] = node.input[1], node.input[0]
            yield f"{what} swapped", copy


@pytest.mark.parametrize("operator", INLINED)
def test_altered_graphs_keep_their_meaning(operator: str) -> None:
    """Whatever is different from the operator's body, the integers are those of the graph as it is."""
    case = random_case(operator, np.random.default_rng(1))
    tested = 0
    every = list(alterations(flat_model(case)))
    for _, model in random.Random(operator).sample(every, min(ALTERATIONS, len(every))):
        inputs = feed(case, model)
        try:
            wanted = result(session(model, compiled=False).run(None, inputs))
        except Exception:  # not a valid graph any more
            continue
        try:
            compiled = session(model)
        except InvalidGraph as error:
            # From version 1.24 on, ONNX Runtime has the types of the domain's operators from the provider.
            if "Type Error" not in str(error):
                raise
            continue
        assert_equal(result(compiled.run(None, inputs)), wanted)
        tested += 1
    assert tested > 0


@pytest.mark.parametrize(("operator", "part"), [("IntAttention", "Shiftmax"), ("IntTableAttention", "TableSoftmax")])
def test_activations_of_another_type_are_not_taken(operator: str, part: str) -> None:
    """Scores as uint16: the body of the softmax takes them, the operator does not.

    Without the operator the graph stays with its body. From ONNX Runtime 1.24 on, the provider brings the operator, and
    ONNX Runtime checks its types, as it does with the library's custom operators.
    """
    case = random_case(operator, np.random.default_rng(1))
    model = flat_model(case)
    scores = next(node.input[0] for node in model.graph.node if node.op_type == part)
    cast = next(node for node in model.graph.node if scores in node.output)
    assert cast.op_type == "Cast"
    cast.attribute[0].i = onnx.TensorProto.UINT16
    wanted = result(session(model, compiled=False).run(None, feed(case, model)))
    if tuple(map(int, onnxruntime.__version__.split(".")[:2])) >= (1, 24):
        with pytest.raises(Exception, match=rf"Type 'tensor\(uint16\)' of input parameter .* of operator \({part}\)"):
            session(model)
    else:
        assert_equal(result(session(model).run(None, feed(case, model))), wanted)


def test_other_integers_are_not_taken_for_the_operator(log: Any) -> None:
    """No operator of the domain clamps to 126."""
    case = random_case("IntLinear", np.random.default_rng(3))
    model = flat_model(case)
    limits = [
        node
        for node in model.graph.node
        if node.op_type == "Constant"
        and node.attribute[0].name == "value"
        and numpy_helper.to_array(node.attribute[0].t).tolist() == 127
    ]
    limits[-1].attribute[0].t.CopyFrom(numpy_helper.from_array(np.int64(126)))
    reference = result(session(model, compiled=False).run(None, feed(case, model)))
    assert_equal(result(session(model).run(None, feed(case, model))), reference)
    assert log() == []


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_parameters_out_of_range_stay_with_the_graph(seed: int) -> None:
    """The body of IntLinear takes more than the operator: parameters of other shapes, of which there is no operator."""
    rng = np.random.default_rng(seed)
    case = random_case("IntLinear", rng)
    columns = case.inputs["weight"].shape[1]
    case.inputs["bias"] = case.inputs["bias"][None, :columns]
    model = flat_model(case)
    wanted = result(session(model, compiled=False).run(None, feed(case, model)))
    assert_equal(result(session(model).run(None, feed(case, model))), wanted)


@pytest.mark.parametrize("operator", ["IntLinear", "IntPixelEmbed"])
def test_one_channel_without_a_bias(operator: str, log: Any) -> None:
    """ONNX Runtime leaves out the addition of a single zero, so the parameter is nowhere in its graph."""
    case = random_case(operator, np.random.default_rng(6))
    for name in ("weight", "bias", "multiplier", "shift", "position", "prefix_tokens"):
        if name in case.inputs:
            case.inputs[name] = np.ascontiguousarray(case.inputs[name][..., :1])
    for name in ("bias", "position"):
        if name in case.inputs:
            case.inputs[name][...] = 0
    model = flat_model(case)
    assert_equal(result(session(model).run(None, feed(case, model))), expected(case))
    assert log() == [1]


@pytest.mark.parametrize("operator", ["IntAttention", "IntWindowAttention", "Requantize"])
def test_vectors_of_one_element(operator: str, log: Any) -> None:
    """What the body broadcasts, the operator takes as a scalar."""
    case = random_case(operator, np.random.default_rng(9))
    wanted_case = Case(case.operator, dict(case.inputs), case.attributes)
    for name in ("context_multiplier", "context_shift", "multiplier", "shift"):
        if name in case.inputs:
            one = case.inputs[name].reshape(-1)[:1]
            case.inputs[name], wanted_case.inputs[name] = one, one.reshape(())
    model = flat_model(case)
    assert_equal(result(session(model).run(None, feed(case, model))), expected(wanted_case))
    assert log() == [1]


@pytest.mark.parametrize("size", [1, 3])
def test_channels_that_are_not_known(size: int, log: Any) -> None:
    """The body broadcasts one channel to three, on either side; the operator does not, so only its end is taken."""
    case = random_case("IntPixelEmbed", np.random.default_rng(10))
    channels = case.inputs["image"].shape[1]
    assert channels > 1
    if size == 1:
        for name in ("pixel_multiplier", "pixel_offset", "pixel_shift"):
            case.inputs[name] = case.inputs[name][:1]
    else:
        case.inputs["image"] = case.inputs["image"][:, :1]
    model = flat_model(case)
    model.graph.input[0].type.tensor_type.shape.dim[1].Clear()
    wanted = result(session(model, compiled=False).run(None, feed(case, model)))
    assert_equal(result(session(model).run(None, feed(case, model))), wanted)
    assert log() == [1]


def test_one_position_for_all_patches(log: Any) -> None:
    """The body broadcasts it; the operator refuses it, so its parts before and after the position are taken."""
    case = random_case("IntPixelEmbed", np.random.default_rng(10))
    case.inputs["position"] = case.inputs["position"][:1]
    model = flat_model(case)
    wanted = result(session(model, compiled=False).run(None, feed(case, model)))
    assert_equal(result(session(model).run(None, feed(case, model))), wanted)
    assert log() == [1, 1]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flat")
    checkpoint = save_checkpoint(timm_network(), folder / "model.pth")
    export(checkpoint, folder / "model.onnx", calib=images(8), num_heads=3, flat=True, nonlinear="ivit")
    return folder / "model.onnx"


@pytest.mark.parametrize("value", ["score", "accumulator_6", "x64_8", "blocks.0.attn.core", "per_head", "rows", "half"])
def test_values_inside_of_an_operator_may_be_outputs(network: Path, value: str, log: Any) -> None:
    """An operator does not give them, so its nodes are left; the others are still found."""
    model = onnx.load(network)
    model.graph.output.append(helper.make_empty_tensor_value_info(value))
    image = {"image": pixels(2)}
    wanted = session(model, compiled=False).run(None, image)
    assert_equal(tuple(session(model).run(None, image)), tuple(wanted))
    assert sum(log()) >= 10


def test_nodes_around(network: Path, log: Any) -> None:
    """A file with a node of its own at either end and one in the middle: three stay, the rest is found."""
    model = onnx.load(network)
    graph = model.graph
    (head,) = [node for node in graph.node if "logits" in node.output]
    head.output[0] = "before"
    graph.node.append(helper.make_node("Neg", ["before"], ["logits"], "end"))
    (reader,) = [node for node in graph.node if node.op_type == "IntLayerNorm" and node.output[0] == "blocks.1.norm1"]
    (maker,) = [node for node in graph.node if reader.input[0] in node.output]
    place = list(graph.node).index(maker)
    twice = helper.make_node("Neg", ["stream"], ["middle"], "middle")
    back = helper.make_node("Neg", ["middle"], [reader.input[0]], "back")
    maker.output[0] = "stream"
    graph.node.insert(place + 1, twice)
    graph.node.insert(place + 2, back)
    image = {"image": pixels(3)}
    wanted = session(model, compiled=False).run(None, image)
    assert_equal(tuple(session(model).run(None, image)), tuple(wanted))
    # One more than without: the normalisation is not right behind the residual connection.
    assert sum(log()) == 15
