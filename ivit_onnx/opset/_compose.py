"""Function bodies from parts: a step of a body filled in, and two operators called in a row.

A function that is made here is what onnxscript would make of the same body written out: inputs and attributes are
those of the operator's record, nodes and values have the names that they have in their parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from onnx import AttributeProto, FunctionProto, NodeProto, OperatorSetIdProto, helper
from onnxscript import OnnxFunction, script

from ivit_onnx.opset._spec import DOMAIN, IVIT, OPSET_VERSION, Attribute, Group, Operator, Tensor, op, tensors

__all__ = ["Composed", "OpenStep", "call", "filled", "in_a_row"]


@dataclass(frozen=True)
class Composed:
    """A function of the domain that is composed when it is asked for."""

    name: str
    compose: Callable[[], FunctionProto] = field(repr=False)

    def to_function_proto(self) -> FunctionProto:
        return self.compose()


@script(IVIT, default_opset=op)
def OpenStep(value):
    """Stands in a body for the step that variants of the operator compute in different ways."""
    result = op.Identity(value)
    return result


def filled(
    body: OnnxFunction[..., Any],
    step: OnnxFunction[..., Any],
    name: str,
    doc: str,
    signature: Sequence[Tensor | Group],
    attributes: Sequence[Attribute],
) -> Composed:
    """The function `name`: the nodes of `body`, those of `step` in the place of its OpenStep.

    The first input of `step` is the value that the open step takes; what else it has is in the signature.
    """

    def compose() -> FunctionProto:
        outer, inner = body.to_function_proto(), step.to_function_proto()
        (place,) = (i for i, node in enumerate(outer.node) if node.op_type == OpenStep.name)
        (value,), (result,) = outer.node[place].input, outer.node[place].output
        others = {output for node in outer.node for output in node.output} - {result}
        names = {**_fresh(inner, {*others, *(tensor.name for tensor in tensors(signature))}), inner.input[0]: value}
        end = inner.output[0]
        nodes = [
            *outer.node[:place],
            *_renamed(inner.node, names),
            *_renamed(outer.node[place + 1 :], {result: names.get(end, end)}),
        ]
        opsets = {opset.domain: opset for opset in (*outer.opset_import, *inner.opset_import)}
        return _function(name, doc, signature, attributes, nodes, outer.output, opsets.values())

    return Composed(name, compose)


def in_a_row(
    name: str,
    doc: str,
    signature: Sequence[Tensor | Group],
    attributes: Sequence[Attribute],
    calls: Sequence[NodeProto],
    outputs: Sequence[Tensor],
) -> Composed:
    """The function `name`: calls of operators of the domain."""
    opset = helper.make_opsetid(DOMAIN, OPSET_VERSION)
    names = [tensor.name for tensor in outputs]
    return Composed(name, lambda: _function(name, doc, signature, attributes, calls, names, [opset]))


def call(operator: Operator, inputs: Sequence[str], outputs: Sequence[str]) -> NodeProto:
    """A call inside a function that has all attributes of the operator."""
    node = helper.make_node(operator.name, inputs, outputs, domain=DOMAIN)
    for attribute in operator.attributes:
        node.attribute.add(name=attribute.name, type=AttributeProto.INT, ref_attr_name=attribute.name)
    return node


def _fresh(function: FunctionProto, taken: set[str]) -> dict[str, str]:
    """New names for those of the function's values that are taken."""
    values = [output for node in function.node for output in node.output]
    used, renamed = {*taken, *values}, {}
    for value in values:
        if value in taken:
            renamed[value] = next(name for i in count() if (name := f"{value}_{i}") not in used)
            used.add(renamed[value])
    return renamed


def _renamed(nodes: Iterable[NodeProto], names: dict[str, str]) -> Iterator[NodeProto]:
    """The nodes, reading and writing values of other names."""
    for node in map(_copy, nodes):
        for values in (node.input, node.output):
            values[:] = [names.get(value, value) for value in values]
        yield node


def _copy(node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    return copy


def _function(
    name: str,
    doc: str,
    signature: Sequence[Tensor | Group],
    attributes: Sequence[Attribute],
    nodes: Sequence[NodeProto],
    outputs: Iterable[str],
    opsets: Iterable[OperatorSetIdProto],
) -> FunctionProto:
    function = helper.make_function(
        DOMAIN,
        name,
        [tensor.name for tensor in tensors(signature)],
        list(outputs),
        list(map(_copy, nodes)),
        list(opsets),
        [attribute.name for attribute in attributes],
        doc_string=doc,
    )
    for number, node in enumerate(function.node):
        node.name = f"n{number}"
    return function
