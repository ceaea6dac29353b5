"""Tensors of Python integers with the element types that they have in a model, and one call of an operator on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import AttributeProto, TensorProto

__all__ = [
    "Array",
    "Call",
    "FloatError",
    "NotKnownError",
    "NotRunnableError",
    "Tensor",
    "dtype_of",
    "integers_of",
    "limits_of",
]

Array = np.ndarray[Any, Any]

_DTYPES = {
    getattr(TensorProto, name.upper()): name
    for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool")
}


class FloatError(Exception):
    """Something that is no integer, or that ONNX Runtime does not compute in integers."""


class NotKnownError(Exception):
    """An operator that the interpreter does not have: it has those that compute in integers."""


class NotRunnableError(Exception):
    """Tensors that do not fit together."""


@dataclass(frozen=True)
class Tensor:
    """A type of elements, and the elements: an array of Python integers, or as it is where the type is another."""

    dtype: str
    array: Array

    def __post_init__(self) -> None:
        if self.is_integer:  # numpy makes scalars of tensors without dimensions, and numbers of its own of Python's
            array = np.asarray(self.array)
            object.__setattr__(self, "array", array if array.dtype == object else array.astype(object))

    @property
    def is_integer(self) -> bool:
        return self.dtype in _DTYPES.values()


def integers_of(array: Array) -> Tensor:
    """An array of integers or truth values as a tensor."""
    dtype = str(array.dtype)
    return Tensor(dtype, array.astype(np.uint8) if dtype == "bool" else array)


def dtype_of(element_type: int) -> str:
    """The name of an integer type by its number in ONNX."""
    if element_type not in _DTYPES:
        raise FloatError(f"a result of element type {element_type}")
    return _DTYPES[element_type]


def limits_of(dtype: str) -> tuple[int, int]:
    """The least and the largest number of an integer type."""
    return (0, 1) if dtype == "bool" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))


class Call:
    """One call of an operator: its attributes, the version of the operator set, and what left its type in it."""

    def __init__(self, kind: str, attributes: Mapping[str, AttributeProto], version: int) -> None:
        self.kind, self.version, self.departures = kind, version, list[str]()
        self._attributes = attributes

    def integer(self, name: str, default: int) -> int:
        """An attribute; the default where it is missing or of another type."""
        entry = self._attributes.get(name)
        return int(entry.i) if entry is not None and entry.type == AttributeProto.INT else default

    def integers(self, name: str) -> list[int] | None:
        entry = self._attributes.get(name)
        return [int(item) for item in entry.ints] if entry is not None and entry.type == AttributeProto.INTS else None

    def text(self, name: str) -> str:
        """An attribute; nothing where it is missing or of another type."""
        entry = self._attributes.get(name)
        return entry.s.decode() if entry is not None and entry.type == AttributeProto.STRING else ""

    def tensor(self, name: str) -> TensorProto | None:
        entry = self._attributes.get(name)
        return entry.t if entry is not None and entry.type == AttributeProto.TENSOR else None

    def only(self) -> tuple[str, AttributeProto]:
        """The one attribute that there is, with its name."""
        (entry,) = self._attributes.items()
        return entry

    def numbers(self, name: str, tensor: Tensor | None, since: int) -> list[int] | None:
        """What is an input from some version on, and an attribute before."""
        if self.version < since:
            return self.integers(name)
        return None if tensor is None else [int(number) for number in tensor.array.reshape(-1)]

    def departed(self, message: str) -> None:
        self.departures.append(message)

    def check(self, result: Tensor) -> None:
        """Every element has to be a number of the type."""
        if not result.array.size or not result.is_integer:
            return
        least, most = int(result.array.min()), int(result.array.max())
        low, high = limits_of(result.dtype)
        if least < low or most > high:
            self.departed(f"{least}..{most} is not {result.dtype}")
