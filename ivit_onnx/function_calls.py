"""Functions of a model that call each other: a few kilobytes may stand for more nodes than any machine can look at."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from ivit_onnx.errors import ModelError

__all__ = ["MOST_NODES", "check_calls"]

#: Nodes with every call replaced by the function's body. A large Swin of this package has some ten thousand.
MOST_NODES = 1 << 20


def check_calls(model: onnx.ModelProto) -> None:
    """Raise ModelError where functions have one name twice, call themselves or expand to more than MOST_NODES nodes."""
    functions: dict[tuple[str, str], onnx.FunctionProto] = {}
    for function in model.functions:
        if functions.setdefault((function.domain, function.name), function) is not function:
            raise ModelError(f"the model is not valid: it has two functions {function.domain}.{function.name}")
    counts: dict[tuple[str, str], int | None] = {}

    def expanded(key: tuple[str, str]) -> int:
        if key not in counts:
            counts[key] = None
            counts[key] = nodes_of(functions[key].node)
        count = counts[key]
        if count is None:
            raise ModelError(f"the model is not valid: function {'.'.join(key)} calls itself")
        return count

    def nodes_of(nodes: Iterable[onnx.NodeProto]) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            total += expanded(key) if key in functions else 1
            for attribute in node.attribute:
                for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                    total += nodes_of(graph.node)
        if total > MOST_NODES:
            raise ModelError(f"expected at most {MOST_NODES} nodes with all functions expanded, found more")
        return total

    try:
        nodes_of(model.graph.node)
    except RecursionError:
        raise ModelError("the model is not valid: its functions or graphs are nested too deeply") from None
