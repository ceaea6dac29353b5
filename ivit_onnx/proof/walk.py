"""Walks a graph in the order of its nodes, into every function body, and gives each value a range.

Requires: a model whose nodes are in topological order, as ONNX demands, with its weights loaded.
Ensures: every result of an arithmetic operator is compared with the limits of its type, every index of a table with the
size of the table, every divisor with zero; what does not fit is a finding with the path to it, and its value is then
taken to be anything of its type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

import onnx
from onnx import AttributeProto, numpy_helper

from ivit_onnx.opset import DOMAIN, OPERATORS
from ivit_onnx.proof import choices, elementwise, places, shapes, sums
from ivit_onnx.proof.contracts import violations
from ivit_onnx.proof.report import Finding, NodeRoom
from ivit_onnx.proof.value import Value, limits

__all__ = ["Node", "Walk"]

_RULES: dict[str, Callable[..., Value]] = {
    name: rule for rules in (elementwise, choices, places, shapes, sums) for name, rule in rules.RULES.items()
}
#: Results of these are arithmetic, and compared with the limits of their types.
_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div", "Neg", "Cast", "ReduceSum", "MatMulInteger"})
_STANDARD = ("", "ai.onnx")
#: A dimension of a tensor without elements, which costs a file nothing and results of it something.
_MOST_OF_NOTHING = 1 << 24

_DTYPES: dict[int, str] = {
    onnx.TensorProto.INT8: "int8",
    onnx.TensorProto.UINT8: "uint8",
    onnx.TensorProto.INT16: "int16",
    onnx.TensorProto.UINT16: "uint16",
    onnx.TensorProto.INT32: "int32",
    onnx.TensorProto.UINT32: "uint32",
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.UINT64: "uint64",
    onnx.TensorProto.BOOL: "bool",
}

Attributes = Mapping[str, AttributeProto]


class _NotCoveredError(Exception):
    """A node that the analysis does not cover."""


class Node:
    """A node under analysis, as rules see it."""

    def __init__(self, walk: Walk, proto: onnx.NodeProto, attributes: Attributes, path: tuple[str, ...]) -> None:
        self._walk, self._proto = walk, proto
        self._attributes = _bound(proto, attributes)
        self._path = path

    @property
    def kind(self) -> str:
        """The operator's name."""
        return self._proto.op_type

    @property
    def attributes(self) -> Attributes:
        """The attributes, those of the calling function filled in."""
        return self._attributes

    @property
    def path(self) -> tuple[str, ...]:
        """The node of the main graph, and the way from there to the value."""
        return self._path

    def find(self, name: str) -> Any:
        """The value of an attribute, or None."""
        found = self._attributes.get(name)
        return None if found is None else onnx.helper.get_attribute_value(found)

    def attribute(self, name: str, default: Any) -> Any:
        """The value of an attribute."""
        found = self.find(name)
        return default if found is None else found

    def type_attribute(self, name: str) -> str:
        """The element type that an attribute names."""
        number = self.find(name)
        if number not in _DTYPES:
            self.stop(f"a result of element type {number} is no integer")
        return _DTYPES[number]

    def axes(self, given: Iterable[int], rank: int) -> list[int]:
        """Axes counted from the first; ONNX Runtime refuses a node that has others, or one of them twice."""
        axes = [int(axis) for axis in given]
        if len({axis % rank for axis in axes if -rank <= axis < rank}) < len(axes):
            self.stop(f"expected different axes from {-rank} to {rank - 1}, found {axes}")
        return [axis % rank for axis in axes]

    def count(self) -> None:
        """One more check."""
        self._walk.checks += 1

    def fail(self, message: str) -> None:
        """Something that is not proven."""
        self._walk.found(self._path, f"{self.kind}: {message}")

    def stop(self, message: str) -> NoReturn:
        """Something that the analysis does not cover."""
        self.fail(message)
        raise _NotCoveredError

    def check_partial(self, low: int, high: int, dtype: str) -> None:
        """Sums on the way to the result."""
        self._walk.check(self._path, self.kind, low, high, dtype)


class Walk:
    """The analysis of one model: `findings`, `rooms` and how many `checks` and `values` there were."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.findings: list[Finding] = []
        self.rooms: dict[tuple[str, str], NodeRoom] = {}
        self.checks = 0
        self.values = 0
        self._operators: dict[str, str] = {}
        self._failed: set[tuple[str, ...]] = set()
        self._functions = {(function.domain, function.name): function for function in model.functions}
        self._graph = model.graph
        self._initializers = {tensor.name: tensor for tensor in model.graph.initializer}

    def run(self) -> dict[str, Value]:
        """The ranges of the main graph's values."""
        values: dict[str, Value] = {}
        for source in self._graph.input:
            # An initializer of the same name is a default, which whoever runs the model may replace.
            values[source.name] = self._input(source)
            self._initializers.pop(source.name, None)
        uses: dict[str, int] = {}
        for node in self._graph.node:
            for name in node.input:
                uses[name] = uses.get(name, 0) + 1
        for proto in self._graph.node:
            label = proto.name or next(iter(proto.output), proto.op_type)
            self._operators[label] = proto.op_type
            for name in proto.input:
                if name in self._initializers and name not in values:
                    values[name] = self._initializer(self._initializers[name])
            self._check_contract(proto, values, label)
            inside = (proto.domain, proto.op_type) in self._functions
            self._run_node(proto, values, {}, (label,) if inside else (label, proto.output[0]))
            for name in proto.input:
                uses[name] -= 1
                if uses[name] == 0 and name in self._initializers:
                    del values[name]
        return values

    def found(self, path: tuple[str, ...], message: str) -> None:
        """Records a finding, once for each place."""
        if path not in self._failed:
            self._failed.add(path)
            self.findings.append(Finding(path[0], "/".join(path[1:]) or path[0], message))

    def check(self, path: tuple[str, ...], kind: str, low: int, high: int, dtype: str) -> bool:
        """Whether low..high is inside the type; records how much room there is."""
        self.checks += 1
        least, most = limits(dtype)
        if low < least or high > most:
            self.found(path, f"{kind}: expected {dtype} {least}..{most}, found {low}..{high}")
            return False
        if dtype in ("int32", "int64"):
            magnitude = max(abs(low), abs(high))
            bits = (31 if dtype == "int32" else 63) - magnitude.bit_length()
            old = self.rooms.get((path[0], dtype))
            if old is None or (bits, -magnitude) < (old.bits, -old.magnitude):
                place = "/".join(path[1:]) or path[0]
                operator = self._operators.get(path[0], "")
                self.rooms[path[0], dtype] = NodeRoom(path[0], operator, dtype, place, magnitude, max(bits, 0))
        return True

    def _check_contract(self, proto: onnx.NodeProto, values: dict[str, Value], label: str) -> None:
        """What kernels require of a node of the main graph."""
        if proto.domain != DOMAIN or proto.op_type not in OPERATORS:
            return
        names = [tensor.name for tensor in OPERATORS[proto.op_type].inputs]
        inputs = {name: values[value] for name, value in zip(names, proto.input, strict=False) if value in values}
        for message in violations(proto, inputs):
            self.checks += 1
            self.findings.append(Finding(label, label, message))

    def _input(self, source: onnx.ValueInfoProto) -> Value:
        tensor = source.type.tensor_type
        shape = tuple(
            dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or None) for dim in tensor.shape.dim
        )
        dtype = _DTYPES.get(tensor.elem_type)
        if dtype is None:
            return Value.unknown(shape)
        return Value.of_type(dtype, shape)

    def _initializer(self, tensor: onnx.TensorProto) -> Value:
        if tensor.data_type not in _DTYPES:
            return Value.unknown(tuple(tensor.dims))
        if 0 in tensor.dims and max(tensor.dims) > _MOST_OF_NOTHING:
            raise ValueError(f"tensor {tensor.name} without elements has dimensions {list(tensor.dims)}")
        return Value.of(numpy_helper.to_array(tensor), _DTYPES[tensor.data_type])

    def _run_node(
        self, proto: onnx.NodeProto, values: dict[str, Value], attributes: Attributes, path: tuple[str, ...]
    ) -> None:
        inputs = []
        for name in proto.input:
            if name not in values:  # comes from something that is not covered, of which there is a finding
                if not name or not self.findings:
                    self.found(path, f"{proto.op_type}: input {name!r} is not known")
                return
            inputs.append(values[name])
        node = Node(self, proto, attributes, path)
        function = self._functions.get((proto.domain, proto.op_type))
        try:
            results = [self._apply(node, proto, inputs)] if function is None else self._call(function, node, inputs)
        except _NotCoveredError:
            return
        for name, result in zip(proto.output, results, strict=False):
            if name and result is not None:
                values[name] = result
                self.values += 1

    def _apply(self, node: Node, proto: onnx.NodeProto, inputs: list[Value]) -> Value:
        rule = _RULES.get(proto.op_type) if proto.domain in _STANDARD else None
        if rule is None:
            node.stop("the analysis has no rule for this operator")
        if proto.op_type != "QuantizeLinear" and any(not value.dtype for value in inputs):
            node.stop("an input is no integer")
        result = rule(node, *inputs)
        if proto.op_type in _ARITHMETIC and not self.check(
            node.path, proto.op_type, result.least, result.largest, result.dtype
        ):
            return Value.of_type(result.dtype, result.shape)
        return result

    def _call(self, function: onnx.FunctionProto, node: Node, inputs: Iterable[Value]) -> list[Value | None]:
        values = dict(zip(function.input, inputs, strict=False))
        given = dict(node.attributes)
        for default in function.attribute_proto:
            given.setdefault(default.name, default)
        inner = function.name if len(node.path) > 1 else None
        base = (*node.path[:-1], inner) if inner else node.path
        for proto in function.node:
            self._run_node(proto, values, given, (*base, proto.output[0]))
        return [values.get(name) for name in function.output]


def _bound(proto: onnx.NodeProto, attributes: Attributes) -> dict[str, AttributeProto]:
    """The attributes of a node, with those of the calling function in the place of references."""
    result = {}
    for attribute in proto.attribute:
        if not attribute.ref_attr_name:
            result[attribute.name] = attribute
        elif attribute.ref_attr_name in attributes:
            result[attribute.name] = attributes[attribute.ref_attr_name]
    return result
