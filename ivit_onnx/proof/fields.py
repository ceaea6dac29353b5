"""Fields of a file: those that are known, without those that have no place in an integer model."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from ivit_onnx.proof.report import Finding

__all__ = ["field_deviations"]

#: Fields of the format that ask for something else than to run the nodes of the graph as they stand. Fields that ONNX
#: Runtime does not read when it computes are left alone: documentation, metadata, configurations of devices.
_FORBIDDEN = frozenset(
    {
        "ModelProto.training_info",
        "GraphProto.sparse_initializer",
        "GraphProto.quantization_annotation",
        "NodeProto.overload",
        "FunctionProto.overload",
        "FunctionProto.attribute_proto",
        "FunctionProto.value_info",
        "TensorProto.segment",
    }
)


def field_deviations(model: onnx.ModelProto) -> Iterator[Finding]:
    """Fields that are not known, which another reader may know, and fields that are not expected."""
    yield from _fields(model, "model")


def _fields(message: Message, where: str) -> Iterator[Finding]:
    if len(UnknownFieldSet(message)):
        yield Finding(where, where, f"has fields that {message.DESCRIPTOR.name} of ONNX {onnx.__version__} has not")
    for field, value in message.ListFields():
        if f"{message.DESCRIPTOR.name}.{field.name}" in _FORBIDDEN:
            yield Finding(where, where, f"expected no {field.name}")
        if field.type != field.TYPE_MESSAGE:
            continue
        for part in (value,) if isinstance(value, Message) else value:
            yield from _fields(part, getattr(part, "name", "") or where)
