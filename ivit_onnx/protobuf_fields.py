"""How much a protobuf is made of, counted before it is parsed: two bytes can become an object of a hundred.

The encoding: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor

__all__ = ["count_fields"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def count_fields(data: bytes, kind: Descriptor, most: int) -> int:
    """Fields of a message of that kind and of all messages in it; `most` + 1 where there are more.

    What is damaged ends the count: the parser refuses it.
    """
    inner: dict[Descriptor, dict[int, Descriptor]] = {}
    count, parts = 0, [(0, len(data), kind)]
    try:
        while parts:
            at, end, kind = parts.pop()
            if kind not in inner:
                inner[kind] = _messages(kind)
            messages = inner[kind]
            while at < end:
                count += 1
                if count > most:
                    return count
                key, at = _varint(data, at)
                wire = key & 7
                if wire == _BYTES:
                    length, at = _varint(data, at)
                    message = messages.get(key >> 3)
                    if message is not None:
                        parts.append((at, min(at + length, end), message))
                    at += length
                elif wire == _VARINT:
                    _, at = _varint(data, at)
                elif wire == _FIXED64:
                    at += 8
                elif wire == _FIXED32:
                    at += 4
    except IndexError:
        pass
    return count


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins at `at`, and where the next thing begins."""
    byte = data[at]
    if byte < 128:
        return byte, at + 1
    value, shift = byte & 127, 7
    while byte >= 128:
        at += 1
        byte = data[at]
        value |= (byte & 127) << shift
        shift += 7
        if shift > 70:
            raise IndexError("a number of more than ten bytes")
    return value, at + 1


def _messages(kind: Any) -> dict[int, Descriptor]:
    return {field.number: field.message_type for field in kind.fields if field.message_type is not None}
