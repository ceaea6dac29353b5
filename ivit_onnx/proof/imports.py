"""Operator sets that a model and its functions import."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache

import onnx
from onnx import defs

from ivit_onnx.opset import DOMAIN, OPSET_VERSION
from ivit_onnx.proof.report import Finding
from ivit_onnx.proof.types import standard

__all__ = ["Imports", "import_deviations"]


class Imports:
    """What a model imports: `standard` is the version of ONNX's own operators, 0 without."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.standard = dict(_versions(model.opset_import)).get("", 0)

    def schema(self, operator: str) -> defs.OpSchema | None:
        """The definition of a standard operator in the version that the model imports; None if there is none."""
        return _schema(operator, self.standard)


@cache
def _schema(operator: str, version: int) -> defs.OpSchema | None:
    if not 1 <= version <= defs.onnx_opset_version():
        return None
    try:
        return defs.get_schema(operator, version, "")
    except defs.SchemaError:
        return None


def import_deviations(model: onnx.ModelProto) -> Iterator[Finding]:
    """Each operator set once, in a version that is known, and the same one in functions."""
    own = dict(_versions(model.opset_import))
    yield from _twice(model.opset_import, "model")
    newest = defs.onnx_opset_version()
    if "" in own and not 1 <= own[""] <= newest:
        yield _import(f"expected an operator set of ONNX from 1 to {newest}, found {own['']}")
    if not 1 <= own.get(DOMAIN, 1) <= OPSET_VERSION:
        yield _import(f"expected version 1 to {OPSET_VERSION} of the operator set {DOMAIN}, found {own[DOMAIN]}")
    for function in model.functions:
        where = f"function {function.name}"
        yield from _twice(function.opset_import, where)
        for domain, version in _versions(function.opset_import):
            if own.get(domain) != version:
                found = f"version {own[domain]}" if domain in own else "none"
                yield Finding(
                    where, where, f"imports version {version} of operator set {domain!r}, but the model {found}"
                )
    for where, imported, nodes in (
        ("model", own, model.graph.node),
        *((f"function {f.name}", dict(_versions(f.opset_import)), f.node) for f in model.functions),
    ):
        for domain in dict.fromkeys("" if standard(node.domain) else node.domain for node in nodes):
            if domain not in imported:
                yield Finding(where, where, f"has operators of domain {domain!r}, which it does not import")


def _versions(imports: Iterable[onnx.OperatorSetIdProto]) -> Iterator[tuple[str, int]]:
    for entry in imports:
        yield "" if standard(entry.domain) else entry.domain, entry.version


def _twice(imports: Iterable[onnx.OperatorSetIdProto], where: str) -> Iterator[Finding]:
    for domain, count in Counter(domain for domain, _ in _versions(imports)).items():
        if count > 1:
            yield Finding(where, where, f"imports operator set {domain!r} {count} times, expected once")


def _import(message: str) -> Finding:
    return Finding("model", "model", message)
