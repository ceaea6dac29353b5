"""Ranges of operators of ONNX that move, choose and join elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ivit_onnx.proof.elementwise import broadcast
from ivit_onnx.proof.value import Array, Dim, Value, greater, lesser

if TYPE_CHECKING:
    from ivit_onnx.proof.node import Node

__all__ = ["RULES"]


def transpose(node: Node, x: Value) -> Value:
    if x.shape is None:
        return x.moved(None, *x.ends())
    order = node.axes(node.attribute("perm", list(reversed(range(len(x.shape))))), len(x.shape))
    if len(order) < len(x.shape):  # ONNX Runtime may leave such a node out
        return node.stop(f"expected perm with {len(x.shape)} axes, found {len(order)}")
    result = tuple(x.shape[axis] for axis in order)
    if x.constant is not None:
        return Value.of(x.constant.transpose(order), x.dtype)
    ends = [end if end.size == 1 else x.full_rank(end).transpose(order) for end in (x.low, x.high)]
    return x.moved(result, *ends)


def gather(node: Node, data: Value, index: Value) -> Value:
    if data.shape is None:
        return node.stop("the shape of the data is not known")
    (axis,) = node.axes([node.attribute("axis", 0)], len(data.shape))
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
        full = end if end.size == 1 else data.full_rank(end)
        if end.size > 1:
            if index.constant is not None and full.shape[axis] == size:
                full = np.take(full, index.constant.astype(np.int64), axis=axis)
            else:
                full = np.asarray(merge(full, axis=axis, keepdims=True))
                count = len(index.shape or ())
                full = full.reshape(full.shape[:axis] + (1,) * count + full.shape[axis + 1 :])
        ends.append(full)
    return data.moved(shape, *ends)


def _gathered(data: Value, index: Value, axis: int) -> tuple[Dim, ...] | None:
    if data.shape is None or index.shape is None:
        return None
    return (*data.shape[:axis], *index.shape, *data.shape[axis + 1 :])


def concat(node: Node, *inputs: Value) -> Value:
    axis = node.attribute("axis", 0)
    if all(value.dims is not None for value in inputs) and all(len(value.shape or ()) == 1 for value in inputs):
        return Value.of_dims([dim for value in inputs for dim in value.dims or ()])
    if any(value.shape is None for value in inputs):
        return node.stop("the shape of an input is not known")
    shapes = [value.shape for value in inputs if value.shape is not None]
    rank = len(shapes[0])
    (axis,) = node.axes([axis], rank)
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
            full = value.full_rank(end)
            ends.append(np.asarray(merge(full, axis=axis, keepdims=True)))
    low, high = lows[0], highs[0]
    for one, other in zip(lows[1:], highs[1:], strict=True):
        low, high = lesser(low, one), greater(high, other)
    return Value.between(inputs[0].dtype, shape, low, high)


def expand(node: Node, x: Value, target: Value) -> Value:
    if target.dims is None or x.shape is None:
        return node.stop("the shape is not known")
    if any(isinstance(dim, int) and dim < 0 for dim in target.dims):
        return node.stop(f"expected dimensions of 0 or more, found {list(target.dims)}")
    result = broadcast(x.shape, target.dims)
    return x.moved(result, x.low, x.high)


def slice_(node: Node, x: Value, starts: Value, ends: Value, *rest: Value) -> Value:
    constants = [value.constant for value in (starts, ends, *rest)]
    if x.shape is None or any(constant is None for constant in constants):
        return node.stop("expected constant bounds and a known rank")
    bounds = [[int(i) for i in array.reshape(-1)] for array in constants if array is not None]
    axes = node.axes(bounds[2] if len(bounds) > 2 else range(len(bounds[0])), len(x.shape))
    steps = bounds[3] if len(bounds) > 3 else [1] * len(axes)
    shape = list(x.shape)
    for start, end, axis, step in zip(bounds[0], bounds[1], axes, steps, strict=True):
        dim = shape[axis]
        shape[axis] = len(range(*slice(start, end, step).indices(dim))) if isinstance(dim, int) else None
    return x.moved(tuple(shape), *_uniform_axes(x, axes))


def split(node: Node, x: Value, *sizes: Value) -> tuple[Value, ...]:
    if x.shape is None or any(value.constant is None for value in sizes):
        return node.stop("expected constant sizes and a known rank")
    (axis,) = node.axes([node.attribute("axis", 0)], len(x.shape))
    parts: list[Dim]
    if sizes and sizes[0].constant is not None:
        parts = [int(size) for size in sizes[0].constant.reshape(-1)]
    else:
        whole, count = x.shape[axis], node.outputs
        if not isinstance(whole, int) or whole % count:
            return node.stop(f"expected a dimension of {count} equal parts, found {whole}")
        parts = [whole // count] * count
    if len(parts) != node.outputs:
        return node.stop(f"expected {node.outputs} sizes, found {len(parts)}")
    ends = _uniform_axes(x, [axis])
    return tuple(x.moved((*x.shape[:axis], part, *x.shape[axis + 1 :]), *ends) for part in parts)


def _uniform_axes(x: Value, axes: list[int]) -> tuple[Array, Array]:
    """Ranges merged along some axes."""
    assert x.shape is not None
    ends = []
    for end, merge in ((x.low, np.min), (x.high, np.max)):
        ends.append(end if end.size == 1 else np.asarray(merge(x.full_rank(end), axis=tuple(axes), keepdims=True)))
    return ends[0], ends[1]


RULES: dict[str, Callable[..., Value | tuple[Value, ...]]] = {
    "Transpose": transpose,
    "Gather": gather,
    "Concat": concat,
    "Expand": expand,
    "Slice": slice_,
    "Split": split,
}
