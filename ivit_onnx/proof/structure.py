"""Ranges of operators of ONNX that move elements, and shapes where they are computed in the graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from onnx import numpy_helper

from ivit_onnx.proof.elementwise import broadcast
from ivit_onnx.proof.value import Array, Dim, Value, greater, lesser

if TYPE_CHECKING:
    from ivit_onnx.proof.walk import Node

__all__ = ["RULES"]


def _moved(source: Value, shape: tuple[Dim, ...] | None, low: Array, high: Array) -> Value:
    """Elements of `source` at other places: facts that relate places end here, the possible values remain."""
    result = Value.between(source.dtype, shape, low, high)
    if source.table is not None:
        result.root = result.table = np.unique(source.table)
    return result


def _uniform(x: Value) -> tuple[Array, Array]:
    return np.asarray(x.low.min() if x.low.size else 0), np.asarray(x.high.max() if x.high.size else 0)


def _full_rank(x: Value, array: Array) -> Array:
    assert x.shape is not None
    return array.reshape((1,) * (len(x.shape) - array.ndim) + array.shape)


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
    return _of_dims(x.shape[slice(start, end)])


def _of_dims(dims: Sequence[Dim]) -> Value:
    if all(isinstance(dim, int) for dim in dims):
        return Value.of(np.array(dims, np.int64))
    known = [dim for dim in dims if isinstance(dim, int)]
    low, high = min([*known, 0]), max([*known, 2**31 - 1])
    return Value("int64", (len(dims),), np.asarray(low), np.asarray(high), dims=tuple(dims))


def reshape(node: Node, x: Value, target: Value) -> Value:
    if target.dims is None:
        return node.stop("the shape is not known")
    dims = list(target.dims)
    if x.shape is not None:
        dims = [x.shape[axis] if dim == 0 and axis < len(x.shape) else dim for axis, dim in enumerate(dims)]
    if -1 in dims:
        rest = [dim for dim in dims if dim != -1]
        source = x.shape
        missing: Dim = None
        if source is not None:
            free = [dim for dim in source if not isinstance(dim, int)]
            if sorted(map(str, free)) == sorted(str(dim) for dim in rest if not isinstance(dim, int)):
                size = math.prod(dim for dim in source if isinstance(dim, int))
                divisor = math.prod(dim for dim in rest if isinstance(dim, int))
                missing = size // divisor if divisor else 0
        dims[dims.index(-1)] = missing
    result = tuple(dims)
    if x.constant is not None and all(isinstance(dim, int) for dim in result):
        return Value.of(x.constant.reshape([int(dim) for dim in result if isinstance(dim, int)]), x.dtype)
    return _moved(x, result, *(_reshaped(x, end, result) for end in (x.low, x.high)))


def _reshaped(x: Value, end: Array, dims: tuple[Dim, ...]) -> Array:
    """Ranges that differ along trailing axes keep their places if the same number of elements stands there."""
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
    return np.asarray(end.min() if end is x.low else end.max())


def transpose(node: Node, x: Value) -> Value:
    if x.shape is None:
        return _moved(x, None, *_uniform(x))
    order = list(node.attribute("perm", list(reversed(range(len(x.shape))))))
    result = tuple(x.shape[axis] for axis in order)
    if x.constant is not None:
        return Value.of(x.constant.transpose(order), x.dtype)
    ends = [end if end.size == 1 else _full_rank(x, end).transpose(order) for end in (x.low, x.high)]
    return _moved(x, result, *ends)


def gather(node: Node, data: Value, index: Value) -> Value:
    if data.shape is None:
        return node.stop("the shape of the data is not known")
    axis = node.attribute("axis", 0) % len(data.shape)
    size = data.shape[axis]
    if not isinstance(size, int):
        return node.stop("the number of elements to choose from is not known")
    node.count()
    if index.least < 0 or index.largest >= size:
        node.fail(f"the index is in {index.least}..{index.largest}, expected 0..{size - 1}")
        return Value.of_type(data.dtype, _gathered(data, index, axis))
    shape = _gathered(data, index, axis)
    if data.constant is not None and index.constant is not None:
        return Value.of(np.take(data.constant, index.constant.astype(np.int64), axis=axis), data.dtype)
    if data.constant is not None and data.constant.ndim == 1:
        # A table: the elements between the least and the largest index; one by one where the index is followed so.
        if index.rooted() and index.root is not None and index.table is not None:
            return Value.of_table(data.dtype, shape, index.root, data.constant[index.table.astype(np.int64)])
        if index.low.size == 1 and index.high.size == 1:
            chosen = data.constant[index.least : index.largest + 1]
            return Value.between(data.dtype, shape, np.asarray(chosen.min()), np.asarray(chosen.max()))
    ends = []
    for end, merge in ((data.low, np.min), (data.high, np.max)):
        full = end if end.size == 1 else _full_rank(data, end)
        if end.size > 1:
            if index.constant is not None and full.shape[axis] == size:
                full = np.take(full, index.constant.astype(np.int64), axis=axis)
            else:
                full = np.asarray(merge(full, axis=axis, keepdims=True))
                count = len(index.shape or ())
                full = full.reshape(full.shape[:axis] + (1,) * count + full.shape[axis + 1 :])
        ends.append(full)
    return _moved(data, shape, *ends)


def _gathered(data: Value, index: Value, axis: int) -> tuple[Dim, ...] | None:
    if data.shape is None or index.shape is None:
        return None
    return (*data.shape[:axis], *index.shape, *data.shape[axis + 1 :])


def concat(node: Node, *inputs: Value) -> Value:
    axis = node.attribute("axis", 0)
    if all(value.dims is not None for value in inputs) and all(len(value.shape or ()) == 1 for value in inputs):
        return _of_dims([dim for value in inputs for dim in value.dims or ()])
    if any(value.shape is None for value in inputs):
        return node.stop("the shape of an input is not known")
    shapes = [value.shape for value in inputs if value.shape is not None]
    rank = len(shapes[0])
    axis %= rank
    dims = [of[axis] for of in shapes]
    total: Dim = sum(dim for dim in dims if isinstance(dim, int)) if all(isinstance(d, int) for d in dims) else None
    others = broadcast(*((*of[:axis], 1, *of[axis + 1 :]) for of in shapes))
    assert others is not None
    shape = (*others[:axis], total, *others[axis + 1 :])
    if all(value.constant is not None for value in inputs):
        return Value.of(np.concatenate([v.constant for v in inputs if v.constant is not None], axis), inputs[0].dtype)
    some = [value for value, dim in zip(inputs, dims, strict=True) if dim != 0]
    lows: list[Array] = []
    highs: list[Array] = []
    for value in some:
        for ends, end, merge in ((lows, value.low, np.min), (highs, value.high, np.max)):
            full = _full_rank(value, end)
            ends.append(np.asarray(merge(full, axis=axis, keepdims=True)))
    low, high = lows[0], highs[0]
    for one, other in zip(lows[1:], highs[1:], strict=True):
        low, high = lesser(low, one), greater(high, other)
    return Value.between(inputs[0].dtype, shape, low, high)


def expand(node: Node, x: Value, target: Value) -> Value:
    if target.dims is None or x.shape is None:
        return node.stop("the shape is not known")
    result = broadcast(x.shape, target.dims)
    return _moved(x, result, x.low, x.high)


def slice_(node: Node, x: Value, starts: Value, ends: Value, *rest: Value) -> Value:
    constants = [value.constant for value in (starts, ends, *rest)]
    if x.shape is None or any(constant is None for constant in constants):
        return node.stop("expected constant bounds and a known rank")
    bounds = [[int(i) for i in array.reshape(-1)] for array in constants if array is not None]
    axes = bounds[2] if len(bounds) > 2 else list(range(len(bounds[0])))
    steps = bounds[3] if len(bounds) > 3 else [1] * len(axes)
    shape = list(x.shape)
    for start, end, axis, step in zip(bounds[0], bounds[1], axes, steps, strict=True):
        dim = shape[axis]
        shape[axis] = len(range(*slice(start, end, step).indices(dim))) if isinstance(dim, int) else None
    return _moved(x, tuple(shape), *_uniform_axes(x, axes))


def _uniform_axes(x: Value, axes: list[int]) -> tuple[Array, Array]:
    """Ranges merged along some axes."""
    assert x.shape is not None
    chosen = tuple(axis % len(x.shape) for axis in axes)
    ends = []
    for end, merge in ((x.low, np.min), (x.high, np.max)):
        ends.append(end if end.size == 1 else np.asarray(merge(_full_rank(x, end), axis=chosen, keepdims=True)))
    return ends[0], ends[1]


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
    return _moved(x, tuple(dims), *(_reshaped(x, end, tuple(dims)) for end in (x.low, x.high)))


def identity(node: Node, x: Value) -> Value:
    return x


def range_(node: Node, start: Value, limit: Value, delta: Value) -> Value:
    numbers = (start.number, limit.number, delta.number)
    if any(number is None for number in numbers):
        return node.stop("expected constant bounds")
    first, last, step = (int(number) for number in numbers if number is not None)
    if step == 0:
        return node.stop("the step is 0")
    return Value.of(np.arange(first, last, step, dtype=np.int64))


def squeeze(node: Node, x: Value, *axes: Value) -> Value:
    if x.shape is None or not axes or axes[0].constant is None:
        return node.stop("expected constant axes and a known rank")
    chosen = {int(axis) % len(x.shape) for axis in axes[0].constant.reshape(-1)}
    return _moved(x, tuple(dim for axis, dim in enumerate(x.shape) if axis not in chosen), *_uniform(x))


def unsqueeze(node: Node, x: Value, axes: Value) -> Value:
    if x.shape is None or axes.constant is None:
        return node.stop("expected constant axes and a known rank")
    rank = len(x.shape) + axes.constant.size
    chosen = {int(axis) % rank for axis in axes.constant.reshape(-1)}
    rest = iter(x.shape)
    return _moved(x, tuple(1 if axis in chosen else next(rest) for axis in range(rank)), *_uniform(x))


def quantize(node: Node, *inputs: Value) -> Value:
    """The boundary of a model with a float input: saturates to its type, whatever comes in."""
    if len(inputs) != 3 or not inputs[2].dtype:
        return node.stop("expected an integer zero point, which gives the type of the result")
    return Value.of_type(inputs[2].dtype, inputs[0].shape)


RULES: dict[str, Callable[..., Value]] = {
    "Constant": constant,
    "Shape": shape,
    "Reshape": reshape,
    "Transpose": transpose,
    "Gather": gather,
    "Concat": concat,
    "Expand": expand,
    "Slice": slice_,
    "Flatten": flatten,
    "Identity": identity,
    "Range": range_,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "QuantizeLinear": quantize,
}
