"""No model is written that could overflow: the proof, and its certificate in the metadata."""

from __future__ import annotations

import json

import onnx_ir as ir

from ivit_onnx.errors import ExportError
from ivit_onnx.proof import METADATA_KEY, ProofReport, certificate, prove

__all__ = ["certify"]


def certify(model: ir.Model) -> ProofReport:
    """Prove a finished model and put the certificate into its metadata.

    Raises:
        ExportError: something could overflow; the message names the node and the range found.
    """
    proto = ir.to_proto(model)
    report = prove(proto)
    if not report.proven:
        more = f" (and {len(report.findings) - 1} more)" if len(report.findings) > 1 else ""
        raise ExportError(
            f"the model is not proven to be free of overflow: {report.findings[0]}{more}; the calibrated ranges of "
            "this layer do not fit together: check the calibration images"
        )
    model.metadata_props[METADATA_KEY] = json.dumps(certificate(proto, report))
    return report
