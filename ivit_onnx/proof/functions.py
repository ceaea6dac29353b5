"""Functions of a model: those of the operator set, each once, and none that nothing calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import onnx

from ivit_onnx.opset import DOMAIN
from ivit_onnx.proof.report import Finding

__all__ = ["function_deviations"]


def function_deviations(model: onnx.ModelProto) -> Iterator[Finding]:
    """Functions of other domains, which may shadow an operator that ONNX Runtime has itself, doubles, unused ones."""
    functions = {(function.domain, function.name): function for function in model.functions}
    for (domain, name), count in Counter((f.domain, f.name) for f in model.functions).items():
        where = f"function {name}"
        if domain != DOMAIN:
            yield Finding(where, where, f"expected functions of the domain {DOMAIN} only, found one of {domain!r}")
        if count > 1:
            yield Finding(where, where, f"stands in the model {count} times")
    called: set[tuple[str, str]] = set()
    waiting = [(node.domain, node.op_type) for node in model.graph.node]
    while waiting:
        key = waiting.pop()
        if key in functions and key not in called:
            called.add(key)
            waiting += [(node.domain, node.op_type) for node in functions[key].node]
    for domain, name in functions:
        if (domain, name) not in called:
            yield Finding(f"function {name}", f"function {name}", "nothing calls this function")
