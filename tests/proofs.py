"""Models for tests of the proof: standard nodes and calls of the domain, and what they compute without any overflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from cases import Case
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
    values = {name: np.asarray(array).astype(object) for name, array in inputs.items()}
    for tensor in model.graph.initializer:
        values[tensor.name] = numpy_helper.to_array(tensor).astype(object)
    functions = {(function.domain, function.name): function for function in model.functions}
    _run(model.graph.node, values, {}, functions)
    return values


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


def _run(nodes: Any, values: dict[str, Any], attributes: Mapping[str, Any], functions: Mapping[Any, Any]) -> None:
    for node in nodes:
        given = {
            entry.name: attributes[entry.ref_attr_name] if entry.ref_attr_name else helper.get_attribute_value(entry)
            for entry in node.attribute
        }
        arguments = [values[name] for name in node.input]
        function = functions.get((node.domain, node.op_type))
        if function is None:
            if node.op_type == "Split":
                values.update(zip(node.output, _split(given, len(node.output), *arguments), strict=True))
            else:
                values[node.output[0]] = np.asarray(_STANDARD[node.op_type](given, *arguments), dtype=object)
            continue
        inner = dict(zip(function.input, arguments, strict=True))
        _run(function.node, inner, given, functions)
        values.update(zip(node.output, (inner[name] for name in function.output), strict=False))


def _constant(given: Mapping[str, Any]) -> Array:
    (value,) = given.values()
    array = numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)
    return array.astype(object)


def _divide(a: Array, b: Array) -> Array:
    quotient = abs(a) // abs(b)
    return np.where((a < 0) != (b < 0), -quotient, quotient)


def _matmul(given: Mapping[str, Any], a: Array, b: Array, a_zero: Any = 0, b_zero: Any = 0) -> Array:
    return np.matmul(a - a_zero, b - b_zero)


def _slice(given: Mapping[str, Any], x: Array, starts: Array, ends: Array, axes: Array) -> Array:
    index = [slice(None)] * x.ndim
    for start, end, axis in zip(starts, ends, axes, strict=True):
        index[axis] = slice(start, end)
    return x[tuple(index)]


def _split(given: Mapping[str, Any], count: int, x: Array, *sizes: Array) -> list[Array]:
    parts = np.cumsum(_integers(sizes[0]))[:-1] if sizes else count
    return np.split(x, parts, axis=given.get("axis", 0))


def _integers(array: Array) -> Array:
    return np.asarray(array, dtype=np.int64)


def _axes(*axes: Array) -> tuple[int, ...] | None:
    return tuple(int(axis) for axis in axes[0]) if axes else None


_STANDARD: dict[str, Any] = {
    "Constant": _constant,
    "Cast": lambda given, x: x * 1,
    "Add": lambda given, a, b: a + b,
    "Sub": lambda given, a, b: a - b,
    "Mul": lambda given, a, b: a * b,
    "Neg": lambda given, x: -x,
    "Div": lambda given, a, b: _divide(a, b),
    "Mod": lambda given, a, b: a % b,
    "Min": lambda given, *x: np.minimum.reduce([*np.broadcast_arrays(*x)]),
    "Max": lambda given, *x: np.maximum.reduce([*np.broadcast_arrays(*x)]),
    "Greater": lambda given, a, b: (a > b) * 1,
    "Less": lambda given, a, b: (a < b) * 1,
    "Equal": lambda given, a, b: (a == b) * 1,
    "And": lambda given, a, b: a * b,
    "Where": lambda given, c, a, b: np.where(c.astype(bool), a, b),
    "Gather": lambda given, x, i: np.take(x, _integers(i), axis=given.get("axis", 0)),
    "Shape": lambda given, x: np.asarray(x.shape[slice(given.get("start", 0), given.get("end", x.ndim))]),
    "Reshape": lambda given, x, shape: x.reshape(_integers(shape)),
    "Transpose": lambda given, x: x.transpose(given["perm"]),
    "Concat": lambda given, *x: np.concatenate(x, given["axis"]),
    "Expand": lambda given, x, shape: np.broadcast_to(
        x, np.broadcast_shapes(x.shape, tuple(int(dim) for dim in shape))
    ),
    "Flatten": lambda given, x: x.reshape(int(np.prod(x.shape[: given.get("axis", 1)])), -1),
    "Slice": _slice,
    "Range": lambda given, start, limit, delta: np.arange(int(start), int(limit), int(delta)),
    "ReduceSum": lambda given, x, *axes: x.sum(_axes(*axes), keepdims=bool(given.get("keepdims", 1))),
    "ReduceMax": lambda given, x, *axes: x.max(_axes(*axes), keepdims=bool(given.get("keepdims", 1))),
    "MatMulInteger": _matmul,
}
