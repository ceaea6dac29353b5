"""The one form of a model that is proven: what ONNX Runtime could read in another way than the analysis is not in it.

`structure` is what any analysis of nodes rests on; `deviations` adds what ranges rest on.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from ivit_onnx.proof.attributes import attribute_deviations
from ivit_onnx.proof.fields import field_deviations
from ivit_onnx.proof.functions import function_deviations
from ivit_onnx.proof.imports import Imports, import_deviations
from ivit_onnx.proof.interface import interface_deviations
from ivit_onnx.proof.names import name_deviations
from ivit_onnx.proof.report import Finding
from ivit_onnx.proof.rules import VERSIONS
from ivit_onnx.proof.tensors import tensor_deviations
from ivit_onnx.proof.types import standard

__all__ = ["deviations", "structure"]


def structure(model: onnx.ModelProto) -> list[Finding]:
    """What may be read in two ways: fields, imports, functions, nodes, attributes, names. Needs no weights."""
    imports = Imports(model)
    return [
        *field_deviations(model),
        *import_deviations(model),
        *function_deviations(model),
        *attribute_deviations(model, imports),
        *name_deviations(model),
    ]


def deviations(model: onnx.ModelProto) -> list[Finding]:
    """All in which a model with its weights loaded is not in the form that is proven."""
    return [*structure(model), *interface_deviations(model), *tensor_deviations(model), *_versions(model)]


def _versions(model: onnx.ModelProto) -> Iterator[Finding]:
    """Operators of versions that rules were not written for."""
    imports, seen = Imports(model), set()
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        for node in nodes:
            schema = imports.schema(node.op_type) if standard(node.domain) else None
            if schema is None or node.op_type in seen or node.op_type not in VERSIONS:
                continue
            seen.add(node.op_type)
            if schema.since_version not in VERSIONS[node.op_type]:
                known = ", ".join(map(str, sorted(VERSIONS[node.op_type])))
                message = (
                    f"expected version {known} of the operator, found {schema.since_version}, which operator set "
                    f"{imports.standard} has: convert the model"
                )
                yield Finding.of(node, message)
