"""Where a model's integers leave the floating-point network, layer by layer, and what each layer costs."""

from __future__ import annotations

from ivit_onnx.report.measure import measure
from ivit_onnx.report.results import ErrorReport, LayerError, PartError, PointError

__all__ = ["ErrorReport", "LayerError", "PartError", "PointError", "measure"]
