"""Names of values and of metadata: each stands for one thing, whoever reads the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import onnx

from ivit_onnx.proof.report import Finding

__all__ = ["name_deviations"]


def name_deviations(model: onnx.ModelProto) -> Iterator[Finding]:
    """Values, of the graph and of each function, and entries of the metadata that are given more than once."""
    graph = model.graph
    given = [*(value.name for value in graph.input), *(tensor.name for tensor in graph.initializer)]
    yield from _once([*given, *_results(graph.node)], "{} is the name of {} inputs, initializers and results")
    yield from _once([value.name for value in graph.output], "{} is an output {} times")
    yield from _once([entry.key for entry in model.metadata_props], "{} is an entry of the metadata {} times")
    for function in model.functions:
        where = f"function {function.name}: "
        yield from _once([*function.input, *_results(function.node)], where + "{} is the name of {} inputs and results")
        yield from _once(function.output, where + "{} is an output {} times")
        yield from _once(function.attribute, where + "{} is an attribute {} times")


def _results(nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    return (name for node in nodes for name in node.output if name)


def _once(names: Iterable[str], message: str) -> Iterator[Finding]:
    for name, count in Counter(names).items():
        if count > 1:
            yield Finding(name, name, message.format(repr(name), count) + ", expected once")
        if not name:
            yield Finding("model", "model", message.format("''", count) + ", expected a name")
