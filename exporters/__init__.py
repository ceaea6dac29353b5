"""Graph building: from a calibrated twin to an ONNX model of the domain `ivit`, one file an architecture family."""

from __future__ import annotations

from ivit_onnx.exporters.finish import finish, save
from ivit_onnx.exporters.vit import build_vit

__all__ = ["build_vit", "finish", "save"]
