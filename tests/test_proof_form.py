"""The form of a model that is proven: what could be read in two ways is a finding with its reason, and nothing else is.

Each case changes one thing of a model that is proven.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import AttributeProto, TensorProto, defs, helper, numpy_helper

from graphs import called_functions
from ivit_onnx.float_audit import audit
from ivit_onnx.opset import DOMAIN, OPSET_VERSION
from ivit_onnx.proof import prove
from ivit_onnx.proof.rules import RULES, VERSIONS
from proofs import model_of

Model = onnx.ModelProto
Change = Callable[[Model], None]


def plain() -> Model:
    """Sums of squares of rows of bytes, scaled by two functions of the domain."""
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.INT32),
        helper.make_node("Mul", ["wide", "wide"], ["squares"]),
        helper.make_node("Add", ["squares", "c"], ["more"]),
        helper.make_node("ReduceSum", ["more", "axes"], ["sums"], keepdims=1),
        helper.make_node("Requantize32", ["sums", "multiplier", "shift"], ["scaled"], domain=DOMAIN),
        helper.make_node("Cast", ["scaled"], ["small"], to=TensorProto.INT32),
        helper.make_node("Neg", ["small"], ["y"]),
    ]
    constants = {
        "c": np.asarray([1, 2, 3], np.int32),
        "axes": np.asarray([1]),
        "multiplier": np.asarray(2**30, np.int32),
        "shift": np.asarray(40, np.int8),
    }
    model = model_of(nodes, {"x": ("int8", ["n", 3])}, constants, ("y", "int32"))
    model.graph.node.append(
        helper.make_node("ShiftGELU", ["x"], ["gelu"], domain=DOMAIN, x0=-10, n=8),
    )
    del model.functions[:]
    model.functions.extend(called_functions(model.graph.node))
    return model


def second_entry(model: Model) -> None:
    for value in ("{}", "null"):
        model.metadata_props.add(key="ivit.proof", value=value)


def node(model: Model, operator: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == operator)


def add_attribute(operator: str, name: str, value: Any) -> Change:
    return lambda model: node(model, operator).attribute.append(helper.make_attribute(name, value))


def first_attribute(operator: str) -> Callable[[Model], AttributeProto]:
    return lambda model: node(model, operator).attribute[0]


def set_fields(find: Callable[[Model], Any], **fields: Any) -> Change:
    def change(model: Model) -> None:
        for name, value in fields.items():
            setattr(find(model), name, value)

    return change


def tensor(model: Model, name: str = "c") -> TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def as_numbers(*numbers: int, name: str = "c", kind: int = TensorProto.INT32) -> Change:
    def change(model: Model) -> None:
        tensor(model, name).CopyFrom(TensorProto(name=name, data_type=kind, dims=[3], int32_data=numbers))

    return change


def unknown_field(find: Callable[[Model], Any]) -> Change:
    """Field 1000, a number."""

    def change(model: Model) -> None:
        find(model).MergeFromString(b"\xc0\x3e\x07")

    return change


def function_of(domain: str, name: str) -> onnx.FunctionProto:
    body = [helper.make_node("Sub", ["a", "b"], ["c"])]
    return helper.make_function(domain, name, ["a", "b"], ["c"], body, [helper.make_opsetid("", 21)])


def own_function(model: Model) -> onnx.FunctionProto:
    return next(function for function in model.functions if function.name == "ShiftExp")


def set_import(domain: str, version: int, *, more: bool = False) -> Change:
    def change(model: Model) -> None:
        if more:
            model.opset_import.append(helper.make_opsetid(domain, version))
        next(entry for entry in reversed(model.opset_import) if entry.domain == domain).version = version

    return change


def describe(name: str, kind: int, shape: Any) -> Change:
    return lambda model: model.graph.value_info.append(helper.make_tensor_value_info(name, kind, shape))


def input_dim(model: Model) -> Any:
    return model.graph.input[0].type.tensor_type.shape.dim[0]


def drop_attribute(operator: str) -> Change:
    return lambda model: node(model, operator).attribute.pop()


def sparse(model: Model) -> None:
    values = numpy_helper.from_array(np.asarray([1], np.int32), "sparse")
    indices = numpy_helper.from_array(np.asarray([0]), "indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [3]))


def reference(name: str, to: str) -> Change:
    def change(model: Model) -> None:
        found = next(entry for entry in node(model, "ReduceSum").attribute if entry.name == name)
        found.CopyFrom(AttributeProto(name=name, ref_attr_name=to, type=AttributeProto.INT))

    return change


def older(*operators: str, version: int) -> Change:
    """The model in an older operator set, its functions too."""

    def change(model: Model) -> None:
        for imports in (model.opset_import, *(function.opset_import for function in model.functions)):
            for entry in imports:
                if not entry.domain:
                    entry.version = version

    return change


def second_result(model: Model) -> None:
    model.graph.node.append(helper.make_node("Neg", ["small"], ["y"]))


DEVIATIONS: dict[str, tuple[Change, str]] = {
    # attributes, inputs and outputs of nodes
    "twice": (add_attribute("ReduceSum", "keepdims", 0), "attribute keepdims stands 2 times, expected once"),
    "twice in a call": (add_attribute("ShiftGELU", "n", 31), "attribute n stands 2 times"),
    "unknown": (add_attribute("ReduceSum", "axes", [0]), "attribute axes is none of the operator in operator set 21"),
    "unknown in a call": (add_attribute("ShiftGELU", "bits", 8), "attribute bits is none of the function"),
    "other type": (add_attribute("Neg", "alpha", 1.0), "attribute alpha is none of the operator"),
    "float for an integer": (
        lambda model: first_attribute("Cast")(model).CopyFrom(helper.make_attribute("to", 6.0)),
        "attribute to: expected INT, found FLOAT",
    ),
    "float in a call": (
        lambda model: first_attribute("ShiftGELU")(model).CopyFrom(helper.make_attribute("x0", -10.0)),
        "attribute x0: expected INT, found FLOAT",
    ),
    "no type": (lambda model: first_attribute("ReduceSum")(model).ClearField("type"), "attribute keepdims has no type"),
    "two values": (set_fields(first_attribute("ReduceSum"), f=1.0), "expected a value in i only, found f too"),
    "no flag": (set_fields(first_attribute("ReduceSum"), i=2), "attribute keepdims: expected 0 or 1, found 2"),
    "none of a call": (drop_attribute("ShiftGELU"), "attribute x0: expected an integer, found none"),
    "none of an operator": (drop_attribute("Cast"), "expected attribute to, found none"),
    "reference in the graph": (reference("keepdims", "n"), "refers to n, which is no attribute of a function around"),
    "reference to nothing": (
        lambda model: setattr(
            next(n for n in own_function(model).node if n.attribute and n.attribute[0].ref_attr_name).attribute[0],
            "ref_attr_name",
            "m",
        ),
        "refers to m, which is no attribute",
    ),
    "constants with two values": (
        lambda model: next(n for n in own_function(model).node if n.op_type == "Constant").attribute.append(
            helper.make_attribute("value_ints", [7])
        ),
        "expected one value, found 2",
    ),
    "too many inputs": (lambda model: node(model, "Neg").input.append("x"), "expected 1 inputs, found 2"),
    "too many arguments": (lambda model: node(model, "ShiftGELU").input.append("x"), "expected 1 inputs, found 2"),
    "too many outputs": (lambda model: node(model, "Neg").output.append("z"), "expected 1 outputs, found 2"),
    "no output": (lambda model: node(model, "Neg").ClearField("output"), "expected a name for the first output"),
    "no such operator": (set_fields(lambda m: node(m, "Neg"), op_type="Minus"), "ONNX has no such operator"),
    # fields
    "field of a node": (unknown_field(lambda model: node(model, "Mul")), "has fields that NodeProto of ONNX"),
    "field of an attribute": (unknown_field(first_attribute("Cast")), "has fields that AttributeProto of ONNX"),
    "field of a tensor": (unknown_field(tensor), "c: has fields that TensorProto of ONNX"),
    "field of a dimension": (unknown_field(input_dim), "x: x: has fields that Dimension of ONNX"),
    "field of a function": (unknown_field(own_function), "ShiftExp: has fields that FunctionProto of ONNX"),
    "training": (lambda model: model.training_info.add(), "expected no training_info"),
    "sparse": (sparse, "expected no sparse_initializer"),
    "quantization": (lambda model: model.graph.quantization_annotation.add(), "expected no quantization_annotation"),
    "segment": (lambda model: tensor(model).segment.SetInParent(), "c: c: expected no segment"),
    "overload": (set_fields(lambda model: node(model, "ShiftGELU"), overload="other"), "expected no overload"),
    "overload of a function": (set_fields(own_function, overload="other"), "expected no overload"),
    "default": (
        lambda model: own_function(model).attribute_proto.append(helper.make_attribute("more", 1)),
        "expected no attribute_proto",
    ),
    # functions
    "shadow": (
        lambda model: model.functions.append(function_of("", "Mul")),
        "functions of the domain ivit only, found",
    ),
    "contributed": (
        lambda model: model.functions.append(function_of("com.microsoft", "Gelu")),
        "functions of the domain ivit only, found one of 'com.microsoft'",
    ),
    "unused": (lambda model: model.functions.append(function_of(DOMAIN, "IntLinear")), "nothing calls this function"),
    "two functions": (lambda model: model.functions.append(own_function(model)), "stands in the model 2 times"),
    # operator sets
    "import twice": (set_import("", 13, more=True), "imports operator set '' 2 times, expected once"),
    "import of both names": (set_import("ai.onnx", 13, more=True), "imports operator set '' 2 times"),
    "later version of the domain": (
        set_import(DOMAIN, OPSET_VERSION + 1),
        f"expected version 1 to {OPSET_VERSION} of the operator set ivit, found {OPSET_VERSION + 1}",
    ),
    "no version of the domain": (set_import(DOMAIN, 0), "of the operator set ivit, found 0"),
    "far future": (set_import("", 2**31 + 1), "found 2147483649"),
    "before the first": (set_import("", -1), "expected an operator set of ONNX from 1 to"),
    "future": (set_import("", 999), "expected an operator set of ONNX from 1 to"),
    "version of more than 32 bits": (set_import("", 2**40), "expected an operator set of ONNX from 1 to"),
    "version of a function": (
        lambda model: setattr(own_function(model).opset_import[0], "version", 13),
        "imports version 13 of operator set '', but the model version 21",
    ),
    "import of a function only": (
        lambda model: own_function(model).opset_import.append(helper.make_opsetid("other", 1)),
        "imports version 1 of operator set 'other', but the model none",
    ),
    "import twice in a function": (
        lambda model: own_function(model).opset_import.append(helper.make_opsetid("ai.onnx", 21)),
        "function ShiftExp: imports operator set '' 2 times",
    ),
    "no import": (lambda model: model.opset_import.pop(), "has operators of domain 'ivit', which it does not import"),
    "an old operator set": (older(version=11), "Cast: expected version 13, 19"),
    "an old operator": (older(version=13), "ReduceMax: expected version 18, 20 of the operator, found 13"),
    # inputs and outputs
    "dimension of -1": (set_fields(input_dim, dim_value=-1), "dimension 0 is -1: expected a number of elements"),
    "no shape": (lambda m: m.graph.input[0].type.tensor_type.ClearField("shape"), "a known number of dimensions"),
    "no element type": (
        set_fields(lambda m: m.graph.input[0].type.tensor_type, elem_type=0),
        "expected an element type",
    ),
    "sequence": (
        lambda m: m.graph.input[0].type.CopyFrom(helper.make_sequence_type_proto(m.graph.input[0].type)),
        "expected a tensor, found a sequence",
    ),
    # names
    "result twice": (second_result, "'y' is the name of 2 inputs, initializers and results"),
    "default of an input": (
        lambda m: m.graph.input.append(helper.make_tensor_value_info("c", TensorProto.INT32, [3])),
        "'c' is the name of 2 inputs, initializers and results",
    ),
    "initializer twice": (lambda m: m.graph.initializer.append(tensor(m)), "'c' is the name of 2 inputs"),
    "metadata twice": (second_entry, "'ivit.proof' is an entry of the metadata 2 times, expected once"),
    "output twice": (lambda m: m.graph.output.append(m.graph.output[0]), "'y' is an output 2 times"),
    "result twice in a function": (
        lambda m: own_function(m).node.append(own_function(m).node[0]),
        "function ShiftExp: 'x0_' is the name of 2 inputs and results",
    ),
    # tensors
    "two fields of numbers": (lambda m: tensor(m).int32_data.append(7), "expected numbers in raw_data or int32_data"),
    "numbers of another type": (
        lambda m: tensor(m).CopyFrom(
            TensorProto(name="c", data_type=TensorProto.INT32, dims=[3], int64_data=[1, 2, 3])
        ),
        "expected numbers in raw_data or int32_data, found int64_data",
    ),
    "too few numbers": (as_numbers(1, 2), "has 2 numbers, expected 3 as in its shape"),
    "too few bytes": (lambda m: setattr(tensor(m), "raw_data", tensor(m).raw_data[:9]), "has 2.25 numbers, expected 3"),
    "number out of its type": (as_numbers(1, 2, 300, kind=TensorProto.INT8), "has numbers 1..300, expected -128..127"),
    "neither true nor false": (as_numbers(0, 1, 2, kind=TensorProto.BOOL), "has numbers 0..2, expected 0..1"),
    "negative shape": (lambda m: tensor(m).dims.append(-1), "has dimensions [3, -1], expected none below 0"),
    "elsewhere": (set_fields(tensor, data_location=TensorProto.EXTERNAL), "its numbers are in another file"),
    # declarations
    "declared dimension": (describe("more", TensorProto.INT32, ["n", 4]), "dimension 1 is declared as 4, but is 3"),
    "declared for any": (
        describe("more", TensorProto.INT32, [5, 3]),
        "dimension 0 is declared as 5, but can be another",
    ),
    "declared of an input": (
        describe("x", TensorProto.INT8, [5, 3]),
        "dimension 0 is declared as 5, but can be another",
    ),
    "declared of an initializer": (describe("c", TensorProto.INT32, [5]), "dimension 0 is declared as 5, but is 3"),
    "declared twice": (
        lambda m: [describe("more", TensorProto.INT32, shape)(m) for shape in (["n", 3], ["n", 4])] and None,
        "dimension 1 is declared as 4",
    ),
    "declared rank": (describe("more", TensorProto.INT32, [3]), "declared with 1 dimensions, but their number is 2"),
    "declared type": (describe("more", TensorProto.INT64, ["n", 3]), "declared as int64, but is int32"),
    "declared output": (
        lambda m: m.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.INT32, [5, 1])),
        "dimension 0 is declared as 5, but can be another number",
    ),
}


def test_the_model_is_proven_and_so_is_what_runtimes_do_not_read() -> None:
    model = plain()
    assert prove(model).findings == ()
    assert audit(plain()).findings == ()
    model.doc_string = model.graph.node[0].doc_string = model.producer_name = "anything"
    model.metadata_props.add(key="anything", value="at all")
    model.graph.node[0].metadata_props.add(key="anything", value="at all")
    model.graph.node[0].name = "another name"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    for name, kind, shape in (("more", TensorProto.INT32, ["other", 3]), ("x", TensorProto.INT8, ["n", 3])):
        describe(name, kind, shape)(model)
    node(model, "Mul").domain = "ai.onnx"
    assert prove(model).findings == ()


@pytest.mark.parametrize("name", DEVIATIONS)
def test_what_is_not_in_the_form_is_found_with_its_reason(name: str) -> None:
    change, reason = DEVIATIONS[name]
    model = plain()
    change(model)
    findings = [str(finding) for finding in prove(model).findings]
    assert any(reason in finding for finding in findings), findings


def test_rules_are_for_the_versions_that_there_are() -> None:
    """A version of an operator that the installed onnx has and the rules do not know was made after them."""
    assert RULES.keys() == VERSIONS.keys()
    history = [schema for schema in defs.get_all_schemas_with_history() if schema.domain == ""]
    for operator, known in VERSIONS.items():
        versions = {schema.since_version for schema in history if schema.name == operator}
        assert {version for version in versions if version >= min(known)} == {v for v in known if v <= max(versions)}


def outputs(model: Model, inputs: dict[str, Any], *, optimized: bool = True) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, inputs))


def test_flags_that_onnx_runtime_reads_in_another_way() -> None:
    """2 is true to whoever asks whether it is not 0, and ONNX Runtime asks whether it is 1."""
    model = plain()
    node(model, "ReduceSum").attribute[0].i = 2
    assert outputs(model, {"x": np.zeros((2, 3), np.int8)})[0].shape == (2,)


def test_declared_dimensions_that_onnx_runtime_believes() -> None:
    """It computes with them what is not so: the number of rows, when it optimises."""
    nodes = [helper.make_node("Neg", ["x"], ["v"]), helper.make_node("Shape", ["v"], ["y"])]
    model = model_of(nodes, {"x": ("int64", ["n", 3])}, {}, ("y", "int64"))
    describe("v", TensorProto.INT64, [5, 3])(model)
    x = np.ones((2, 3), np.int64)
    assert [int(outputs(model, {"x": x}, optimized=optimized)[0][0]) for optimized in (False, True)] == [2, 5]


def test_functions_that_onnx_runtime_never_calls() -> None:
    """It has the operator itself."""
    model = model_of([helper.make_node("Add", ["x", "x"], ["y"])], {"x": ("int64", [1])}, {}, ("y", "int64"))
    model.functions.append(function_of("", "Add"))
    assert outputs(model, {"x": np.asarray([5])})[0].tolist() == [10]
    assert "functions of the domain ivit only" in prove(model).findings[0].message


def test_bodies_with_more_inputs_than_the_operator() -> None:
    model = plain()
    gelu = next(function for function in model.functions if function.name == "ShiftGELU")
    gelu.input.append("unused")
    node(model, "ShiftGELU").input.append("x")
    assert any("the body is not that of the operator set" in found.message for found in prove(model).findings)


def test_weights_are_read_where_the_runtime_reads_them(tmp_path: Any) -> None:
    """Beside a link, not beside what it links to."""
    from ivit_onnx.model_files import load_with_weights

    model = model_of([helper.make_node("Add", ["x", "c"], ["y"])], {"x": ("int64", [1])}, {}, ("y", "int64"))
    weight = TensorProto(name="c", data_type=TensorProto.INT64, dims=[1], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="weights")
    model.graph.initializer.append(weight)
    for folder, number in (("here", 1), ("there", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "weights").write_bytes(np.asarray([number]).tobytes())
    (tmp_path / "there" / "model.onnx").write_bytes(model.SerializeToString())
    link = tmp_path / "here" / "model.onnx"
    link.symlink_to(tmp_path / "there" / "model.onnx")
    session = onnxruntime.InferenceSession(str(link), providers=["CPUExecutionProvider"])
    found = session.run(None, {"x": np.asarray([10])})[0]
    assert found - 10 == numpy_helper.to_array(load_with_weights(link).graph.initializer[0])
