"""Ranges of operators of ONNX that keep the order of elements, and shapes where they are computed in the graph."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import numpy_helper

from ivit_onnx.proof.value import Array, Dim, Value, limits

if TYPE_CHECKING:
    from ivit_onnx.proof.node import Node

__all__ = ["RULES"]

#: Of a constant that a few bytes of the model stand for.
MOST_NUMBERS = 1 << 24
#: Integers up to this are exact in double precision.
_EXACT = 1 << 53


def constant(node: Node) -> Value:
    for name in ("value", "value_int", "value_ints"):
        found = node.find(name)
        if found is None:
            continue
        if isinstance(found, int):
            return Value.of(np.asarray(found, np.int64))
        if isinstance(found, (list, tuple)):
            return Value.of(np.asarray(found, np.int64))
        array = numpy_helper.to_array(found)
        if array.dtype.kind not in "iub":
            node.stop(f"a constant of type {array.dtype} is no integer")
        return Value.of(array)
    return node.stop("expected a Constant with an integer value")


def shape(node: Node, x: Value) -> Value:
    if x.shape is None:
        return Value.between("int64", (None,), np.asarray(0), np.asarray(2**31 - 1))
    start, end = node.attribute("start", 0), node.attribute("end", len(x.shape))
    return Value.of_dims(x.shape[slice(start, end)])


def size(node: Node, x: Value) -> Value:
    if x.shape is None or not all(isinstance(dim, int) for dim in x.shape):
        return node.stop("the number of elements is not known")
    return Value.of(np.asarray(math.prod(dim for dim in x.shape if isinstance(dim, int)), np.int64))


def range_(node: Node, start: Value, limit: Value, delta: Value) -> Value:
    numbers = (start.number, limit.number, delta.number)
    if any(number is None for number in numbers):
        return node.stop("expected constant bounds")
    first, last, step = (int(number) for number in numbers if number is not None)
    if step == 0:
        return node.stop("the step is 0")
    if (last - first) // step > MOST_NUMBERS:
        return node.stop(f"expected at most {MOST_NUMBERS} numbers")
    most = min(_EXACT, limits(start.dtype)[1])
    if abs(last - first) > most or abs(step) > most:
        return node.stop(
            f"expected at most {most} from {first} to {last}, which kernels subtract and divide as a double"
        )
    return Value.of(np.arange(first, last, step, dtype=np.int64), start.dtype)


def identity(node: Node, x: Value) -> Value:
    return x


def reshape(node: Node, x: Value, target: Value) -> Value:
    if target.dims is None:
        return node.stop("the shape is not known")
    dims = list(target.dims)
    if any(isinstance(dim, int) and dim < -1 for dim in dims) or dims.count(-1) > 1:
        return node.stop(f"expected dimensions of 0 or more and at most one of -1, found {dims}")
    if not node.attribute("allowzero", 0):
        # A dimension of 0 is that of the input, and one that may be 0 is either that or 0.
        own = [None if x.shape is None or axis >= len(x.shape) else x.shape[axis] for axis in range(len(dims))]
        if any(dim is None or (isinstance(dim, str) and dim != own[axis]) for axis, dim in enumerate(dims)):
            dims = [None] * len(dims)
        dims = [own[axis] if dim == 0 else dim for axis, dim in enumerate(dims)]
    if -1 in dims:
        at = dims.index(-1)
        dims[at] = None if x.shape is None else _missing(x.shape, [*dims[:at], *dims[at + 1 :]])
    result = tuple(dims)
    if x.constant is not None and all(isinstance(dim, int) for dim in result):
        return Value.of(x.constant.reshape([int(dim) for dim in result if isinstance(dim, int)]), x.dtype)
    return x.moved(result, *_reshaped(x, result))


def _missing(source: Sequence[Dim], rest: Sequence[Dim]) -> Dim:
    """The dimension that makes `rest` as many elements as `source`; None where that is not known."""
    if None in source or None in rest:
        return None
    free = Counter(dim for dim in source if isinstance(dim, str))
    free.subtract(dim for dim in rest if isinstance(dim, str))
    left = [dim for dim, count in free.items() if count]
    size, divisor = (math.prod(dim for dim in dims if isinstance(dim, int)) for dims in (source, rest))
    if not left:
        return size // divisor if divisor else 0
    return left[0] if len(left) == 1 and free[left[0]] == 1 and size == divisor != 0 else None


def flatten(node: Node, x: Value) -> Value:
    if x.shape is None:
        return node.stop("the shape is not known")
    axis = node.attribute("axis", 1)
    parts = (x.shape[:axis], x.shape[axis:])
    dims: list[Dim] = []
    for part in parts:
        free = [dim for dim in part if not isinstance(dim, int)]
        size = math.prod(dim for dim in part if isinstance(dim, int))
        dims.append(size if not free else free[0] if len(free) == 1 and size == 1 else None)
    return x.moved(tuple(dims), *_reshaped(x, tuple(dims)))


def _reshaped(x: Value, dims: tuple[Dim, ...]) -> tuple[Array, Array]:
    """Ranges that differ along trailing axes keep their places if the same number of elements stands there."""
    return _reshaped_end(x, x.low, dims, np.min), _reshaped_end(x, x.high, dims, np.max)


def _reshaped_end(x: Value, end: Array, dims: tuple[Dim, ...], merge: Callable[[Array], Any]) -> Array:
    if end.size == 1:
        return end
    trailing: list[int] = []
    for dim in reversed(dims):
        if math.prod(trailing) == end.size or not isinstance(dim, int):
            break
        trailing.insert(0, dim)
    whole = x.shape is not None and tuple(x.shape[len(x.shape) - end.ndim :]) == end.shape
    if whole and math.prod(trailing) == end.size:
        return end.reshape(trailing)
    return np.asarray(merge(end))


def squeeze(node: Node, x: Value, *axes: Value) -> Value:
    if x.shape is None or not axes or axes[0].constant is None:
        return node.stop("expected constant axes and a known rank")
    chosen = node.axes(axes[0].constant.reshape(-1), len(x.shape))
    return x.moved(tuple(dim for axis, dim in enumerate(x.shape) if axis not in chosen), *x.ends())


def unsqueeze(node: Node, x: Value, axes: Value) -> Value:
    if x.shape is None or axes.constant is None:
        return node.stop("expected constant axes and a known rank")
    rank = len(x.shape) + axes.constant.size
    chosen = node.axes(axes.constant.reshape(-1), rank)
    rest = iter(x.shape)
    return x.moved(tuple(1 if axis in chosen else next(rest) for axis in range(rank)), *x.ends())


def quantize(node: Node, *inputs: Value) -> Value:
    """The boundary of a model with a float input: saturates to its type, whatever comes in."""
    if len(inputs) != 3 or not inputs[2].dtype:
        return node.stop("expected an integer zero point, which gives the type of the result")
    return Value.of_type(inputs[2].dtype, inputs[0].shape)


RULES: dict[str, Callable[..., Value]] = {
    "Constant": constant,
    "Shape": shape,
    "Size": size,
    "Range": range_,
    "Identity": identity,
    "Reshape": reshape,
    "Flatten": flatten,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "QuantizeLinear": quantize,
}
