"""Functions of a model that call each other: a few kilobytes may stand for more nodes than any machine can look at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import onnx

from ivit_onnx.budgets import DEPTH, NODES, check_expansion
from ivit_onnx.errors import ModelError

__all__ = ["all_nodes", "check_calls", "inner_graphs", "with_inner"]


class _Size(NamedTuple):
    """Nodes with every call replaced by the function's body, their bytes, and how deep calls and graphs are nested."""

    nodes: int = 0
    bytes: int = 0
    depth: int = 0

    def beside(self, other: _Size) -> _Size:
        return _Size(self.nodes + other.nodes, self.bytes + other.bytes, max(self.depth, other.depth))


def check_calls(model: onnx.ModelProto) -> None:
    """Raise ModelError where functions have one name twice, call themselves or expand to more than the budgets.

    Functions that nothing calls count too: who looks at a function follows its calls.
    """
    functions: dict[tuple[str, str], onnx.FunctionProto] = {}
    for function in model.functions:
        if functions.setdefault((function.domain, function.name), function) is not function:
            raise ModelError(f"the model is not valid: it has two functions {function.domain}.{function.name}")
    sizes: dict[tuple[str, str], _Size | None] = {}
    packed = sum(node.ByteSize() for nodes in (model.graph.node, *(f.node for f in model.functions)) for node in nodes)

    def of_function(key: tuple[str, str], level: int) -> _Size:
        if key not in sizes:
            sizes[key] = None
            sizes[key] = of_nodes(functions[key].node, level)
        size = sizes[key]
        if size is None:
            raise ModelError(f"the model is not valid: function {'.'.join(key)} calls itself")
        return size

    def of_nodes(nodes: Iterable[onnx.NodeProto], level: int) -> _Size:
        _check(_Size(depth=level), packed)
        total = _Size()
        for node in nodes:
            key = (node.domain, node.op_type)
            inner = of_function(key, level + 1) if key in functions else _Size()
            for graph in inner_graphs(node):
                inner = inner.beside(of_nodes(graph.node, level + 1))
            total = total.beside(_Size(inner.nodes + 1, inner.bytes + node.ByteSize(), inner.depth + 1))
            _check(total, packed)
        return total

    total = of_nodes(model.graph.node, 0)
    for key in functions:
        total = total.beside(of_function(key, 0))
        _check(total, packed)


def _check(size: _Size, packed: int) -> None:
    NODES.check(size.nodes, "the model", ModelError)
    DEPTH.check(size.depth, "functions and graphs of the model", ModelError)
    check_expansion(packed, size.bytes, "functions of the model", ModelError)


def all_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """The nodes of the graph, of all functions, and of the graphs in their attributes."""
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        yield from with_inner(nodes)


def with_inner(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes, and those of graphs in their attributes."""
    for node in nodes:
        yield node
        for graph in inner_graphs(node):
            yield from with_inner(graph.node)


def inner_graphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The graphs in a node's attributes, as the branches of an If."""
    return [
        graph
        for attribute in node.attribute
        for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]
    ]
