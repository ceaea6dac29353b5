"""Walks a graph in the order of its nodes, into every function body, and gives each value a range.

Requires: a model in canonical form (ivit_onnx.proof.canonical), with its weights loaded.
Ensures: every result of an arithmetic operator is compared with the limits of its type, every index of a table with the
size of the table, every divisor with zero; what does not fit is a finding with the path to it, and its value is then
taken to be anything of its type.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx
from onnx import numpy_helper

from ivit_onnx.opset import DOMAIN, OPERATORS
from ivit_onnx.proof.contracts import violations
from ivit_onnx.proof.element_types import ELEMENT_TYPES
from ivit_onnx.proof.ledger import Ledger, Path
from ivit_onnx.proof.node import Attributes, Node, NotCoveredError
from ivit_onnx.proof.rules import RULES
from ivit_onnx.proof.types import contradiction, standard
from ivit_onnx.proof.value import Value

__all__ = ["Walk"]

#: Results of these are arithmetic, and compared with the limits of their types.
_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div", "Neg", "Cast", "ReduceSum", "MatMulInteger"})
#: A dimension of a tensor without elements, which costs a file nothing and results of it something.
_MOST_OF_NOTHING = 1 << 24


class Walk:
    """The analysis of one model: what was found is in `ledger`, how many `values` have a range beside it."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.ledger = Ledger()
        self.values = 0
        self._dimensions = 0
        self._functions = {(function.domain, function.name): function for function in model.functions}
        self._graph = model.graph
        self._initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        self._declared: dict[str, list[onnx.TypeProto]] = {}
        for value in (*model.graph.value_info, *model.graph.output):
            self._declared.setdefault(value.name, []).append(value.type)

    def run(self) -> dict[str, Value]:
        """The ranges of the main graph's values."""
        values = {source.name: self._input(source) for source in self._graph.input}
        for name, value in values.items():
            self._check_declaration(name, value)
        uses: dict[str, int] = {}
        for node in self._graph.node:
            for name in node.input:
                uses[name] = uses.get(name, 0) + 1
        for proto in self._graph.node:
            self.ledger.enter(proto)
            label = proto.output[0]
            for name in proto.input:
                if name in self._initializers and name not in values:
                    values[name] = self._initializer(self._initializers[name])
                    self._check_declaration(name, values[name])
            self._check_contract(proto, values, label)
            inside = (proto.domain, proto.op_type) in self._functions
            self._run_node(proto, values, {}, (label,) if inside else (label, label))
            for name in proto.output:
                if name in values:
                    self._check_declaration(name, values[name])
            for name in proto.input:
                uses[name] -= 1
                if uses[name] == 0 and name in self._initializers:
                    del values[name]
        return values

    def _check_declaration(self, name: str, value: Value) -> None:
        for declared in self._declared.get(name, ()):
            message = contradiction(declared, value)
            if message is not None:
                self.ledger.found((name, name), message)

    def _check_contract(self, proto: onnx.NodeProto, values: dict[str, Value], label: str) -> None:
        """What kernels require of a node of the main graph."""
        if proto.domain != DOMAIN or proto.op_type not in OPERATORS:
            return
        names = [tensor.name for tensor in OPERATORS[proto.op_type].inputs]
        inputs = {name: values[value] for name, value in zip(names, proto.input, strict=False) if value in values}
        for message in violations(proto, inputs):
            self.ledger.violated(label, message)

    def _input(self, source: onnx.ValueInfoProto) -> Value:
        """Anything of its type. Dimensions of one name are different ones: ONNX Runtime does not compare them."""
        tensor = source.type.tensor_type
        shape = tuple(
            dim.dim_value if dim.HasField("dim_value") else f"{source.name}, axis {axis}"
            for axis, dim in enumerate(tensor.shape.dim)
        )
        dtype = ELEMENT_TYPES.get(tensor.elem_type)
        return Value.unknown(shape) if dtype is None else Value.of_type(dtype, shape)

    def _initializer(self, tensor: onnx.TensorProto) -> Value:
        if tensor.data_type not in ELEMENT_TYPES:
            return Value.unknown(tuple(tensor.dims))
        if 0 in tensor.dims and max(tensor.dims) > _MOST_OF_NOTHING:
            raise ValueError(f"tensor {tensor.name} without elements has dimensions {list(tensor.dims)}")
        return Value.of(numpy_helper.to_array(tensor), ELEMENT_TYPES[tensor.data_type])

    def _run_node(self, proto: onnx.NodeProto, values: dict[str, Value], attributes: Attributes, path: Path) -> None:
        inputs = []
        for name in proto.input:
            if name not in values:  # comes from something that is not covered, of which there is a finding
                if not name or not self.ledger.findings:
                    self.ledger.found(path, f"{proto.op_type}: input {name!r} is not known")
                return
            inputs.append(values[name])
        node = Node(self.ledger, proto, attributes, path)
        function = self._functions.get((proto.domain, proto.op_type))
        try:
            results = self._apply(node, proto, inputs) if function is None else self._call(function, node, inputs)
        except NotCoveredError:
            return
        for name, result in zip(proto.output, results, strict=False):
            if name and result is not None:
                if result.shape is not None and None in result.shape:
                    # Whatever it is, it is the same number wherever the shape of this value is used.
                    result.shape = tuple(self._unknown() if dim is None else dim for dim in result.shape)
                values[name] = result
                self.values += 1

    def _unknown(self) -> str:
        self._dimensions += 1
        return f"dimension {self._dimensions}"

    def _apply(self, node: Node, proto: onnx.NodeProto, inputs: list[Value]) -> Sequence[Value]:
        if proto.domain == DOMAIN:
            node.stop("the model has no function of this operator, which is what the analysis follows")
        rule = RULES.get(proto.op_type) if standard(proto.domain) else None
        if rule is None:
            node.stop("the analysis has no rule for this operator")
        if proto.op_type != "QuantizeLinear" and any(not value.dtype for value in inputs):
            node.stop("an input is no integer")
        result = rule(node, *inputs)
        if isinstance(result, tuple):
            return result
        if proto.op_type in _ARITHMETIC and not self.ledger.check(
            node.path, proto.op_type, result.least, result.largest, result.dtype
        ):
            return (Value.of_type(result.dtype, result.shape),)
        return (result,)

    def _call(self, function: onnx.FunctionProto, node: Node, inputs: Iterable[Value]) -> Sequence[Value | None]:
        values = dict(zip(function.input, inputs, strict=False))
        inner = function.name if len(node.path) > 1 else None
        base = (*node.path[:-1], inner) if inner else node.path
        for proto in function.node:
            self._run_node(proto, values, node.attributes, (*base, proto.output[0]))
        return [values.get(name) for name in function.output]
