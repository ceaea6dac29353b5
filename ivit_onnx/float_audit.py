"""Looks for anything that is not an integer in an exported model: values, initializers, attributes, function bodies.

Three passes. The first looks for what could be read in two ways (ivit_onnx.proof.canonical), so that a function means
the same to whoever reads it. The second reads the file as it is: every node of the main graph and of every function
body has to be an operator that is known to compute in integers. The third inlines all functions, which import what the
model imports, and lets strict shape inference give every value a type.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import TensorProto, inliner, shape_inference

from ivit_onnx.errors import ModelError
from ivit_onnx.integer_operators import computes_in_integers
from ivit_onnx.proof.canonical import structure
from ivit_onnx.proof.element_types import ELEMENT_TYPES

__all__ = ["FloatAudit", "audit"]

#: Element types an integer-only model may have.
INTEGER_TYPES = frozenset(ELEMENT_TYPES)

_Names = frozenset[tuple[str, str]]


#: Attributes whose integer is an element type.
TYPE_ATTRIBUTES = frozenset({"to", "dtype", "output_dtype", "stash_type"})

#: Larger initializers become inputs before inference, which needs their types but not their numbers.
_SMALL = 1024


@dataclass(frozen=True)
class FloatAudit:
    """What was found. `boundary` names the one node that may take a float: the quantisation of a float32 input."""

    findings: tuple[str, ...]
    boundary: str | None
    values: int
    functions: int


def audit(model: onnx.ModelProto) -> FloatAudit:
    """Report everything in `model` that is not an integer. Consumes the model: large initializers are dropped.

    The only exception is the boundary of a model with a float32 input: one standard QuantizeLinear that alone reads
    this input, with its scale. Raises ModelError when the model is not valid.
    """
    found: dict[str, None] = dict.fromkeys(map(str, structure(model)))
    boundary = _boundary(model)
    allowed: set[str] = set()
    if boundary is not None:
        allowed = {boundary.input[0], boundary.input[1]}
    readable = not found
    found |= dict.fromkeys(_scan_file(model, boundary, allowed))
    values = 0
    for name, element_type in _inferred_types(model) if readable else ():
        values += 1
        if name in allowed:
            continue
        if element_type is None:
            found[f"value {name!r} has no type: it cannot be shown to be an integer"] = None
        elif element_type not in INTEGER_TYPES:
            found[f"value {name!r} is {_type_name(element_type)}"] = None
    label = None if boundary is None else f"{boundary.op_type} {boundary.name!r} on input {boundary.input[0]!r}"
    return FloatAudit(tuple(found), label, values, len(model.functions))


def _boundary(model: onnx.ModelProto) -> onnx.NodeProto | None:
    """The QuantizeLinear that alone reads a float32 graph input and makes int8 of it with a constant scale."""
    floats = {value.name for value in model.graph.input if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    readers = [node for node in model.graph.node if floats & set(node.input)]
    if len(floats) != 1 or len(readers) != 1:
        return None
    (node,) = readers
    if node.op_type != "QuantizeLinear" or node.domain not in ("", "ai.onnx") or len(node.input) != 3:
        return None
    if node.input[0] not in floats or node.input[1] not in constants or node.input[2] not in constants:
        return None
    used_elsewhere = any(node.input[1] in other.input for other in model.graph.node if other is not node)
    return None if used_elsewhere or constants[node.input[2]].data_type not in INTEGER_TYPES else node


def _scan_file(model: onnx.ModelProto, boundary: onnx.NodeProto | None, allowed: set[str]) -> Iterator[str]:
    called: _Names = frozenset((function.domain, function.name) for function in model.functions)
    yield from _scan_graph(model.graph, "", called, boundary, allowed)
    for function in model.functions:
        where = f"function {function.domain}::{function.name}: "
        for node in function.node:
            yield from _scan_node(node, where, called)


def _scan_graph(
    graph: onnx.GraphProto,
    where: str,
    called: _Names,
    boundary: onnx.NodeProto | None = None,
    allowed: Iterable[str] = (),
) -> Iterator[str]:
    for tensor in graph.initializer:
        if tensor.data_type not in INTEGER_TYPES and tensor.name not in allowed:
            yield f"{where}initializer {tensor.name!r} is {_type_name(tensor.data_type)}"
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.name not in allowed:
            yield from _scan_type(value.type, f"{where}value {value.name!r}")
    for node in graph.node:
        if node is not boundary:
            yield from _scan_node(node, where, called)


def _scan_node(node: onnx.NodeProto, where: str, called: _Names) -> Iterator[str]:
    label = f"{where}{node.op_type} {(node.name or ', '.join(node.output))!r}: "
    if (node.domain, node.op_type) not in called and not computes_in_integers(node):
        yield f"{label}not known to compute in integers"
    for attribute in node.attribute:
        yield from _scan_attribute(attribute, label, called)


def _scan_attribute(attribute: onnx.AttributeProto, where: str, called: _Names) -> Iterator[str]:
    kind, label = attribute.type, f"{where}attribute {attribute.name!r}"
    if kind in (onnx.AttributeProto.FLOAT, onnx.AttributeProto.FLOATS):
        yield f"{label} is a float"
    tensors = [*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors]
    sparse = [*([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []), *attribute.sparse_tensors]
    for tensor in [*tensors, *(entry.values for entry in sparse)]:
        if tensor.data_type not in INTEGER_TYPES:
            yield f"{label} is a {_type_name(tensor.data_type)} tensor"
    for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
        yield from _scan_graph(graph, f"{label}: ", called)
    names_type = kind == onnx.AttributeProto.INT and attribute.name in TYPE_ATTRIBUTES and not attribute.ref_attr_name
    if names_type and attribute.i not in INTEGER_TYPES:
        yield f"{label} names the type {_type_name(attribute.i)}"


def _scan_type(value_type: onnx.TypeProto, label: str) -> Iterator[str]:
    kind = value_type.WhichOneof("value")
    if kind == "tensor_type":
        element_type = value_type.tensor_type.elem_type
        if element_type not in INTEGER_TYPES and element_type != TensorProto.UNDEFINED:
            yield f"{label} is {_type_name(element_type)}"
    elif kind is not None:
        yield f"{label} is no tensor"


def _inferred_types(model: onnx.ModelProto) -> Iterator[tuple[str, int | None]]:
    """Every value of the main graph after all functions are inlined, with its element type or None."""
    initial = {tensor.name for tensor in model.graph.input}
    for index in reversed(range(len(model.graph.initializer))):
        tensor = model.graph.initializer[index]
        size = 1
        for dimension in tensor.dims:
            size *= dimension
        if size > _SMALL or tensor.data_location == TensorProto.EXTERNAL:
            if tensor.name not in initial:
                model.graph.input.append(
                    onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
                )
            del model.graph.initializer[index]
    try:
        inlined = inliner.inline_local_functions(model)
        inferred = shape_inference.infer_shapes(inlined, check_type=True, strict_mode=True)
    except Exception as error:  # onnx raises several types of its own
        raise ModelError(f"the model is not valid: {' '.join(str(error).split())}") from None
    yield from _types_of(inferred.graph)


def _types_of(graph: onnx.GraphProto) -> Iterator[tuple[str, int | None]]:
    known: dict[str, Any] = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        known[value.name] = value.type.tensor_type.elem_type or None
    produced = [output for node in graph.node for output in node.output if output]
    for name in dict.fromkeys([*known, *produced]):
        yield name, known.get(name)
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield from _types_of(inner)


def _type_name(element_type: int) -> str:
    try:
        return str(TensorProto.DataType.Name(element_type)).lower()  # type: ignore[arg-type,unused-ignore]
    except ValueError:
        return f"element type {element_type}"
