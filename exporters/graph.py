"""A graph under construction: every operator call of the twin becomes one documented node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from ivit_onnx.opset import DOMAIN, OPERATORS, OPSET_VERSION, STANDARD_OPSET_VERSION
from ivit_onnx.quant.tensors import Lowered

__all__ = ["BATCH", "Dim", "GraphBuilder", "with_norm", "with_pixels"]

BATCH = "batch"
Dim = int | str

_DTYPES = {
    "int8": ir.DataType.INT8,
    "uint8": ir.DataType.UINT8,
    "int16": ir.DataType.INT16,
    "int32": ir.DataType.INT32,
    "float32": ir.DataType.FLOAT,
}


class GraphBuilder:
    """Collects inputs, nodes and initializers in order; names are the twin's module paths."""

    def __init__(self) -> None:
        self.inputs: list[ir.Value] = []
        self.nodes: list[ir.Node] = []
        self.initializers: list[ir.Value] = []

    def input(self, name: str, dtype: str, shape: Sequence[Dim], doc: str) -> ir.Value:
        """A graph input."""
        value = self._value(name, dtype, shape)
        value.doc_string = doc
        self.inputs.append(value)
        return value

    def constant(self, name: str, array: np.ndarray[Any, Any]) -> ir.Value:
        """An initializer."""
        tensor = ir.tensor(np.asarray(array, order="C"), name=name)
        value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor)
        self.initializers.append(value)
        return value

    def operator(
        self,
        path: str,
        lowered: Lowered,
        data: Sequence[ir.Value],
        outputs: Mapping[str, Sequence[Dim]],
        doc: str,
    ) -> tuple[ir.Value, ...]:
        """The node of one lowered operator.

        `data` are the inputs that are not constants, in the operator's order; `outputs` the names and shapes of its
        outputs.
        """
        spec = OPERATORS[lowered.operator]
        remaining = iter(data)
        inputs = [
            self.constant(f"{path}.{tensor.name}", lowered.constants[tensor.name])
            if tensor.name in lowered.constants
            else next(remaining)
            for tensor in spec.inputs
        ]
        values = tuple(
            self._value(name, tensor.dtype, shape)
            for tensor, (name, shape) in zip(spec.outputs, outputs.items(), strict=True)
        )
        self.nodes.append(
            ir.node(
                lowered.operator,
                inputs,
                lowered.attributes,
                domain=DOMAIN,
                outputs=values,
                name=path,
                doc_string=f"{doc} {spec.summary} {spec.formula}",
            )
        )
        return values

    def standard(
        self,
        op_type: str,
        path: str,
        inputs: Sequence[ir.Value],
        dtype: str,
        shape: Sequence[Dim],
        doc: str,
        **attributes: int,
    ) -> ir.Value:
        """A node of the standard ONNX operator set."""
        output = self._value(path, dtype, shape)
        self.nodes.append(ir.node(op_type, inputs, attributes, outputs=[output], name=path, doc_string=doc))
        return output

    def graph(self, name: str, outputs: Sequence[ir.Value], doc: str) -> ir.Graph:
        """The finished graph."""
        return ir.Graph(
            self.inputs,
            outputs,
            nodes=self.nodes,
            initializers=self.initializers,
            opset_imports={"": STANDARD_OPSET_VERSION, DOMAIN: OPSET_VERSION},
            name=name,
            doc_string=doc,
        )

    @staticmethod
    def _value(name: str, dtype: str, shape: Sequence[Dim]) -> ir.Value:
        return ir.Value(name=name, type=ir.TensorType(_DTYPES[dtype]), shape=ir.Shape(shape))


def with_norm(branch: Lowered, norm: Lowered) -> Lowered:
    """A residual branch and the normalisation right after it as one operator."""
    constants = {**branch.constants, **{f"norm_{name}": array for name, array in norm.constants.items()}}
    return Lowered(f"{branch.operator}Norm", constants, branch.scale, branch.attributes)


def with_pixels(quantize: Lowered, embed: Lowered) -> Lowered:
    """The quantisation of pixels and the patch embedding after it as one operator."""
    constants = {**{f"pixel_{name}": array for name, array in quantize.constants.items()}, **embed.constants}
    return Lowered(embed.operator.replace("IntPatch", "IntPixel"), constants, embed.scale, embed.attributes)
