"""Passes that make one operator of two neighbours. No integer changes: the operator is defined as the two."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import onnx_ir as ir
from ivit_onnx.exporters import nodes
from ivit_onnx.exporters.contract import contract
from ivit_onnx.exporters.finish import IR_VERSION

from ivit_onnx.opset import Part, forms_with

__all__ = ["NORM_FORMS", "PIXEL_FORMS", "FuseNorm", "FusePixels", "fuse"]

#: A residual branch, and the branch with the normalisation of its result.
NORM_FORMS = forms_with(Part.NORM)
#: A patch embedding, and the embedding of pixels, which it quantises.
PIXEL_FORMS = forms_with(Part.PIXELS)


def fuse(graph: ir.Graph) -> None:
    """All fusions of a traced graph, in place."""
    ir.passes.Sequential(FusePixels(), FuseNorm())(ir.Model(graph, ir_version=IR_VERSION))


class Fusion(ir.passes.InPlacePass):
    """Base of the fusions: a node of `forms` and its neighbour become one node, which has the name of the first.

    Constants of the neighbour are what the form takes beside the inputs of the node, in their order.

    Requires: nodes as `trace` makes them, with their roles.
    Ensures: no such pair is left; every constant is used; constants have the order of the nodes and of their inputs.
    """

    forms: Mapping[str, str]

    @abstractmethod
    def neighbour(self, node: ir.Node) -> ir.Node | None:
        """What is to be fused with a node whose operator is one of `forms`."""

    @abstractmethod
    def outputs(self, node: ir.Node, neighbour: ir.Node) -> Sequence[ir.Value]:
        """The results of the two that are those of the fused operator."""

    def requires(self, model: ir.Model) -> None:
        for node in model.graph:
            if nodes.ROLE not in node.meta:
                raise ir.passes.PreconditionError(f"{node.name}: expected a node of a traced graph, found no role")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        pairs = self._pairs(model.graph)
        for node, neighbour in pairs:
            self._replace(model.graph, node, neighbour)
        inputs = (value for node in model.graph for value in node.inputs)
        used = dict.fromkeys(value for value in inputs if value is not None and value.is_initializer())
        model.graph.initializers.clear()
        for value in used:
            model.graph.initializers.add(value)
        return ir.passes.PassResult(model, modified=bool(pairs))

    def ensures(self, model: ir.Model) -> None:
        for node, neighbour in self._pairs(model.graph):
            raise ir.passes.PostconditionError(f"{node.name} and {neighbour.name} are left to be fused")

    def _pairs(self, graph: ir.Graph) -> list[tuple[ir.Node, ir.Node]]:
        found = ((node, self.neighbour(node)) for node in graph if node.op_type in self.forms)
        return [(node, neighbour) for node, neighbour in found if neighbour is not None]

    def _replace(self, graph: ir.Graph, node: ir.Node, neighbour: ir.Node) -> None:
        form = self.forms[node.op_type]
        inputs = dict(zip(contract(node.op_type).inputs, node.inputs, strict=True))
        added = (key for key in contract(form).inputs if key not in inputs)
        for name, value in zip(contract(neighbour.op_type).inputs, neighbour.inputs, strict=True):
            assert value is not None
            if value.const_value is not None:
                key = next(added)
                inputs[key] = constant = nodes.constant(f"{node.name}.{key}", value.const_value.numpy())
                graph.register_initializer(constant)
            elif value not in node.outputs:
                inputs[name] = value
        old = self.outputs(node, neighbour)
        new = [ir.Value(name=value.name, type=value.type, shape=value.shape) for value in old]
        ordered = [inputs[name] for name in contract(form).inputs]
        fused = nodes.operator(node.name, node.meta[nodes.ROLE], form, ordered, node.attributes, new)
        graph.insert_before(node, fused)
        ir.convenience.replace_all_uses_with(old, new)
        graph.remove([node, neighbour], safe=True)


class FusePixels(Fusion):
    """The quantisation of pixels and the patch embedding that alone reads it."""

    forms = PIXEL_FORMS

    def neighbour(self, node: ir.Node) -> ir.Node | None:
        image = node.inputs[0]
        quantize = None if image is None else image.producer()
        alone = quantize is not None and len(quantize.outputs[0].consumers()) == 1
        return quantize if quantize is not None and quantize.op_type == "QuantizeImage" and alone else None

    def outputs(self, node: ir.Node, neighbour: ir.Node) -> Sequence[ir.Value]:
        return node.outputs


class FuseNorm(Fusion):
    """A residual branch and the 8-bit normalisation of its result, where the result is read again as the residual.

    Not where the normalisation alone reads it, as the last one of a network may: the fused operator writes both.
    """

    forms = NORM_FORMS

    def neighbour(self, node: ir.Node) -> ir.Node | None:
        stream = node.outputs[0]
        norms = [reader for reader in stream.consumers() if reader.op_type == "IntLayerNorm"]
        again = len(stream.consumers()) > 1
        return norms[0] if len(norms) == 1 and again else None

    def outputs(self, node: ir.Node, neighbour: ir.Node) -> Sequence[ir.Value]:
        return [*node.outputs, *neighbour.outputs]
