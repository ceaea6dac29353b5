"""An interpreter of ONNX graphs in Python integers, which never overflow. It shares no code with ivit_onnx.proof.

It reads a model as ONNX Runtime reads it, which is not always what the file seems to say: an operator of ONNX hides a
function of its name, the version of the operator set is that of the model even inside functions, the last of several
imports, initializers and attributes counts, but the first attribute of a Constant. (Of large initializers the first: a
model with one name twice has no one meaning.)
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from exact_operators import OPERATORS
from exact_values import Array, Call, FloatError, NotKnownError, NotRunnableError, Tensor, integers_of

Attributes = Mapping[str, AttributeProto]

__all__ = ["FloatError", "Interpreter", "NotKnownError", "NotRunnableError"]

#: What operators of numpy raise where tensors do not fit together.
_MISFITS = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError, ZeroDivisionError)
#: Levels of calls. Functions of the domain call each other four deep.
_MOST_CALLS = 32


class Interpreter:
    """One model. `departures`: where a number left its type, an index its table, or a divisor was zero."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.departures: list[str] = []
        self._graph = model.graph
        self._version = _version(model)
        self._functions = {
            _key(function.domain, function.name, function.overload): function for function in model.functions
        }

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Tensor]:
        """Every value of the main graph, inputs and initializers included.

        Raises FloatError where a value or an operator is not of integers, NotKnownError for an operator that the
        interpreter does not have, NotRunnableError where tensors do not fit together.
        """
        values: dict[str, Tensor | None] = {}
        for tensor in self._graph.initializer:
            values[tensor.name] = _read(tensor)
        for name, array in inputs.items():
            values[name] = integers_of(array) if array.dtype.kind in "iub" else Tensor(str(array.dtype), array)
        pending = list(self._graph.node)
        while pending:  # nodes need not be in order
            later = []
            for node in pending:
                if all(name in values for name in node.input if name):
                    self._run_node(node, values, {}, (), main=True)
                else:
                    later.append(node)
            if len(later) == len(pending):
                raise NotRunnableError(f"inputs of {later[0].op_type} do not exist")
            pending = later
        return {name: value for name, value in values.items() if value is not None}

    def _run_node(
        self,
        node: onnx.NodeProto,
        values: dict[str, Tensor | None],
        given: Attributes,
        path: tuple[str, ...],
        *,
        main: bool = False,
    ) -> None:
        path = (*path, node.name or next(iter(node.output), node.op_type))
        attributes = _attributes(node, {} if main else given, bound=not main)
        arguments = [values[name] if name else None for name in node.input]
        results = self._call(node, arguments, attributes, path)
        for name, result in zip(node.output, results, strict=False):
            if name:
                values[name] = result

    def _call(
        self,
        node: onnx.NodeProto,
        arguments: list[Tensor | None],
        attributes: dict[str, AttributeProto],
        path: tuple[str, ...],
    ) -> list[Tensor | None]:
        domain = _domain(node.domain)
        function = self._functions.get(_key(domain, node.op_type, node.overload))
        if not domain and self._is_standard(node.op_type):
            return self._standard(node, arguments, attributes, path)
        if function is None and not domain:
            raise NotKnownError(node.op_type)
        if function is None:
            raise NotRunnableError(f"{domain}.{node.op_type} has no function")
        if len(path) > _MOST_CALLS:
            raise NotRunnableError("functions call each other without end")
        if len(arguments) > len(function.input):
            raise NotRunnableError(f"too many inputs of {node.op_type}")
        defaults = {entry.name: entry for entry in function.attribute_proto}
        arguments = arguments + [None] * (len(function.input) - len(arguments))
        inner: dict[str, Tensor | None] = dict(zip(function.input, arguments, strict=True))
        try:
            for called in function.node:
                self._run_node(called, inner, {**defaults, **attributes}, path)
            return [inner[name] for name in function.output]
        except KeyError as error:
            raise NotRunnableError(f"{node.op_type}: {error} does not exist") from None

    def _is_standard(self, kind: str) -> bool:
        try:
            onnx.defs.get_schema(kind, self._version, "")
        except (onnx.defs.SchemaError, TypeError):  # a version that is no number of 32 bits
            return False
        return True

    def _standard(
        self,
        node: onnx.NodeProto,
        arguments: list[Tensor | None],
        attributes: dict[str, AttributeProto],
        path: tuple[str, ...],
    ) -> list[Tensor | None]:
        operator = OPERATORS.get(node.op_type)
        if operator is None:
            raise NotKnownError(node.op_type)
        if node.op_type == "QuantizeLinear":
            if node.input[0] not in {value.name for value in self._graph.input}:
                raise FloatError(f"{'/'.join(path)}: quantises something else than an input")
        elif any(argument is not None and not argument.is_integer for argument in arguments):
            raise FloatError(f"{'/'.join(path)}: {node.op_type} of a float")
        call = Call(node.op_type, attributes, self._version)
        try:
            results = operator(call, *arguments)
        except _MISFITS as error:
            raise NotRunnableError(f"{'/'.join(path)}: {node.op_type}: {error}") from error
        listed = results if isinstance(results, list) else [results]
        for result in listed:
            call.check(result)
        self.departures += [f"{'/'.join(path)}: {node.op_type}: {found}" for found in call.departures]
        return listed


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _key(domain: str, name: str, overload: str) -> tuple[str, str, str]:
    return _domain(domain), name, overload


def _version(model: onnx.ModelProto) -> int:
    versions = [entry.version for entry in model.opset_import if not _domain(entry.domain)]
    return int(versions[-1]) if versions else 1


def _attributes(node: onnx.NodeProto, given: Attributes, *, bound: bool) -> dict[str, AttributeProto]:
    entries = node.attribute[:1] if node.op_type == "Constant" else node.attribute
    result = {}
    for entry in entries:
        if bound and entry.ref_attr_name:
            if entry.ref_attr_name in given:
                result[entry.name] = given[entry.ref_attr_name]
        else:
            result[entry.name] = entry
    return result


def _read(tensor: TensorProto) -> Tensor:
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type) if tensor.data_type in _TYPES else None
    if dtype is None:
        raise NotRunnableError(f"tensor {tensor.name} of element type {tensor.data_type}")
    array = numpy_helper.to_array(tensor)
    return integers_of(array) if dtype.kind in "iub" else Tensor(str(dtype), array)


_TYPES = frozenset(helper.get_all_tensor_dtypes())
