"""Graph building: from a calibrated twin to an ONNX model of the domain `ivit`, one file an architecture family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_ir as ir
from ivit_onnx.exporters.certify import certify
from ivit_onnx.exporters.finish import finish, save
from ivit_onnx.exporters.image import INPUT_TYPES, InputType
from ivit_onnx.exporters.swin import build_swin
from ivit_onnx.exporters.vit import build_vit

from ivit_onnx.models import Twin

__all__ = ["INPUT_TYPES", "InputType", "build_graph", "certify", "finish", "save"]

#: The graph builder of each architecture family.
_BUILDERS: dict[str, Callable[[Any, InputType], tuple[ir.Graph, float]]] = {"vit": build_vit, "swin": build_swin}


def build_graph(model: Twin, input_type: InputType) -> tuple[ir.Graph, float]:
    """The main graph of a calibrated twin, without functions, and the scale of its integer logits.

    Input `image` [batch, 3, H, W] of `input_type`, output `logits` int32 [batch, classes].

    Raises:
        ExportError: the input type is unknown; a layer is not calibrated or cannot be expressed in integers.
    """
    return _BUILDERS[model.arch.family](model, input_type)
