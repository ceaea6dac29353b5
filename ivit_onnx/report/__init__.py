"""Where a model's integers leave the floating-point network, layer by layer, and what each layer costs."""

from __future__ import annotations

from ivit_onnx.report.measure import ErrorReport, LayerError, PartError, PointError, measure

__all__ = ["ErrorReport", "LayerError", "PartError", "PointError", "measure"]
