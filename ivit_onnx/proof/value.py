"""What is known of one tensor of a graph: type, shape, range, and facts that relate it to other tensors.

Ranges are exact integers: int64 arrays where nothing can overflow, arrays of Python integers elsewhere, so that the
analysis itself never wraps around.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = [
    "MOST_VALUES",
    "Array",
    "Dim",
    "Value",
    "as_array",
    "exact",
    "greater",
    "largest_magnitude",
    "lesser",
    "limits",
    "shrink",
    "truncated_divide",
    "widened",
]

Array = np.ndarray[Any, Any]
#: A dimension: a number, the name of a free one, or None where nothing is known.
Dim = int | str | None

#: Values up to this many are followed one by one.
MOST_VALUES = 1 << 16
#: Ranges of more elements are merged over all axes but the last.
_MOST_RANGES = 1 << 18


def limits(dtype: str) -> tuple[int, int]:
    """The least and the largest number of a type."""
    if dtype == "bool":
        return 0, 1
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def largest_magnitude(array: Array) -> int:
    return max(abs(int(array.min())), abs(int(array.max()))) if array.size else 0


def exact(function: Callable[[Array, Array], Array], a: Array, b: Array, bound: int) -> Array:
    """function(a, b) on int64 if no result is above `bound` < 2^63 in absolute value, else on Python integers."""
    a, b = widened(a), widened(b)
    if bound < 2**63 and a.dtype != object and b.dtype != object:
        return np.asarray(function(a, b))
    wide = np.asarray(function(a.astype(object), b.astype(object)), dtype=object)
    return wide.astype(np.int64) if largest_magnitude(wide) < 2**63 else wide


def widened(array: Array) -> Array:
    """Numbers with which computing does not wrap around where it did not in int64."""
    array = np.asarray(array)
    if array.dtype in (np.int64, object):
        return array
    return array.astype(object if array.dtype == np.uint64 else np.int64)


def lesser(a: Array, b: Array) -> Array:
    """The lesser of each pair."""
    return exact(np.minimum, a, b, max(largest_magnitude(a), largest_magnitude(b)))


def greater(a: Array, b: Array) -> Array:
    """The greater of each pair."""
    return exact(np.maximum, a, b, max(largest_magnitude(a), largest_magnitude(b)))


def truncated_divide(a: Array, b: Array) -> Array:
    """a / b rounded towards zero, as ONNX divides integers; no b is 0."""
    # Of an array of one Python integer numpy makes the integer, and of that an array of whatever type holds it.
    kind = np.result_type(a, b)
    quotient = np.asarray(abs(a) // abs(b), dtype=kind)
    return np.where((a < 0) != (b < 0), np.asarray(-quotient, dtype=kind), quotient)


def shrink(array: Array) -> Array:
    """Fewer numbers where all are equal along an axis."""
    if array.size == 0:
        return np.zeros((), np.int64)
    if array.size == 1:
        return array.reshape(())
    if (array == array.flat[0]).all():
        return array.reshape(-1)[0].reshape(()) if array.dtype != object else np.array(array.flat[0], dtype=object)
    return array


@dataclass(eq=False)
class Value:
    """The range of one tensor: low <= x <= high, both broadcast to its shape.

    With `constant`, x is that array. With `dims`, it is a vector of dimensions, some of them free. With `root`, every
    element is a function of one number: where that is root[i], the element is table[i].

    Facts, each about every element of `self` and what stands beside it when both are broadcast:
    """

    dtype: str
    shape: tuple[Dim, ...] | None
    low: Array
    high: Array
    constant: Array | None = None
    dims: tuple[Dim, ...] | None = None
    root: Array | None = None
    table: Array | None = None
    #: self >= |v| for each of these.
    dominates: tuple[Value, ...] = ()
    #: self >= v^2.
    squares_of: Value | None = None
    #: self = v * v.
    square_of: Value | None = None
    #: self >= floor(sqrt(v)).
    root_of: Value | None = None
    #: self = v // r, and self = r + v // r with r >= 1 and v >= 0.
    quotient_of: tuple[Value, Value] | None = None
    newton_of: Value | None = None
    #: self = c // s with a number c >= 0 and s >= 1.
    reciprocal_of: tuple[int, Value] | None = None
    #: self is the sum of v over its last axis.
    total_of: Value | None = None
    #: self >= 0, and its sum over the last axis is at most this.
    row_sum: int | None = None
    #: self is the maximum of v over an axis.
    max_of: Value | None = None
    #: self = v mod d; self = v - v mod d.
    remainder_of: tuple[Value, Value] | None = None
    multiple_of: tuple[Value, Value] | None = None

    def __post_init__(self) -> None:
        self.low, self.high = widened(self.low), widened(self.high)

    @classmethod
    def of_type(cls, dtype: str, shape: tuple[Dim, ...] | None) -> Value:
        """Anything of that type."""
        low, high = limits(dtype)
        return cls(dtype, shape, as_array(low), as_array(high))

    @classmethod
    def unknown(cls, shape: tuple[Dim, ...] | None) -> Value:
        """Something that is no integer; its type is the empty name. Only the boundary of a model may read it."""
        return cls("", shape, as_array(0), as_array(0))

    @classmethod
    def between(cls, dtype: str, shape: tuple[Dim, ...] | None, low: Array, high: Array) -> Value:
        """Anything between two arrays that broadcast to the shape."""
        low, high = np.asarray(low), np.asarray(high)
        if max(low.size, high.size) > _MOST_RANGES:
            axes = tuple(range(max(low.ndim, high.ndim) - 1))
            low, high = np.broadcast_arrays(low, high)
            low, high = low.min(axis=axes), high.max(axis=axes)
        return cls(dtype, shape, shrink(low), shrink(high))

    @classmethod
    def of(cls, array: Array, dtype: str | None = None) -> Value:
        """A constant. Large ones keep their narrow type: weights."""
        array = np.asarray(array)
        dtype = dtype or str(array.dtype)
        if array.size > _MOST_RANGES and array.dtype != object and dtype != "uint64":
            return cls(dtype, array.shape, as_array(int(array.min())), as_array(int(array.max())), constant=array)
        wide = array if array.dtype == object else array.astype(object if dtype == "uint64" else np.int64)
        dims = tuple(int(d) for d in wide) if wide.ndim == 1 and wide.size <= 16 and dtype == "int64" else None
        return cls(dtype, array.shape, wide, wide, constant=wide, dims=dims)

    @classmethod
    def of_table(cls, dtype: str, shape: tuple[Dim, ...] | None, root: Array, table: Array) -> Value:
        """A function of one number."""
        table = widened(table)
        value = cls(dtype, shape, np.asarray(table.min()), np.asarray(table.max()))
        value.root, value.table = root, table
        return value

    @classmethod
    def of_dims(cls, dims: Sequence[Dim]) -> Value:
        """A vector of dimensions."""
        if all(isinstance(dim, int) for dim in dims):
            return cls.of(np.array(dims, np.int64))
        # A tensor without elements may have any other dimension.
        least = min([0, *(dim for dim in dims if isinstance(dim, int))])
        return cls("int64", (len(dims),), as_array(least), as_array(limits("int64")[1]), dims=tuple(dims))

    def moved(self, shape: tuple[Dim, ...] | None, low: Array, high: Array) -> Value:
        """Elements of this value at other places: facts that relate places end here, the possible values remain."""
        result = Value.between(self.dtype, shape, low, high)
        if self.table is not None:
            result.root = result.table = np.unique(self.table)
        return result

    def ends(self) -> tuple[Array, Array]:
        """One range for all elements."""
        return np.asarray(self.low.min() if self.low.size else 0), np.asarray(self.high.max() if self.high.size else 0)

    def full_rank(self, array: Array) -> Array:
        """An array that broadcasts to the shape, with an axis for each of the shape's."""
        assert self.shape is not None
        return array.reshape((1,) * (len(self.shape) - array.ndim) + array.shape)

    @property
    def least(self) -> int:
        return int(self.low.min()) if self.low.size else 0

    @property
    def largest(self) -> int:
        return int(self.high.max()) if self.high.size else 0

    @property
    def magnitude(self) -> int:
        return max(abs(self.least), abs(self.largest))

    @property
    def number(self) -> int | None:
        """The value of a constant with one element."""
        return int(self.constant.reshape(-1)[0]) if self.constant is not None and self.constant.size == 1 else None

    def rooted(self) -> bool:
        """Whether elements can be followed one by one; makes this value its own root if it has none."""
        if self.root is not None:
            return True
        if self.constant is not None or self.low.size != 1 or self.high.size != 1:
            return False
        self.root = self.table = self._all_between()
        return self.root is not None

    def possible(self) -> Array | None:
        """All numbers that an element can be, or more; None if they are too many."""
        if self.table is not None:
            return np.unique(self.table)
        return self._all_between()

    def _all_between(self) -> Array | None:
        if self.largest - self.least >= MOST_VALUES or self.largest >= 2**63 - 1:
            return None
        return np.arange(self.least, self.largest + 1, dtype=np.int64)

    def dominates_value(self, other: Value) -> bool:
        """Whether self >= |other| is known."""
        if any(value is other for value in self.dominates):
            return True
        return self.root_of is not None and self.root_of.squares_of is other


def as_array(value: int) -> Array:
    """One number."""
    return np.array(value, dtype=np.int64 if abs(value) < 2**63 or value == -(2**63) else object)
