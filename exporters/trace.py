"""The graph of a twin: what its own forward does with a tensor that has no values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from ivit_onnx.exporters import nodes
from ivit_onnx.exporters.contract import contract
from ivit_onnx.exporters.nodes import BATCH
from torch import Tensor

from ivit_onnx.errors import ExportError
from ivit_onnx.models import Twin
from ivit_onnx.opset import DOMAIN, OPSET_VERSION, STANDARD_OPSET_VERSION
from ivit_onnx.options.choices import INPUT_TYPES, InputType, check_choice
from ivit_onnx.quant.symbolic import SymbolicTensor
from ivit_onnx.quant.tensors import Lowered

__all__ = ["Trace", "TracedTensor", "trace"]


_INPUT_DOCS = {
    "uint8": "Image: RGB pixels 0..255, resized and cropped; normalisation is part of the graph.",
    "int8": "Image: round(normalised pixel / ivit.input_scale), clamped to int8.",
    "float32": "Image: normalised pixels, (pixel / 255 - mean) / std.",
}


def trace(model: Twin, input_type: InputType) -> tuple[ir.Graph, float]:
    """The graph of a calibrated twin, one node for each operator that its forward calls, and the scale of its output.

    Input `image` [batch, 3, H, W] of `input_type`; output `logits` int32 [batch, classes] or, of a network without a
    head, `features` int32 [batch, channels]. Nodes have the names of the modules that they stand for.

    Raises:
        ExportError: the input type is unknown; the twin does not compute with integers; a layer is not calibrated or
            cannot be expressed in integers; the forward does something else than calling operators.
    """
    check_choice("an input type", input_type, INPUT_TYPES, ExportError)
    if model.training or not model.image.quantized:
        raise ExportError("expected a twin that computes with integers; call eval() and set_quantized(True) first")
    arch, graph = model.arch, Trace()
    image = graph.input("image", input_type, (arch.in_channels, *arch.image_size), _INPUT_DOCS[input_type])
    output = model.outputs(image)
    what = "features" if model.head is None else "logits"
    graph.output(what, output.value, f"Integer {what}; float {what} = {what} * ivit.output_scale.")
    doc = f"Integer-only {arch.name}: no floating-point tensor but a float32 input, if that was asked for."
    return graph.finished(arch.name, doc), float(output.scale)


class TracedTensor(SymbolicTensor):
    """A symbolic tensor that is a value of a graph."""

    graph: Trace
    value: ir.Value

    def __repr__(self) -> str:  # type: ignore[override]
        return f"<{nodes.dtype(self.value)} {self.value.name} of the graph>"

    def record(self, name: str, role: str, lowered: Lowered, values: Sequence[Tensor], result: Tensor) -> TracedTensor:
        return self.graph.call(name, role, lowered, values, result)


class Trace:
    """Inputs, nodes and initializers of a graph, in the order in which a forward calls them."""

    def __init__(self) -> None:
        self._inputs: list[ir.Value] = []
        self._nodes: list[ir.Node] = []
        self._initializers: list[ir.Value] = []
        self._outputs: list[ir.Value] = []
        self._names: set[str] = set()

    def input(self, name: str, dtype: str, shape: Sequence[int], doc: str) -> TracedTensor:
        """A graph input [batch, *shape]."""
        value = nodes.value(name, dtype, (BATCH, *shape), doc)
        self._inputs.append(value)
        self._names.add(name)
        return self._traced(value, torch.empty(0, *shape, dtype=getattr(torch, dtype)))

    def call(self, name: str, role: str, lowered: Lowered, values: Sequence[Tensor], result: Tensor) -> TracedTensor:
        """The result of an operator call, as SymbolicTensor.record.

        Its node and its output are called `name`, or `name`.quantized if that is an input of the graph; a constant
        `name`. and the name of the operator's input.
        """
        node = f"{name}.quantized" if any(name == value.name for value in self._inputs) else name
        if node in self._names:
            raise ExportError(f"{node} is called twice: expected a module for each call on tensors of the graph")
        self._names.add(node)
        known, inputs = contract(lowered.operator), self._arguments(name, lowered, values)
        if len(known.outputs) != 1:
            raise ExportError(f"{name}: expected an operator with one output, found {lowered.operator}")
        if result.ndim == 0 or result.shape[0] != 0:
            raise ExportError(f"{name}: expected a result for each image, found {list(result.shape)} for no image")
        output = nodes.value(node, known.outputs[0] or nodes.dtype(inputs[0]), (BATCH, *result.shape[1:]))
        self._nodes.append(nodes.operator(node, role, lowered.operator, inputs, lowered.attributes, [output]))
        return self._traced(output, result)

    def _arguments(self, name: str, lowered: Lowered, values: Sequence[Tensor]) -> list[ir.Value]:
        """The inputs of a call in the operator's order: of its constants, and of values in their order."""
        types = contract(lowered.operator).inputs
        free = [key for key in types if key not in lowered.constants]
        if len(free) != len(values) or not lowered.constants.keys() <= types.keys():
            raise ExportError(
                f"{name}: {lowered.operator} takes {', '.join(types)}, found {len(values)} tensors and the constants "
                f"{', '.join(lowered.constants) or '(none)'}"
            )
        given = dict(zip(free, values, strict=True))
        inputs = []
        for key, dtype in types.items():
            tensor, title = given.get(key), f"{name}.{key}"
            if isinstance(tensor, TracedTensor):
                if nodes.dtype(tensor.value) != (dtype or nodes.dtype(tensor.value)):
                    found = f"{nodes.dtype(tensor.value)} of {tensor.value.name}"
                    raise ExportError(f"{title}: expected {dtype}, found {found}; give it the bits that are read here")
                inputs.append(tensor.value)
            else:
                array = lowered.constants[key] if tensor is None else _integers(tensor, dtype, title)
                inputs.append(nodes.constant(title, array))
                self._initializers.append(inputs[-1])
        return inputs

    def output(self, name: str, tensor: Tensor, doc: str) -> None:
        """Make a tensor the output `name` of the graph, as int32."""
        if not isinstance(tensor, TracedTensor):
            raise ExportError(f"{name}: expected a result that depends on the image, found a constant")
        if tensor.value.dtype != ir.DataType.INT32:
            to = Lowered("Cast", {}, np.float32(1), {"to": int(ir.DataType.INT32)})
            tensor = self.call(name, doc, to, [tensor], tensor.empty)
        tensor.value.name, tensor.value.doc_string = name, doc
        self._outputs.append(tensor.value)

    def finished(self, name: str, doc: str) -> ir.Graph:
        """The graph."""
        return ir.Graph(
            self._inputs,
            self._outputs,
            nodes=self._nodes,
            initializers=self._initializers,
            opset_imports={"": STANDARD_OPSET_VERSION, DOMAIN: OPSET_VERSION},
            name=name,
            doc_string=doc,
        )

    def _traced(self, value: ir.Value, empty: Tensor) -> TracedTensor:
        tensor = TracedTensor.of(empty)
        tensor.graph, tensor.value = self, value
        return tensor


def _integers(tensor: Tensor, dtype: str, name: str) -> np.ndarray[Any, Any]:
    """The values of a tensor as a constant of the operator's type. Raises ExportError where they do not fit."""
    array = tensor.detach().cpu().numpy()
    if array.size == 0:
        # A copy of a symbolic tensor, by torch.tensor for example, has none.
        raise ExportError(f"{name}: expected a tensor of the graph or a constant, found a tensor without values")
    integers = array.astype(dtype)
    if not np.array_equal(integers, array):
        raise ExportError(f"{name}: expected a constant of {dtype}, found values from {array.min()} to {array.max()}")
    return integers
