"""The end of every graph: the classification head, or the features of a network without one."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from ivit_onnx.exporters.graph import BATCH, GraphBuilder

from ivit_onnx.models import Twin

__all__ = ["end_graph"]


def end_graph(
    g: GraphBuilder, model: Twin, features: ir.Value, channels: int, scale: np.float32, doc: str
) -> tuple[ir.Graph, float]:
    """The finished graph and the scale of its output.

    `features` [batch, channels] have `scale`; `doc` says what the head is. Output `logits` int32 [batch, classes];
    without a head, `features` int32 [batch, channels].
    """
    name = model.arch.name
    graph_doc = f"Integer-only {name}: no floating-point tensor but a float32 input, if that was asked for."
    if model.head is None:
        what = "Integer features; float features = features * ivit.output_scale."
        shape, int32 = (BATCH, channels), int(ir.DataType.INT32)
        features = g.standard("Cast", "features", [features], "int32", shape, what, to=int32)
        features.doc_string = what
        return g.graph(name, [features], graph_doc), float(scale)
    head = model.head.lower(scale)
    (logits,) = g.operator("head", head, [features], {"logits": (BATCH, model.arch.classes)}, doc)
    logits.doc_string = "Integer logits; float logits = logits * ivit.output_scale."
    return g.graph(name, [logits], graph_doc), float(head.scale)
