"""From a calibrated twin to an ONNX model of the domain `ivit`: its forward is traced, operators are fused."""

from __future__ import annotations

import onnx_ir as ir
from ivit_onnx.exporters.certify import certify
from ivit_onnx.exporters.finish import finish, save
from ivit_onnx.exporters.fuse import fuse
from ivit_onnx.exporters.trace import trace

from ivit_onnx.models import Twin
from ivit_onnx.options.choices import InputType

__all__ = ["build_graph", "certify", "finish", "save"]


def build_graph(model: Twin, input_type: InputType) -> tuple[ir.Graph, float]:
    """The main graph of a calibrated twin, without functions, and the scale of its integer output: `trace`, `fuse`.

    Raises:
        ExportError: as `trace`.
    """
    graph, scale = trace(model, input_type)
    fuse(graph)
    return graph, scale
