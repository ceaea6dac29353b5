"""Which version of the domain `ivit` a model file is for, read without the onnx package and without its weights.

Of the protobuf message, the fields that lead to the versions are read and all others are skipped. ONNX Runtime tells
custom operators no version, so whoever makes a session with kernels asks here first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO

from ivit_onnx.errors import ModelError

__all__ = ["DOMAIN", "OPSET_VERSION", "check_opset_version"]

DOMAIN = "ivit"
#: The version of the domain whose operators this package has. It is raised when operators are added: what an operator
#: of a name means never changes. The native library is built with the number that stands here.
OPSET_VERSION = 2

#: Fields that are looked at, skipped ones included, and messages inside of each other. Large files have thousands.
MOST_FIELDS = 1 << 20
_DEEPEST = 64

#: The fields of onnx.proto that hold what is looked for, by message: their numbers, and the message that each is.
_IMPORTS = {"model": {8: "import", 25: "function"}, "function": {9: "import"}}
_NODES = {
    "model": {7: "graph"},
    "graph": {1: "node"},
    "node": {5: "attribute"},
    "attribute": {6: "graph", 11: "graph"},
}
_IMPORT_DOMAIN, _IMPORT_VERSION, _NODE_DOMAIN = 1, 2, 7

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}

#: A number, or where the bytes of a field are: their first position and the position behind them.
_Value = int | tuple[int, int]


def check_opset_version(model: str | os.PathLike[str] | bytes, name: str) -> None:
    """Raise ModelError unless the model, a file or its bytes, is for a version of the domain that this package has.

    Models without operators of the domain are for every version. `name` is the model's in messages.
    """
    try:
        with BytesIO(model) if isinstance(model, bytes) else open(model, "rb") as stream:  # noqa: PTH123
            message = _Message(stream)
            versions = set(message.versions())
            bare = not versions and message.has_nodes()
    except _MalformedError as error:
        raise ModelError(f"{name} cannot be loaded: expected an ONNX model, found {error}") from None
    except OSError as error:
        raise ModelError(f"{name} cannot be loaded: {error.strerror}") from None
    if bare:
        raise ModelError(
            f"{name} is not valid: it has operators of the domain {DOMAIN} and does not say of which version; export "
            "the model again"
        )
    for version in sorted(versions, reverse=True):
        if version > OPSET_VERSION:
            raise ModelError(
                f"{name} is for version {version} of the operators of the domain {DOMAIN}, expected {OPSET_VERSION} at "
                "most: install a newer ivit-onnx"
            )
        if version < 1:
            raise ModelError(
                f"{name} is not valid: expected version 1 of the domain {DOMAIN} or a later one, found {version}; "
                "export the model again"
            )


class _MalformedError(Exception):
    """Bytes that are no protobuf message of a model."""


class _Message:
    """A serialised ModelProto, of which parts are read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._end = stream.seek(0, os.SEEK_END)
        self._left = MOST_FIELDS

    def versions(self) -> Iterator[int]:
        """The versions of the domain that the model and its functions import."""
        for start, end in self._find("model", 0, self._end, _IMPORTS, "import"):
            domain, version = "", 0
            for number, value in self._fields(start, end):
                if number == _IMPORT_DOMAIN and isinstance(value, tuple):
                    domain = self._text(value)
                elif number == _IMPORT_VERSION and isinstance(value, int):
                    version = value - (1 << 64) if value >> 63 else value
            if domain == DOMAIN:
                yield version

    def has_nodes(self) -> bool:
        """Whether a node of the graph, or of one inside of it, is of the domain."""
        return any(
            number == _NODE_DOMAIN and isinstance(value, tuple) and self._text(value) == DOMAIN
            for start, end in self._find("model", 0, self._end, _NODES, "node")
            for number, value in self._fields(start, end)
        )

    def _find(
        self, kind: str, start: int, end: int, within: dict[str, dict[int, str]], wanted: str, depth: int = 0
    ) -> Iterator[tuple[int, int]]:
        if depth > _DEEPEST:
            raise _MalformedError(f"graphs inside of each other, more than {_DEEPEST} deep")
        inner = within.get(kind, {})
        for number, value in self._fields(start, end):
            if number in inner and isinstance(value, tuple):
                if inner[number] == wanted:
                    yield value
                if inner[number] in within:
                    yield from self._find(inner[number], *value, within, wanted, depth + 1)

    def _fields(self, start: int, end: int) -> Iterator[tuple[int, _Value]]:
        """The fields of a message, by number."""
        at = start
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise _MalformedError(f"more than {MOST_FIELDS} fields")
            tag, at = self._varint(at)
            kind, value = tag & 7, 0
            if kind == _VARINT:
                value, at = self._varint(at)
                yield tag >> 3, value
                continue
            if kind == _BYTES:
                size, at = self._varint(at)
            elif kind in _FIXED:
                size = _FIXED[kind]
            else:
                raise _MalformedError(f"a field of wire type {kind}")
            if at + size > end:
                raise _MalformedError("a field that ends behind its message")
            yield tag >> 3, (at, at + size)
            at += size

    def _varint(self, at: int) -> tuple[int, int]:
        """A number of up to ten bytes, 64 bits of it, and the position behind it."""
        self._stream.seek(at)
        value = 0
        for index, byte in enumerate(self._stream.read(10)):
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                return value & ((1 << 64) - 1), at + index + 1
        raise _MalformedError("a number without an end")

    def _text(self, place: tuple[int, int]) -> str:
        """Text of up to as many bytes as matter here."""
        start, end = place
        self._stream.seek(start)
        return self._stream.read(min(end - start, len(DOMAIN) + 1)).decode("utf-8", "replace")
