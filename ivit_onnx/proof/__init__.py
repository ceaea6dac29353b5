"""Proof that nothing overflows: ranges of all intermediates of a model, from its input types and its weights.

docs/trust.md says what is proven, with the lemmas on which the ranges stand.
"""

from __future__ import annotations

import onnx

from ivit_onnx.errors import damaged_model
from ivit_onnx.function_bodies import foreign_functions
from ivit_onnx.proof.canonical import deviations
from ivit_onnx.proof.certificate import METADATA_KEY, certificate, graph_hash, mismatch, read_certificate
from ivit_onnx.proof.report import Finding, NodeHeadroom, ProofReport
from ivit_onnx.proof.walk import Walk

__all__ = [
    "METADATA_KEY",
    "Finding",
    "NodeHeadroom",
    "ProofReport",
    "certificate",
    "graph_hash",
    "mismatch",
    "prove",
    "read_certificate",
]


def prove(model: onnx.ModelProto) -> ProofReport:
    """Show that no int32 or int64 intermediate of the model overflows, no shift is out of range and no divisor zero.

    `model` has its weights loaded. What is not in canonical form is not walked at all. Function bodies are walked at
    each call. What is not proven is in the findings. Raises ModelError where the model does not fit together.
    """
    with damaged_model():
        different = deviations(model)
        if different:
            return ProofReport(tuple(different), 0, 0, ())
        walk = Walk(model)
        values = walk.run()
    foreign = foreign_functions(model)
    findings = list(walk.ledger.findings)
    constants = {tensor.name for tensor in model.graph.initializer}
    for output in model.graph.output:
        if output.name not in values and output.name not in constants and not findings:
            findings.append(Finding(output.name, output.name, "nothing computes this output"))
    findings += [Finding(f"function {name}", name, reason) for name, reason in foreign.items()]
    return ProofReport(tuple(findings), walk.ledger.checks, walk.values, tuple(walk.ledger.headrooms.values()))
