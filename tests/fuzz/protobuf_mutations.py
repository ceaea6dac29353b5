"""Changes of every field of a model, found from the descriptors of its messages: nothing of ONNX is listed here.

A path is the names of fields from the model on, such as graph.node.attribute.t.raw_data. Paths are drawn first, then
one of the messages that they lead to, so that rare fields are changed as often as common ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from fuzz import wire
from fuzz.messages import copied
from fuzz.model_mutations import NUMBERS, pick

Rng = np.random.Generator

_INTEGERS = (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64)
_INTEGERS += (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64)
_FLOATS = (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE)
#: Numbers that are small in most fields: element types, versions, axes, sizes.
_SMALL = range(-2, 28)
_TEXTS = ["", "x", "ivit", "ai.onnx", "com.microsoft", "axis", "value", "\x1b[1m", "é", "a/b", "2"]


@dataclass(frozen=True)
class Place:
    """A message of the model, and the way to it: number of the field and index, from one message to the next."""

    message: Message
    way: tuple[tuple[int, int], ...]


def places(model: onnx.ModelProto) -> dict[str, list[Place]]:
    """All messages by the path that leads to them."""
    found: dict[str, list[Place]] = {}

    def visit(message: Message, path: str, way: tuple[tuple[int, int], ...]) -> None:
        found.setdefault(path, []).append(Place(message, way))
        for field, value in message.ListFields():
            if field.message_type is None:
                continue
            for index, inner in enumerate(value if field.is_repeated else [value]):
                visit(inner, f"{path}{field.name}.", (*way, (field.number, index)))

    visit(model, "", ())
    return found


def mutate_field(model: onnx.ModelProto, rng: Rng) -> str:
    """Changes one field of one message in place. Returns its path and what was done."""
    everything = places(model)
    path, field = _some_field(everything, rng)
    message = pick(everything[path], rng).message
    edits = _edits(field)
    edit = edits[int(rng.integers(len(edits)))]
    edit(message, field, everything, rng)
    return f"{path}{field.name}: {edit.__name__.strip('_')}"


def mutate_wire(content: bytes, rng: Rng) -> tuple[bytes, str]:
    """Changes the bytes of one message of a model. Returns them, with the path and what was done."""
    everything = places(onnx.load_model_from_string(content))
    path, field = _some_field(everything, rng)
    place = pick(everything[path], rng)
    kind = int(rng.integers(4))
    if kind == 0:
        edit = wire.unknown_field([known.number for known in place.message.DESCRIPTOR.fields], rng)
        name = f"{path}: unknown field"
    elif kind == 1:
        fresh = type(place.message)()
        fresh.CopyFrom(place.message)
        _edits(field)[0](fresh, field, everything, rng)
        alone = type(place.message)()
        if field.is_repeated:
            getattr(alone, field.name).MergeFrom(getattr(fresh, field.name)[-1:])
        elif field.message_type is not None:
            getattr(alone, field.name).CopyFrom(getattr(fresh, field.name))
        else:
            setattr(alone, field.name, getattr(fresh, field.name))
        edit = wire.again(field.number, alone.SerializePartialToString(), rng)
        name = f"{path}{field.name}: again"
    elif kind == 2:
        edit, name = wire.other_form(field.number, rng), f"{path}{field.name}: other form"
    else:
        edit, name = wire.shuffled(rng), f"{path}: other order"
    return wire.edited(content, place.way, edit), name


def _some_field(everything: dict[str, list[Place]], rng: Rng) -> tuple[str, FieldDescriptor]:
    path = pick(sorted(everything), rng)
    return path, pick(everything[path][0].message.DESCRIPTOR.fields, rng)


Everything = dict[str, list[Place]]
FieldEdit = Callable[[Any, FieldDescriptor, Everything, Rng], None]


def _edits(field: FieldDescriptor) -> list[FieldEdit]:
    if field.message_type is None:
        return [_appended, _changed, _removed, _repeated, _swapped] if field.is_repeated else [_set, _set, _cleared]
    if field.is_repeated:
        return [_another, _removed, _repeated, _swapped, _empty]
    return [_exchanged, _cleared, _emptied]


def _value(field: FieldDescriptor, old: Any, everything: Everything, rng: Rng) -> Any:
    if field.enum_type is not None:
        return pick(field.enum_type.values, rng).number
    if field.cpp_type in _INTEGERS:
        near = [old + int(rng.integers(-2, 3))] if isinstance(old, int) else []
        limit = 31 if field.cpp_type in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_UINT32) else 63
        choices = [*near * 10, *_SMALL, *NUMBERS]
        least = 0 if field.cpp_type in (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64) else -(2**limit)
        return pick([number for number in choices if least <= number < 2**limit], rng)
    if field.cpp_type in _FLOATS:
        return float(pick([0, 1.5, -1, 1e30, np.inf, np.nan], rng))
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return bool(rng.random() < 0.5)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _bytes(old or b"", rng)
    return pick([*_texts(field, everything, rng), *_TEXTS, f"{old or ''}2"], rng)


def _bytes(old: bytes, rng: Rng) -> bytes:
    new = bytearray(old or b"\0\0\0\0")
    kind = int(rng.integers(4))
    if kind == 0:
        new[int(rng.integers(len(new)))] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        new = bytearray([int(pick([0, 1, 127, 128, 255], rng))]) * len(new)
    elif kind == 2:
        del new[int(rng.integers(len(new))) :]
    else:
        new += bytes(int(rng.integers(1, 9)))
    return bytes(new)


def _texts(field: FieldDescriptor, everything: Everything, rng: Rng) -> list[str]:
    """What stands in the same field of other messages, often enough to matter, and in fields of names."""
    found = []
    for _ in range(16):
        message = pick(everything[pick(sorted(everything), rng)], rng).message
        for other, value in message.ListFields():
            if other.type == FieldDescriptor.TYPE_STRING:
                found += [*value] if other.is_repeated else [value]
    same = [place.message for found_places in everything.values() for place in found_places[:40]]
    same = [message for message in same if message.DESCRIPTOR is field.containing_type]
    for message in same[:40]:
        value = getattr(message, field.name)
        found += [*value] if field.is_repeated else [value]
    return found


def _set(message: Any, field: FieldDescriptor, everything: Everything, rng: Rng) -> None:
    setattr(message, field.name, _value(field, getattr(message, field.name), everything, rng))


def _cleared(message: Any, field: FieldDescriptor, everything: Everything, rng: Rng) -> None:
    if not message.HasField(field.name) if field.has_presence else not getattr(message, field.name):
        raise IndexError
    message.ClearField(field.name)


def _emptied(message: Any, field: FieldDescriptor, everything: Everything, rng: Rng) -> None:
    message.ClearField(field.name)
    getattr(message, field.name).SetInParent()


def _exchanged(message: Any, field: FieldDescriptor, everything: Everything, rng: Rng) -> None:
    """Another message of the type, of wherever there is one."""
    new = copied(_same_type(field, everything, rng))  # which may be one that has this one inside
    getattr(message, field.name).CopyFrom(new)


def _another(message: Any, field: FieldDescriptor, everything: Everything, rng: Rng) -> None:
    listed = getattr(message, field.name)
    new = copied(_same_type(field, everything, rng))
    listed.insert(int(rng.integers(len(listed) + 1)), new)


def _same_type(field: FieldDescriptor, everything: Everything, rng: Rng) -> Message:
    paths = [path for path in sorted(everything) if everything[path][0].message.DESCRIPTOR is field.message_type]
    return pick(everything[pick(paths, rng)], rng).message  # type: ignore[no-any-return]


def _empty(message: Any, field: FieldDescriptor, everything: Everything, rng: Rng) -> None:
    getattr(message, field.name).add()


def _appended(message: Any, field: FieldDescriptor, everything: Everything, rng: Rng) -> None:
    listed = getattr(message, field.name)
    listed.insert(int(rng.integers(len(listed) + 1)), _value(field, listed[-1] if listed else None, everything, rng))


def _changed(message: Any, field: FieldDescriptor, everything: Everything, rng: Rng) -> None:
    listed = getattr(message, field.name)
    index = int(rng.integers(len(listed)))
    listed[index] = _value(field, listed[index], everything, rng)


def _removed(message: Any, field: FieldDescriptor, everything: Everything, rng: Rng) -> None:
    listed = getattr(message, field.name)
    del listed[int(rng.integers(len(listed)))]


def _repeated(message: Any, field: FieldDescriptor, everything: Everything, rng: Rng) -> None:
    listed = getattr(message, field.name)
    item = pick(listed, rng)
    listed.insert(int(rng.integers(len(listed) + 1)), copied(item) if isinstance(item, Message) else item)


def _swapped(message: Any, field: FieldDescriptor, everything: Everything, rng: Rng) -> None:
    listed = getattr(message, field.name)
    one, other = (int(index) for index in rng.choice(len(listed), 2, replace=False))
    items = [copied(item) if isinstance(item, Message) else item for item in listed]
    items[one], items[other] = items[other], items[one]
    message.ClearField(field.name)
    getattr(message, field.name).extend(items)
