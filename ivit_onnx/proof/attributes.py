"""Attributes, inputs and outputs of nodes: as the operator's definition has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import onnx
from onnx import AttributeProto

from ivit_onnx.proof.imports import Imports
from ivit_onnx.proof.report import Finding
from ivit_onnx.proof.types import standard

__all__ = ["attribute_deviations"]

#: The field that holds the value of each type of attribute. The others have to be empty.
_FIELDS: Mapping[int, str] = {
    AttributeProto.FLOAT: "f",
    AttributeProto.INT: "i",
    AttributeProto.STRING: "s",
    AttributeProto.TENSOR: "t",
    AttributeProto.GRAPH: "g",
    AttributeProto.SPARSE_TENSOR: "sparse_tensor",
    AttributeProto.TYPE_PROTO: "tp",
    AttributeProto.FLOATS: "floats",
    AttributeProto.INTS: "ints",
    AttributeProto.STRINGS: "strings",
    AttributeProto.TENSORS: "tensors",
    AttributeProto.GRAPHS: "graphs",
    AttributeProto.SPARSE_TENSORS: "sparse_tensors",
    AttributeProto.TYPE_PROTOS: "type_protos",
}
_BESIDE = frozenset({"name", "type", "doc_string"})
#: Integers that mean yes or no. Runtimes differ in what another number means.
_FLAGS = frozenset({"allowzero", "fmod", "keepdims", "noop_with_empty_axes", "saturate"})


def attribute_deviations(model: onnx.ModelProto, imports: Imports) -> Iterator[Finding]:
    """What the nodes of the graph and of functions have beside or instead of what their operators define."""
    functions = {(function.domain, function.name): function for function in model.functions}
    scopes: list[tuple[Iterable[onnx.NodeProto], set[str]]] = [(model.graph.node, set())]
    scopes += [(function.node, set(function.attribute)) for function in model.functions]
    for nodes, bound in scopes:
        for node in nodes:
            function = functions.get((node.domain, node.op_type))
            if function is not None:
                messages = _of_call(node, function)
            elif standard(node.domain):
                messages = _of_standard(node, imports)
            else:
                messages = iter(())
            for message in (*_of_node(node, bound), *messages):
                yield Finding.of(node, message)


def _of_node(node: onnx.NodeProto, bound: set[str]) -> Iterator[str]:
    if not node.output or not node.output[0]:
        yield "expected a name for the first output"
    for name, count in Counter(attribute.name for attribute in node.attribute).items():
        if count > 1:
            yield f"attribute {name} stands {count} times, expected once"
    for attribute in node.attribute:
        name, reference = attribute.name, attribute.ref_attr_name
        if attribute.type not in _FIELDS:
            yield f"attribute {name} has no type"
            continue
        value = "ref_attr_name" if reference else _FIELDS[attribute.type]
        others = {field.name for field, _ in attribute.ListFields()} - _BESIDE - {value}
        if others:
            yield f"attribute {name}: expected a value in {value} only, found {', '.join(sorted(others))} too"
        if reference and reference not in bound:
            yield f"attribute {name} refers to {reference}, which is no attribute of a function around it"
        if name in _FLAGS and attribute.type == AttributeProto.INT and attribute.i not in (0, 1):
            yield f"attribute {name}: expected 0 or 1, found {attribute.i}"


def _of_standard(node: onnx.NodeProto, imports: Imports) -> Iterator[str]:
    schema = imports.schema(node.op_type)
    if schema is None:
        yield f"operator set {imports.standard} of ONNX has no such operator"
        return
    known = schema.attributes
    for attribute in node.attribute:
        if attribute.name not in known:
            yield f"attribute {attribute.name} is none of the operator in operator set {imports.standard}"
        elif (expected := _type_of(known[attribute.name])) != attribute.type:
            yield _type(attribute, expected)
    given = {attribute.name for attribute in node.attribute}
    for name, definition in known.items():
        if definition.required and name not in given:
            yield f"expected attribute {name}, found none"
    if node.op_type == "Constant" and len(given) != 1:
        yield f"expected one value, found {len(given)}"
    yield from _number("inputs", len(node.input), schema.min_input, schema.max_input)
    yield from _number("outputs", len(node.output), schema.min_output, schema.max_output)


def _of_call(node: onnx.NodeProto, function: onnx.FunctionProto) -> Iterator[str]:
    given = {attribute.name for attribute in node.attribute}
    for attribute in node.attribute:
        if attribute.name not in function.attribute:
            yield f"attribute {attribute.name} is none of the function"
        elif attribute.type != AttributeProto.INT:
            yield _type(attribute, AttributeProto.INT)
    for name in function.attribute:
        if name not in given:
            yield f"attribute {name}: expected an integer, found none"
    yield from _number("inputs", len(node.input), len(function.input), len(function.input))
    yield from _number("outputs", len(node.output), 1, len(function.output))


def _type_of(definition: Any) -> int:
    """The number of an attribute's type, of which an onnx.defs.OpSchema.Attribute has the name."""
    return int(AttributeProto.AttributeType.Value(definition.type.name))


def _type(attribute: AttributeProto, expected: int) -> str:
    names = [AttributeProto.AttributeType.Name(kind) for kind in (expected, attribute.type)]  # type: ignore[arg-type,unused-ignore]
    return f"attribute {attribute.name}: expected {names[0]}, found {names[1]}"


def _number(what: str, found: int, least: int, most: int) -> Iterator[str]:
    if not least <= found <= most:
        expected = str(least) if least == most else f"{least}..{most}"
        yield f"expected {expected} {what}, found {found}"
