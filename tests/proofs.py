"""Models for tests of the proof: standard nodes and calls of the domain, and what they compute without any overflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from cases import Case
from exact import Interpreter
from graphs import called_functions, single_operator_model
from ivit_onnx.opset import DOMAIN, OPSET_VERSION, STANDARD_OPSET_VERSION
from ivit_onnx.proof.walk import Walk

__all__ = ["exact_outputs", "model_of", "operator_model", "ranges"]

Array = np.ndarray[Any, Any]


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[str, Sequence[int | str]]],
    constants: Mapping[str, Array],
    output: tuple[str, str],
) -> onnx.ModelProto:
    """A model of these nodes. Inputs by name: element type and shape; the output: name and element type."""

    def info(name: str, dtype: str, shape: Sequence[int | str] | None) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)

    graph = helper.make_graph(
        list(nodes),
        "graph",
        [info(name, dtype, shape) for name, (dtype, shape) in inputs.items()],
        [info(*output, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(
        graph,
        functions=called_functions(nodes),
        opset_imports=[helper.make_opsetid("", STANDARD_OPSET_VERSION), helper.make_opsetid(DOMAIN, OPSET_VERSION)],
        ir_version=10,
    )


def ranges(model: onnx.ModelProto) -> dict[str, Any]:
    """The ranges of the main graph's values, by name."""
    return Walk(model).run()


def operator_model(case: Case) -> onnx.ModelProto:
    """One call of an operator with its parameters as constants, any batch, and all other dimensions known."""
    model = single_operator_model(case, constants=True)
    for value in model.graph.input:
        for axis, (dim, size) in enumerate(
            zip(value.type.tensor_type.shape.dim, case.inputs[value.name].shape, strict=True)
        ):
            if axis > 0:
                dim.dim_value = size
            else:
                dim.dim_param = "batch"
    return model


def exact_outputs(model: onnx.ModelProto, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Every value of the main graph in Python integers, which never overflow: what the definitions mean."""
    return {name: value.array for name, value in Interpreter(model).run(inputs).items()}


def assert_inside(model: onnx.ModelProto, inputs: dict[str, Array]) -> None:
    """Every value of the main graph is in its range when the model runs, and so is what is known of single values."""
    assert_in_ranges(Walk(model).run(), model, inputs)


def assert_in_ranges(ranges: dict[str, Any], model: onnx.ModelProto, inputs: dict[str, Array]) -> None:
    for name, array in exact_outputs(model, inputs).items():
        if name not in ranges or not array.size:
            continue
        known = ranges[name]
        assert np.all(array >= known.low), (name, array.min(), known.low)
        assert np.all(array <= known.high), (name, array.max(), known.high)
        if known.table is not None:
            assert np.isin(array.astype(np.int64), known.table.astype(np.int64)).all(), name
        if known.row_sum is not None:
            assert np.all(array.sum(-1) <= known.row_sum), name
