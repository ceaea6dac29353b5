"""One-operator models for tests: the operator, with or without the functions of the domain in the file."""

from __future__ import annotations

import onnx
from onnx import helper

from cases import Case
from ivit_onnx.opset import DOMAIN, OPERATORS, OPSET_VERSION, STANDARD_OPSET_VERSION, function_protos


def inputs_rank(case: Case) -> int:
    """Rank of the first input, which operators on [.., C] keep."""
    return next(iter(case.inputs.values())).ndim


def single_operator_model(case: Case, *, constants: bool = False, functions: bool = True) -> onnx.ModelProto:
    """A model with one node; every input is a graph input, or with `constants` all but the data are initializers."""
    operator = OPERATORS[case.operator]
    data = {"x", "a", "b", "image", "qkv", "residual"}
    inputs, initializers = [], []
    for tensor in operator.inputs:
        array = case.inputs[tensor.name]
        if constants and tensor.name not in data:
            initializers.append(onnx.numpy_helper.from_array(array, tensor.name))
        else:
            dtype = helper.np_dtype_to_tensor_dtype(array.dtype)
            shape = [f"{tensor.name}_{axis}" for axis in range(array.ndim)]
            inputs.append(helper.make_tensor_value_info(tensor.name, dtype, shape))
    rank = operator.output.shape.count(",") + 1 if ".." not in operator.output.shape else inputs_rank(case)
    output = helper.make_tensor_value_info(
        operator.output.name,
        getattr(onnx.TensorProto, operator.output.dtype.upper()),
        [f"{operator.output.name}_{axis}" for axis in range(rank)],
    )
    node = helper.make_node(
        case.operator,
        [tensor.name for tensor in operator.inputs],
        [operator.output.name],
        domain=DOMAIN,
        **case.attributes,
    )
    return helper.make_model(
        helper.make_graph([node], case.operator, inputs, [output], initializers),
        functions=function_protos() if functions else [],
        opset_imports=[helper.make_opsetid("", STANDARD_OPSET_VERSION), helper.make_opsetid(DOMAIN, OPSET_VERSION)],
        ir_version=10,
    )
