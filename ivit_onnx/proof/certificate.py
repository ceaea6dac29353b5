"""The certificate of a proof: which graph was proven, and what was found.

It is no signature: whoever can change a model can also write a new certificate. It says what was proven when the model
was made, and shows by accident or otherwise changed weights, attributes and function bodies; `ivit-verify` proves the
model again and compares.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from ivit_onnx._version import __version__
from ivit_onnx.errors import damaged_model
from ivit_onnx.files import parse_json
from ivit_onnx.proof.bodies import canonical_function, canonical_node
from ivit_onnx.proof.report import ProofReport
from ivit_onnx.proof.types import standard

__all__ = ["METADATA_KEY", "certificate", "graph_hash", "mismatch", "read_certificate"]

METADATA_KEY = "ivit.proof"
#: Of the analysis. A new one whenever it counts or bounds in another way, or says it in other words: certificates of
#: other revisions are about the same graph, with numbers of their own.
_REVISION = 2


def graph_hash(model: onnx.ModelProto) -> str:
    """SHA-256 of everything that decides what a model computes: types, weights, nodes, attributes, function bodies.

    Documentation, names of nodes, metadata and types that follow from others are left out, and so is where the weights
    are stored. Requires the weights to be loaded.
    """
    digest = hashlib.sha256()

    def add(*parts: bytes) -> None:
        for part in parts:
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)

    for opset in sorted(model.opset_import, key=lambda entry: entry.domain):
        add(b"" if standard(opset.domain) else opset.domain.encode(), str(opset.version).encode())
    graph = model.graph
    for kind, values in ((b"input", graph.input), (b"output", graph.output)):
        for value in values:
            tensor = value.type.WhichOneof("value") == "tensor_type"
            kept = value.type.tensor_type if tensor else value.type
            add(kind, value.name.encode(), kept.SerializeToString(deterministic=True))
    for weight in sorted(graph.initializer, key=lambda entry: entry.name):
        array = numpy_helper.to_array(weight)
        add(b"weight", weight.name.encode(), array.dtype.str.encode(), str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data if array.size else b"")
    # No model of this form is proven, but ONNX Runtime runs it.
    for sparse in graph.sparse_initializer:
        add(b"sparse weight", sparse.SerializeToString(deterministic=True))
    for node in graph.node:
        add(b"node", canonical_node(node).SerializeToString(deterministic=True))
    for function in sorted(model.functions, key=lambda entry: (entry.domain, entry.name)):
        add(b"function", canonical_function(function))
    return digest.hexdigest()


def certificate(model: onnx.ModelProto, report: ProofReport) -> dict[str, Any]:
    """What goes into the metadata of a proven model, as a JSON object. It names values, which the hash covers, and no
    nodes."""
    tightest = {}
    for dtype in ("int32", "int64"):
        headroom = report.tightest(dtype)
        if headroom is not None:
            tightest[dtype] = {
                "output": headroom.output,
                "value": headroom.value,
                "magnitude": headroom.magnitude,
                "bits": headroom.bits,
            }
    return {
        "graph": f"sha256:{graph_hash(model)}",
        "tool": f"ivit-onnx {__version__}, proof {_REVISION}",
        "values": report.values,
        "checks": report.checks,
        "tightest": tightest,
    }


def read_certificate(model: onnx.ModelProto) -> dict[str, Any] | None:
    """The certificate in a model's metadata; None without one, empty where it is damaged."""
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            try:
                found = parse_json(entry.value)
            except ValueError:
                return {}
            return found if isinstance(found, dict) else {}
    return None


def mismatch(model: onnx.ModelProto, report: ProofReport) -> str | None:
    """How the model's certificate differs from the proof just made; None if it agrees or there is none.

    Numbers are compared only with those of the same analysis: another one may bound more tightly. Raises ModelError
    where the weights do not fit their shapes.
    """
    found = read_certificate(model)
    if found is None:
        return None
    with damaged_model():
        expected = certificate(model, report)
    if found.get("graph") != expected["graph"]:
        return f"the certificate is for another graph: {found.get('graph')}, this one is {expected['graph']}"
    if found.get("tool") == expected["tool"] and found != expected:
        different = [key for key in expected if found.get(key) != expected[key]]
        return f"the certificate does not say what the proof says: {', '.join(different) or 'it has more entries'}"
    return None
