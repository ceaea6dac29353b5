"""Models that were made to do harm, or only to be odd: errors, or the same integers from every implementation.

Each was found by the random tests in the folder `fuzz`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import ivit_onnx
from cases import Case, random_case
from fuzz import hostile_models
from fuzz.worker import peak, reset_peak
from graphs import single_operator_model
from ivit_onnx.errors import ModelError
from ivit_onnx.float_audit import audit
from ivit_onnx.model_files import load_graph
from ivit_onnx.proof import METADATA_KEY, mismatch, prove
from sessions import assert_equal, expected, run, session
from test_provider_flat import flat_model

LEVELS = onnxruntime.GraphOptimizationLevel


def both(path: Path, inputs: dict[str, Any], *, optimized: bool = True) -> list[list[Any]]:
    """What the kernels and the provider make of a model."""
    results = []
    for provider in ("cpu", "ivit-cpu"):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = LEVELS.ORT_ENABLE_ALL if optimized else LEVELS.ORT_DISABLE_ALL
        model = ivit_onnx.create_session(path, provider=provider, session_options=options)
        results.append(model.run(None, inputs))
    return results


def standard_model(nodes: list[Any], x: Any, y: Any, constants: dict[str, Any], path: Path) -> Path:
    initializers = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "standard", [x] if x is not None else [], [y], initializers)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ivit", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


@pytest.mark.parametrize("operator", ["IntLinear", "IntLinear32"])
def test_inputs_without_elements_make_outputs_with_some(operator: str, tmp_path: Path) -> None:
    """A product over no columns is the bias. The provider once left the output as it found the memory."""
    case = random_case(operator, np.random.default_rng(5))
    case.inputs["x"] = case.inputs["x"][..., :0]
    case.inputs["weight"] = case.inputs["weight"][:0]
    path = tmp_path / "model.onnx"
    onnx.save(single_operator_model(case, constants=True, functions=False), path)
    for found in both(path, {"x": case.inputs["x"]}):
        assert_equal(found[0], expected(case))


def test_mean_of_no_tokens_is_refused(tmp_path: Path) -> None:
    case = random_case("IntTokenMean", np.random.default_rng(1))
    path = tmp_path / "model.onnx"
    onnx.save(single_operator_model(case, constants=True, functions=False), path)
    model = ivit_onnx.create_session(path, provider="ivit-cpu")
    with pytest.raises(Exception, match=r"T \(tokens\): expected 1\.\.65535, found 0"):
        model.run(None, {"x": case.inputs["x"][:, :0]})


@pytest.mark.parametrize("operator", ["IntLinear", "IntMlpAdd", "ShiftGELU", "IntLayerNorm"])
def test_data_that_is_constant(operator: str, tmp_path: Path) -> None:
    """The data of an int8 operator as an initializer: the provider took it for a weight and dropped it."""
    case = random_case(operator, np.random.default_rng(3))
    model = single_operator_model(case, constants=True, functions=False)
    (x,) = [value for value in model.graph.input if value.name == "x"]
    model.graph.input.remove(x)
    model.graph.initializer.append(onnx.numpy_helper.from_array(case.inputs["x"], "x"))
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    for found in both(path, {name: case.inputs[name] for name in ("residual",) if name in case.inputs}):
        assert_equal(found[0], expected(case))


@pytest.mark.parametrize("optimized", [False, True])
def test_casts_of_scalars_and_constants_are_left_to_others(tmp_path: Path, optimized: bool) -> None:
    cast = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.INT32)
    y = helper.make_tensor_value_info("y", TensorProto.INT32, [])
    x = helper.make_tensor_value_info("x", TensorProto.INT8, [])
    path = standard_model([cast], x, y, {}, tmp_path / "scalar.onnx")
    for found in both(path, {"x": np.array(-5, np.int8)}, optimized=optimized):
        assert_equal(found[0], np.array(-5, np.int32))
    y = helper.make_tensor_value_info("y", TensorProto.INT32, [2])
    path = standard_model([cast], None, y, {"x": np.array([1, -2], np.int8)}, tmp_path / "constant.onnx")
    for found in both(path, {}, optimized=optimized):
        assert_equal(found[0], np.array([1, -2], np.int32))


def test_inputs_that_are_left_out(tmp_path: Path) -> None:
    """A loop without a count has an empty first input; a slice without axes an empty last one."""
    body = helper.make_graph(
        [helper.make_node("Not", ["go"], ["on"]), helper.make_node("Identity", ["carried"], ["out"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.INT8, [1, 3, 2]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("out", TensorProto.INT8, [1, 3, 2]),
        ],
    )
    nodes = [
        helper.make_node("Loop", ["", "true", "x"], ["looped"], body=body),
        helper.make_node("Slice", ["looped", "from", "to", ""], ["y"]),
    ]
    constants = {"true": np.array(True), "from": np.array([0]), "to": np.array([1])}
    x = helper.make_tensor_value_info("x", TensorProto.INT8, [1, 3, 2])
    y = helper.make_tensor_value_info("y", TensorProto.INT8, [1, 3, 2])
    path = standard_model(nodes, x, y, constants, tmp_path / "model.onnx")
    data = np.arange(6, dtype=np.int8).reshape(1, 3, 2)
    for found in both(path, {"x": data}):
        assert_equal(found[0], data)


def test_a_weight_without_columns_may_have_any_number_of_rows() -> None:
    """2^62 rows of nothing are a file of some bytes, and once were 2^62 steps of a loop."""
    case = random_case("IntLinear", np.random.default_rng(0))
    model = single_operator_model(case, constants=True, functions=False)
    for tensor in model.graph.initializer:
        dims = [2**62, 0] if tensor.name == "weight" else [] if tensor.name in ("multiplier", "shift") else [0]
        content = onnx.numpy_helper.to_array(tensor).reshape(-1)[:1].reshape(dims) if dims == [] else None
        tensor.ClearField("raw_data")
        tensor.ClearField("dims")
        tensor.dims.extend(dims)
        if content is not None:
            tensor.raw_data = content.tobytes()
    empty = session(model)
    with pytest.raises(Exception, match="shape of input x: expected"):
        run(empty, case)


def test_windows_whose_biases_would_need_gigabytes(tmp_path: Path) -> None:
    case = random_case("IntWindowAttention", np.random.default_rng(0))
    window, heads = 256, 1
    case.attributes |= {"window": window, "heads": heads, "shift": 0, "height": 1, "width": 1}
    case.inputs["qkv"] = np.zeros((1, 1, 3 * heads), np.int8)
    case.inputs["padding"] = np.zeros(3 * heads, np.int8)
    case.inputs["relative_position"] = np.zeros(((2 * window - 1) ** 2, heads), np.int16)
    for name in ("context_multiplier", "context_shift"):
        case.inputs[name] = np.asarray(case.inputs[name].reshape(-1)[0])
    path = tmp_path / "model.onnx"
    onnx.save(single_operator_model(case, constants=True, functions=False), path)
    for provider in ("cpu", "ivit-cpu"):
        with pytest.raises(Exception, match=r"heads\*window\^4 \(pairs of tokens .*\): expected 1\.\.268435456"):
            ivit_onnx.create_session(path, provider=provider)


def test_dimensions_whose_product_overflows(tmp_path: Path) -> None:
    """2^62 positions and as many prefix tokens, all without channels."""
    case: Case = random_case("IntPatchEmbed", np.random.default_rng(0))
    model = single_operator_model(case, constants=True, functions=False)
    for tensor in model.graph.initializer:
        if tensor.name in ("position", "prefix_tokens"):
            tensor.ClearField("raw_data")
            tensor.dims[:] = [2**62, 0]
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    for provider in ("cpu", "ivit-cpu"):
        with pytest.raises((ModelError, Exception), match=r"expected fewer than 2\^63 elements|shape of input|rows of"):
            ivit_onnx.create_session(path, provider=provider).run(None, {"image": case.inputs["image"]})


def test_verification_does_not_count_the_elements_of_a_tensor() -> None:
    """onnx propagates the data of vectors symbolically, an object for each element."""
    vector = helper.make_tensor_value_info("y", TensorProto.INT32, [2**28])
    x, z = (helper.make_tensor_value_info(name, TensorProto.INT32, ["n"]) for name in "xz")
    graph = helper.make_graph([helper.make_node("Add", ["x", "y"], ["z"])], "graph", [x, vector], [z])
    model = helper.make_model(graph)
    reset_peak()
    before = peak()
    assert audit(model).findings == ()
    assert peak() - before < 2**28


def test_random_models(tmp_path: Path) -> None:
    """A few of the cases that `make fuzz` runs by the thousand."""
    hostile_models.prepare(tmp_path)
    results = {hostile_models.check(seed, tmp_path) for seed in range(40)}
    assert results >= {"refused", "ran"}


@pytest.mark.parametrize("provider", ["cpu", "ivit-cpu"])
def test_names_that_are_no_text(provider: str, tmp_path: Path) -> None:
    """ONNX Runtime puts them into its message, which Python then cannot read."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.INT32, ["n"]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "absent"], ["y"])], "graph", [x], [y])
    content = helper.make_model(graph, ir_version=10).SerializeToString()
    path = tmp_path / "model.onnx"
    path.write_bytes(content.replace(b"absent", b"abs\xe2nt"))
    with pytest.raises(ModelError, match="names that are not valid UTF-8"):
        ivit_onnx.create_session(path, provider=provider)


@pytest.mark.parametrize("what", ["output", "symbol", "author", "comment"])
def test_what_is_no_text_anywhere(what: str, tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["symbol"]) for name in ("x", "output"))
    node = helper.make_node("Relu", ["x"], ["output"], doc_string="comment")
    model = helper.make_model(helper.make_graph([node], "graph", [x], [y]), producer_name="author")
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString().replace(what.encode(), what.encode()[:-1] + b"\xe2"))
    with pytest.raises(ModelError, match="names that are not valid UTF-8"):
        load_graph(path)


@pytest.mark.parametrize("inside", [False, True])
def test_absent_inputs_of_largest_and_least(inside: bool, tmp_path: Path) -> None:
    """ONNX Runtime takes the model and crashes when it runs."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.INT32, ["n"]) for name in "xy")
    largest = helper.make_node("Max", ["x", ""], ["y"], name="largest")
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("own", 1)]
    functions = [helper.make_function("own", "F", ["x"], ["y"], [largest], opsets[:1])] if inside else []
    call = helper.make_node("F", ["x"], ["y"], domain="own") if inside else largest
    graph = helper.make_graph([call], "graph", [x], [y])
    onnx.save(helper.make_model(graph, functions=functions, opset_imports=opsets), tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="an input of Max 'largest' is left out"):
        load_graph(tmp_path / "model.onnx")


@pytest.mark.parametrize("operator", ["IntLinear", "IntLayerNorm", "IntAttention", "IntPixelEmbed"])
@pytest.mark.parametrize("flat", [False, True], ids=["operators", "flat"])
def test_weights_that_begin_at_any_byte(operator: str, flat: bool, tmp_path: Path) -> None:
    """Those of a file beside the model are where the file has them, and need not be aligned."""
    case = random_case(operator, np.random.default_rng(0))
    model = flat_model(case) if flat else single_operator_model(case, constants=True, functions=True)
    content = b"\0"
    for tensor in model.graph.initializer:
        data = onnx.numpy_helper.to_array(tensor).tobytes()
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "weights"), ("offset", len(content)), ("length", len(data))):
            tensor.external_data.add(key=key, value=str(value))
        content += data + b"\0" * (len(data) % 2)  # the next one begins at an odd byte
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    (tmp_path / "weights").write_bytes(content)
    for provider in ("cpu", "ivit-cpu"):
        assert_equal(run(ivit_onnx.create_session(path, provider=provider), case), expected(case))


def doubling(levels: int, first: str) -> onnx.ModelProto:
    """A chain of functions that call the next one twice; the last adds, or calls the function `first`."""
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("f", 1)]
    functions = [
        helper.make_function(
            "f",
            f"f{level}",
            ["x"],
            ["y"],
            [
                helper.make_node(f"f{level + 1}", ["x"], ["half"], domain="f"),
                helper.make_node(f"f{level + 1}", ["half"], ["y"], domain="f"),
            ],
            imports,
        )
        for level in range(levels)
    ]
    last = helper.make_node(first, ["x"], ["y"], domain="f") if first else helper.make_node("Add", ["x", "x"], ["y"])
    functions.append(helper.make_function("f", f"f{levels}", ["x"], ["y"], [last], imports))
    x, y = (helper.make_tensor_value_info(name, TensorProto.INT64, ["n"]) for name in "xy")
    graph = helper.make_graph([helper.make_node("f0", ["x"], ["y"], domain="f")], "graph", [x], [y])
    return helper.make_model(graph, functions=functions, opset_imports=imports, ir_version=10)


@pytest.mark.parametrize("place", ["input", "value_info"])
def test_a_dimension_below_0(place: str, tmp_path: Path) -> None:
    """Inference of shapes ends the process where such a tensor is sliced."""
    path, model = tmp_path / "model.onnx", doubling(3, "")
    if place == "value_info":
        model.graph.value_info.add().name = "middle"
    value = getattr(model.graph, place)[0]
    value.type.tensor_type.elem_type = TensorProto.INT32
    value.type.tensor_type.shape.dim.add().dim_value = -65536
    onnx.save(model, path)
    with pytest.raises(ModelError, match=f"value {value.name!r} has a dimension below 0"):
        load_graph(path)


def test_a_batch_of_millions(tmp_path: Path) -> None:
    """A few bytes of a file; ONNX Runtime makes constants as large as the batch when it loads the model."""
    path = tmp_path / "model.onnx"
    model = doubling(3, "")
    shape = model.graph.input[0].type.tensor_type.shape
    shape.dim.add().dim_value = 1 << 20
    shape.dim.add().dim_value = 512
    onnx.save(model, path)
    load_graph(path)
    shape.dim[-1].dim_value = 513
    onnx.save(model, path)
    with pytest.raises(ModelError, match="expected at most 536,870,912 elements of an input, found 537,919,488"):
        load_graph(path)


def test_functions_that_expand_without_end(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(doubling(3, ""), path)
    load_graph(path)
    onnx.save(doubling(40, ""), path)
    with pytest.raises(ModelError, match="at most 262,144 nodes with all functions expanded"):
        load_graph(path)
    onnx.save(doubling(3, "f1"), path)
    with pytest.raises(ModelError, match=r"function f\.f1 calls itself"):
        load_graph(path)
    twice = doubling(3, "")
    twice.functions.append(twice.functions[0])
    onnx.save(twice, path)
    with pytest.raises(ModelError, match=r"two functions f\.f0"):
        load_graph(path)


def test_proof_of_models_that_do_not_fit_together(tmp_path: Path) -> None:
    """A table without elements, an attribute of another type, a weight that is not as large as its shape."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.INT64, [2]) for name in "xy")
    scalar = helper.make_tensor_value_info("x", TensorProto.INT64, [])
    weight = helper.make_tensor("w", TensorProto.INT64, [1], [1])
    number = helper.make_node("Constant", [], ["y"], value=1)
    number.attribute[0].CopyFrom(helper.make_attribute("value", b"1"))
    gather = helper.make_graph([helper.make_node("Gather", ["x", "x"], ["y"])], "graph", [scalar], [y])
    assert "expected different axes" in prove(helper.make_model(gather)).findings[0].message
    text = prove(helper.make_model(helper.make_graph([number], "graph", [x], [y])))
    assert "attribute value: expected TENSOR, found STRING" in text.findings[0].message
    case = random_case("IntLinear32", np.random.default_rng(0))
    empty = single_operator_model(case, constants=True, functions=True)
    for tensor in empty.graph.initializer:
        if tensor.name == "weight":
            tensor.ClearField("raw_data")
            tensor.dims[:] = [0, 2**31]
    with pytest.raises(ModelError, match="tensor weight without elements"):
        prove(empty)
    unused = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "graph", [x], [y], [weight])
    model = helper.make_model(unused)
    report = prove(model)
    model.metadata_props.add(key=METADATA_KEY, value="{}")
    model.graph.initializer[0].dims[0] = 3
    with pytest.raises(ModelError, match="the model is not valid"):
        mismatch(model, report)
    lost = helper.make_model(helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "graph", [x], [y]))
    assert [finding.message for finding in prove(lost).findings] == ["nothing computes this output"]
