"""Whether the functions of a model file are those of the operator set: kernels, which replace them, compute those."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache

import onnx
from onnx import numpy_helper

from ivit_onnx.errors import damaged_model
from ivit_onnx.function_calls import with_inner
from ivit_onnx.opset import DOMAIN, function_protos

__all__ = ["definition_digest", "foreign_functions", "unused_functions"]

_Key = tuple[str, str]
_Functions = Mapping[_Key, onnx.FunctionProto]
_Attributes = Mapping[str, bytes]

#: A body with its calls replaced may have that many times the nodes of the operator set's own. One of more is not
#: looked into: it is another, or full of nodes that do nothing.
_MOST_TIMES = 2


def foreign_functions(model: onnx.ModelProto) -> dict[str, str]:
    """Functions of the domain that are not those of the operator set, by name, each with the reason.

    Names inside of a body, and whether its callees are inlined, play no part. The work is linear in the size of the
    file. Raises ModelError where functions call themselves or do not fit together.
    """
    own, functions = _own_functions(), _by_key(model.functions)
    own_sizes, sizes = _sizes(own), _sizes(functions)
    found: dict[str, str] = {}
    with damaged_model():
        for function in model.functions:
            key = (function.domain, function.name)
            if function.domain != DOMAIN:
                continue
            if key not in own:
                found[function.name] = "the operator set has no function of this name"
            elif sizes[key] > _MOST_TIMES * own_sizes[key] or _digest(function, functions) != _own_digests()[key]:
                found[function.name] = "the body is not that of the operator set, which kernels compute in its place"
    return found


def unused_functions(model: onnx.ModelProto) -> list[str]:
    """Functions that the graph does not reach, of any domain, as `domain.name`."""
    functions = _by_key(model.functions)
    reached: set[_Key] = set()
    waiting = list(_calls(model.graph.node))
    while waiting:
        key = waiting.pop()
        if key in functions and key not in reached:
            reached.add(key)
            waiting += _calls(functions[key].node)
    return [".".join(key) for key in functions if key not in reached]


def definition_digest(name: str) -> str:
    """A hash of what a function of the operator set computes."""
    return hashlib.sha256(b"".join(_own_digests()[DOMAIN, name])).hexdigest()


@cache
def _own_functions() -> _Functions:
    return _by_key(function_protos())


@cache
def _own_digests() -> Mapping[_Key, tuple[bytes, ...]]:
    return {key: _digest(function, _own_functions()) for key, function in _own_functions().items()}


def _by_key(functions: Iterable[onnx.FunctionProto]) -> dict[_Key, onnx.FunctionProto]:
    return {(function.domain, function.name): function for function in functions}


def _calls(nodes: Iterable[onnx.NodeProto]) -> Iterator[_Key]:
    """The operators of nodes, and of graphs in their attributes."""
    return ((node.domain, node.op_type) for node in with_inner(nodes))


def _sizes(functions: _Functions) -> dict[_Key, int]:
    """The nodes of each function with the bodies of its callees, each function looked at once."""
    sizes: dict[_Key, int] = {}

    def size(key: _Key) -> int:
        if key not in functions:
            return 1
        if key not in sizes:
            sizes[key] = 0
            sizes[key] = 1 + sum(map(size, _calls(functions[key].node)))
        return sizes[key]

    with damaged_model():
        for key in functions:
            size(key)
    return sizes


def _digest(function: onnx.FunctionProto, functions: _Functions) -> tuple[bytes, ...]:
    """A hash for each output: of the operators that lead to it, from the inputs on, through all calls. The first is of
    the signature."""
    inputs = [f"input {index}".encode() for index in range(len(function.input))]
    attributes = {name: f"attribute {name}".encode() for name in function.attribute}
    signature = _hash([str(len(inputs)).encode(), *sorted(attributes.values())])
    return (signature, *_expanded(function, functions, inputs, attributes))


def _expanded(
    function: onnx.FunctionProto, functions: _Functions, inputs: Sequence[bytes], attributes: _Attributes
) -> tuple[bytes, ...]:
    values = dict(zip(function.input, inputs, strict=False))
    versions = {_standard(opset.domain): opset.version for opset in function.opset_import}
    for node in function.node:
        arguments = [values.get(name, b"unknown") for name in node.input]
        bound: dict[str, bytes] = {}
        for entry in node.attribute:
            value = attributes.get(entry.ref_attr_name, b"missing") if entry.ref_attr_name else _attribute(entry)
            bound[entry.name] = b"twice" if entry.name in bound else value
        callee = functions.get((node.domain, node.op_type))
        if callee is not None:
            results: Sequence[bytes] = _expanded(callee, functions, arguments, bound)
        else:
            parts = [*_operator(node, versions), *arguments]
            parts += [part for name in sorted(bound) for part in (name.encode(), bound[name])]
            whole = _hash(parts)
            results = [_hash([whole, str(index).encode()]) for index in range(len(node.output))]
        values.update(zip(node.output, results, strict=False))
    return tuple(values.get(name, b"unknown") for name in function.output)


def _operator(node: onnx.NodeProto, versions: Mapping[str, int]) -> tuple[bytes, bytes, bytes]:
    """The domain, the name and the definition of an operator: that of the version which the function imports."""
    domain = _standard(node.domain)
    try:
        defined = onnx.defs.get_schema(node.op_type, versions.get(domain, 0), domain).since_version
    except onnx.defs.SchemaError:
        defined = 0
    return domain.encode(), node.op_type.encode(), str(defined).encode()


def _standard(domain: str) -> str:
    """A domain by one of its names: that of ONNX's own operators has two."""
    return "" if domain == "ai.onnx" else domain


def _attribute(attribute: onnx.AttributeProto) -> bytes:
    """The value of an attribute; equal constants are equal, whichever way they are written."""
    value: object = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        array = numpy_helper.to_array(value)
        return _hash([str(array.dtype).encode(), str(array.shape).encode(), array.tobytes()])
    return repr(value).encode()


def _hash(parts: Iterable[bytes]) -> bytes:
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "little") + part for part in parts)).digest()
