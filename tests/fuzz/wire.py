"""Protocol buffers as bytes: what parsers accept and no library writes, such as a field twice or in a wrong form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Rng = np.random.Generator
Edit = Callable[[list[tuple[int, bytes]]], list[tuple[int, bytes]]]

_VARINT, _FIXED64, _BYTES, _GROUP, _END, _FIXED32 = 0, 1, 2, 3, 4, 5


def varint(number: int, length: int = 1) -> bytes:
    """A number, in `length` bytes or more: longer than needed is allowed."""
    parts = []
    number &= 2**64 - 1
    while number or len(parts) < length:
        parts.append(number & 127)
        number >>= 7
    return bytes([part | 128 for part in parts[:-1]] + parts[-1:])


def read_varint(content: bytes, start: int) -> tuple[int, int]:
    """A number and where it ends."""
    number = shift = 0
    while True:
        byte = content[start]
        start += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return number, start


def fields(content: bytes) -> list[tuple[int, bytes]]:
    """The fields of a message in their order: number, and the bytes with the tag. No groups, which ONNX has not."""
    found = []
    start = 0
    while start < len(content):
        tag, end = read_varint(content, start)
        kind = tag & 7
        if kind == _VARINT:
            _, end = read_varint(content, end)
        elif kind == _BYTES:
            size, end = read_varint(content, end)
            end += size
        else:
            end += {_FIXED64: 8, _FIXED32: 4}[kind]
        found.append((tag >> 3, content[start:end]))
        start = end
    return found


def edited(content: bytes, path: Sequence[tuple[int, int]], edit: Edit) -> bytes:
    """The message with `edit` done to the fields of the message at `path`: numbers of fields, and which of these."""
    parts = fields(content)
    if not path:
        return b"".join(part for _, part in edit(parts))
    (number, index), *rest = path
    position = [place for place, (found, _) in enumerate(parts) if found == number][index]
    whole = parts[position][1]
    _, start = read_varint(whole, 0)
    _, start = read_varint(whole, start)
    inner = edited(whole[start:], rest, edit)
    parts[position] = (number, tagged(number, _BYTES) + varint(len(inner)) + inner)
    return b"".join(part for _, part in parts)


def tagged(number: int, kind: int) -> bytes:
    return varint(number << 3 | kind)


def unknown_field(known: Sequence[int], rng: Rng) -> Edit:
    """A field that ONNX does not have, or not yet, of any form."""
    number = int(rng.choice([n for n in (7, 13, 16, 25, 40, 900, 19999, 2**20) if n not in known]))
    form = int(rng.choice([_VARINT, _FIXED64, _BYTES, _GROUP, _FIXED32]))
    content = {
        _VARINT: varint(int(rng.integers(2**31))),
        _FIXED64: bytes(8),
        _BYTES: varint(3) + b"abc",
        _GROUP: tagged(1, _VARINT) + varint(1) + tagged(number, _END),
        _FIXED32: bytes(4),
    }[form]
    part = (number, tagged(number, form) + content)
    return lambda parts: [*parts, part] if rng.random() < 0.5 else [part, *parts]


def again(number: int, encoded: bytes, rng: Rng) -> Edit:
    """A field once more: of a single one the last counts, messages are merged."""
    return lambda parts: [*parts, (number, encoded)] if rng.random() < 0.6 else [(number, encoded), *parts]


def other_form(number: int, rng: Rng) -> Edit:
    """A field in another form: numbers longer than needed or with bits above their type, or of another wire type."""

    def edit(parts: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        result = list(parts)
        for place, (found, whole) in enumerate(parts):
            if found != number:
                continue
            tag, start = read_varint(whole, 0)
            if tag & 7 == _VARINT:
                value, _ = read_varint(whole, start)
                forms: list[Any] = [varint(value, 9), varint(value | int(rng.integers(1, 2**20)) << 32)]
                result[place] = (found, tagged(number, _VARINT) + forms[int(rng.integers(2))])
            elif rng.random() < 0.5:
                result[place] = (found, tagged(number, _VARINT) + varint(int(rng.integers(100))))
            else:
                result[place] = (found, varint(tag, 4) + whole[start:])
        return result

    return edit


def shuffled(rng: Rng) -> Edit:
    """Fields in another order; those of one number keep theirs."""

    def edit(parts: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        numbers = [number for number, _ in parts]
        rng.shuffle(numbers)
        rest = {number: iter([part for found, part in parts if found == number]) for number in numbers}
        return [(number, next(rest[number])) for number in numbers]

    return edit
