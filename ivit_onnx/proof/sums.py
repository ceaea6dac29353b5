"""Ranges of operators of ONNX that add elements up: matrix products, sums, maxima."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ivit_onnx.proof.elementwise import broadcast
from ivit_onnx.proof.value import Array, Value, as_array, exact, greater, largest_magnitude, lesser, limits

if TYPE_CHECKING:
    from ivit_onnx.proof.node import Node

__all__ = ["RULES"]

#: Sums of integers up to this are exact in double precision, in any order.
_EXACT = 1 << 53


def _axes(node: Node, x: Value, inputs: tuple[Value, ...]) -> list[int] | None:
    if x.shape is None:
        return None
    if not inputs or (inputs[0].constant is not None and not inputs[0].constant.size):
        return None if node.attribute("noop_with_empty_axes", 0) else list(range(len(x.shape)))
    if inputs[0].constant is None:
        return None
    return node.axes(inputs[0].constant.reshape(-1), len(x.shape))


def _reduced(x: Value, axes: list[int], keep: bool) -> tuple[Any, ...]:
    assert x.shape is not None
    if keep:
        return tuple(1 if axis in axes else dim for axis, dim in enumerate(x.shape))
    return tuple(dim for axis, dim in enumerate(x.shape) if axis not in axes)


def reduce_sum(node: Node, x: Value, *inputs: Value) -> Value:
    axes = _axes(node, x, inputs)
    if axes is None or x.shape is None:
        return node.stop("expected constant axes and a known rank")
    keep = bool(node.attribute("keepdims", 1))
    dims = [x.shape[axis] for axis in axes]
    if not all(isinstance(dim, int) for dim in dims):
        return node.stop("the number of elements to add up is not known")
    shape = _reduced(x, axes, keep)
    ends = []
    for end, clip in ((x.low, lesser), (x.high, greater)):
        # Sums of some of the elements are intermediates too, so zero belongs to each range.
        full = x.full_rank(clip(end, as_array(0)))
        repeats = math.prod(int(x.shape[axis] or 0) for axis in axes if full.shape[axis] == 1)  # type: ignore[arg-type]
        total = _sum(full, tuple(axes), keep)
        ends.append(exact(np.multiply, total, as_array(repeats), largest_magnitude(total) * repeats))
    least, most = int(ends[0].min()), int(ends[1].max())
    node.check_partial(least, most, x.dtype)
    if max(-least, most) > _EXACT:
        node.fail(
            f"the sums are in {least}..{most}, expected at most 2^53: newer ONNX Runtimes add in double precision"
        )
    result = Value.between(x.dtype, shape, *ends)
    if x.least > 0:  # all of them at least so much
        count = math.prod(int(dim) for dim in dims if isinstance(dim, int))
        result.low = greater(result.low, as_array(x.least * count))
    if keep and x.least >= 0:
        result.dominates = (x,)
        result.squares_of = x.square_of
        if axes == [len(x.shape) - 1]:
            result.total_of = x
    return result


def _sum(array: Array, axes: tuple[int, ...], keep: bool) -> Array:
    count = math.prod(array.shape[axis] for axis in axes)
    wide = array if largest_magnitude(array) * max(count, 1) < 2**63 else array.astype(object)
    return np.asarray(wide.sum(axis=axes, keepdims=keep), dtype=wide.dtype)


def reduce_max(node: Node, x: Value, *inputs: Value) -> Value:
    axes = _axes(node, x, inputs)
    if axes is None or x.shape is None:
        return node.stop("expected constant axes and a known rank")
    keep = bool(node.attribute("keepdims", 1))
    shape = _reduced(x, axes, keep)
    if x.constant is not None and x.constant.size:
        return Value.of(np.max(x.constant, axis=tuple(axes), keepdims=keep), x.dtype)
    ends = [np.max(x.full_rank(end), axis=tuple(axes), keepdims=keep) for end in (x.low, x.high)]
    if not all(isinstance(dim, int) and dim > 0 for dim in (x.shape[axis] for axis in axes)):
        ends[0] = as_array(limits(x.dtype)[0])  # the maximum of no elements
    result = Value.between(x.dtype, shape, *map(np.asarray, ends))
    if keep:
        result.max_of = x
    return result


def matmul_integer(node: Node, a: Value, b: Value, *zero_points: Value) -> Value:
    if a.shape is None or b.shape is None or len(b.shape) < 2:
        return node.stop("the shapes are not known")
    inner = a.shape[-1] if isinstance(a.shape[-1], int) else b.shape[-2]
    if not isinstance(inner, int):
        return node.stop("the inner dimension is not known")
    batch = broadcast(a.shape[:-2], b.shape[:-2])
    assert batch is not None
    shape = (*batch, *a.shape[-2:-1], b.shape[-1])
    if a.dtype == "uint8" and b.dtype == "int8":
        # Instruction sets before VNNI add two such products in 16 bits, and saturate.
        pairs = [2 * x * y for x in (a.least, a.largest) for y in (b.least, b.largest)]
        node.check_partial(min(*pairs, 0), max(*pairs, 0), "int16")
    for side, point in zip((a, b), zero_points, strict=False):
        if point.number is None:
            return node.stop("expected a constant zero point")
        if point.number != 0:
            # Kernels may multiply first and correct the sums behind: those sums are intermediates as well.
            raw = inner * a.magnitude * b.magnitude
            correction = inner * abs(point.number) * (b.magnitude if side is a else a.magnitude)
            node.check_partial(-raw - correction, raw + correction, "int32")
    a, b = (_minus(side, zero_points[i] if i < len(zero_points) else None) for i, side in enumerate((a, b)))
    if b.constant is not None and b.constant.ndim == 2:
        low, high = _weighted(a, b.constant)
    else:
        products = [x * y for x in (a.least, a.largest) for y in (b.least, b.largest)]
        least, most = inner * min(*products, 0), inner * max(*products, 0)
        if a.row_sum is not None:  # lemma 5: a sum of weights that add up to so much
            least = max(least, a.row_sum * min(b.least, 0))
            most = min(most, a.row_sum * max(b.largest, 0))
        low, high = as_array(least), as_array(most)
    node.check_partial(int(low.min()), int(high.max()), "int32")
    return Value.between("int32", shape, low, high)


def _minus(x: Value, point: Value | None) -> Value:
    if point is None or not point.number:
        return x
    result = Value(x.dtype, x.shape, x.low - point.number, x.high - point.number)
    if x.constant is not None:
        result.constant = x.constant.astype(np.int64) - point.number
    return result


def _weighted(a: Value, weight: Array) -> tuple[Array, Array]:
    """Sums of products with constant weights, for each column; sums of some of the products are in the range too."""
    zero = np.zeros((), np.int64)
    low, high = lesser(a.low, zero), greater(a.high, zero)
    if low.ndim > 1 or high.ndim > 1:
        axes = tuple(range(max(low.ndim, high.ndim) - 1))
        low, high = np.broadcast_arrays(low, high)
        low, high = low.min(axis=axes), high.max(axis=axes)
    inner = weight.shape[0]
    above, below = np.maximum(weight, 0), np.minimum(weight, 0)
    if low.size == 1 and high.size == 1:
        positive, negative = above.sum(axis=0, dtype=np.int64), below.sum(axis=0, dtype=np.int64)
        return low * positive + high * negative, high * positive + low * negative
    low, high = (np.broadcast_to(end, (inner,)) for end in (low, high))
    # In float64, which holds every sum below 2^53.
    largest = inner * max(largest_magnitude(low), largest_magnitude(high)) * largest_magnitude(weight)
    kind = np.float64 if largest < 2**52 else object
    above, below, low, high = (array.astype(kind) for array in (above, below, low, high))
    least, most = low @ above + high @ below, high @ above + low @ below
    return (least.astype(np.int64), most.astype(np.int64)) if kind is np.float64 else (least, most)


RULES: dict[str, Callable[..., Value]] = {
    "ReduceSum": reduce_sum,
    "ReduceMax": reduce_max,
    "MatMulInteger": matmul_integer,
}
