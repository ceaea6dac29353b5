"""Fields of a file: those that are known, without those that have no place in an integer model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from ivit_onnx.proof.report import Finding

__all__ = ["field_deviations"]

#: Fields of the format that ask for something else than to run the nodes of the graph as they stand. Fields that ONNX
#: Runtime does not read when it computes are left alone: documentation, metadata, configurations of devices.
_FORBIDDEN: Mapping[str, frozenset[str]] = {
    "ModelProto": frozenset({"training_info"}),
    "GraphProto": frozenset({"sparse_initializer", "quantization_annotation"}),
    "NodeProto": frozenset({"overload"}),
    "FunctionProto": frozenset({"overload", "attribute_proto", "value_info"}),
    "TensorProto": frozenset({"segment"}),
}


def field_deviations(model: onnx.ModelProto) -> Iterator[Finding]:
    """Fields that are not known, which another reader may know, and fields that are not expected."""
    waiting: list[tuple[Message, str]] = [(model, "model")]
    while waiting:
        message, where = waiting.pop()
        kind = message.DESCRIPTOR.name
        forbidden = _FORBIDDEN.get(kind, ())
        where = getattr(message, "name", "") or where
        if len(UnknownFieldSet(message)):
            yield Finding(where, where, f"has fields that {kind} of ONNX {onnx.__version__} has not")
        for field, value in message.ListFields():
            if field.name in forbidden:
                yield Finding(where, where, f"expected no {field.name}")
            if field.type == field.TYPE_MESSAGE:
                waiting += [(part, where) for part in ((value,) if isinstance(value, Message) else value)]
