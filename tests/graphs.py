"""One-operator models for tests: the operator, with or without the functions of the domain in the file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import onnx
from onnx import helper

from cases import Case, activations
from ivit_onnx.opset import DOMAIN, OPERATORS, OPSET_VERSION, STANDARD_OPSET_VERSION, Tensor, function_protos


def called_functions(nodes: Iterable[onnx.NodeProto]) -> list[onnx.FunctionProto]:
    """The functions of the domain that nodes reach, as an exporter keeps them."""
    functions = {function.name: function for function in _functions()}
    waiting, called = [node.op_type for node in nodes if node.domain == DOMAIN], set()
    while waiting:
        name = waiting.pop()
        if name in functions and name not in called:
            called.add(name)
            waiting += [node.op_type for node in functions[name].node if node.domain == DOMAIN]
    return [function for function in functions.values() if function.name in called]


@cache
def _functions() -> Sequence[onnx.FunctionProto]:
    return function_protos()


def output_rank(output: Tensor, case: Case) -> int:
    """Rank of an output; operators on [.., C] keep that of their first input."""
    return next(iter(case.inputs.values())).ndim if ".." in output.shape else output.shape.count(",") + 1


def single_operator_model(case: Case, *, constants: bool = False, functions: bool = True) -> onnx.ModelProto:
    """A model with one node; every input is a graph input, or with `constants` all but the data are initializers."""
    operator = OPERATORS[case.operator]
    data = activations(case.operator)
    inputs, initializers = [], []
    for tensor in operator.inputs:
        array = case.inputs[tensor.name]
        if constants and tensor.name not in data:
            initializers.append(onnx.numpy_helper.from_array(array, tensor.name))
        else:
            dtype = helper.np_dtype_to_tensor_dtype(array.dtype)
            shape = [f"{tensor.name}_{axis}" for axis in range(array.ndim)]
            inputs.append(helper.make_tensor_value_info(tensor.name, dtype, shape))
    outputs = [
        helper.make_tensor_value_info(
            tensor.name,
            getattr(onnx.TensorProto, tensor.dtype.upper()),
            [f"{tensor.name}_{axis}" for axis in range(output_rank(tensor, case))],
        )
        for tensor in operator.outputs
    ]
    node = helper.make_node(
        case.operator,
        [tensor.name for tensor in operator.inputs],
        [tensor.name for tensor in operator.outputs],
        domain=DOMAIN,
        **case.attributes,
    )
    return helper.make_model(
        helper.make_graph([node], case.operator, inputs, outputs, initializers),
        functions=called_functions([node]) if functions else [],
        opset_imports=[helper.make_opsetid("", STANDARD_OPSET_VERSION), helper.make_opsetid(DOMAIN, OPSET_VERSION)],
        ir_version=10,
    )


def with_opset_version(model: onnx.ModelProto, version: int | None) -> onnx.ModelProto:
    """The model as if it was for another version of the domain, functions included; None imports the domain nowhere."""
    for imports in (model.opset_import, *(function.opset_import for function in model.functions)):
        for opset in [opset for opset in imports if opset.domain == DOMAIN]:
            imports.remove(opset)
        if version is not None:
            imports.append(helper.make_opsetid(DOMAIN, version))
    return model


def with_negated_body(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The model with a function that returns the bitwise complement of its result."""
    (function,) = (entry for entry in model.functions if entry.name == name)
    for node in function.node:
        for index, output in enumerate(node.output):
            if output == function.output[0]:
                node.output[index] = "complement"
    function.node.append(helper.make_node("BitwiseNot", ["complement"], [function.output[0]]))
    return model
