"""More operators for exact_operators: those that no export has, which move, repeat or combine elements and bits."""

from __future__ import annotations

import operator
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from onnx import numpy_helper

from exact_values import Array, Call, FloatError, NotRunnableError, Tensor, integers_of, limits_of

__all__ = ["MOVES"]


def _places(tensor: Tensor) -> Array:
    return tensor.array.astype(np.int64)


def _constant_of_shape(call: Call, shape: Tensor) -> Tensor:
    value = call.tensor("value")
    array = np.zeros(1, np.float32) if value is None else numpy_helper.to_array(value)
    if array.dtype.kind not in "iub":
        raise FloatError(f"ConstantOfShape of {array.dtype}")
    return integers_of(np.full([int(dim) for dim in shape.array], array.reshape(-1)[0]))


def _trilu(call: Call, x: Tensor, k: Tensor | None = None) -> Tensor:
    diagonal = 0 if k is None else int(k.array.reshape(-1)[0])
    return Tensor(x.dtype, (np.triu if call.integer("upper", 1) else np.tril)(x.array, diagonal))


def _gather_elements(call: Call, x: Tensor, index: Tensor) -> Tensor:
    return Tensor(x.dtype, np.take_along_axis(x.array, _places(index), call.integer("axis", 0)))


def _gather_nd(call: Call, x: Tensor, index: Tensor) -> Tensor:
    def gathered(data: Array, places: Array, batch: int) -> Array:
        if batch:
            return np.stack([gathered(*pair, batch - 1) for pair in zip(data, places, strict=True)])
        return data[tuple(np.moveaxis(places, -1, 0))]

    return Tensor(x.dtype, gathered(x.array, _places(index), call.integer("batch_dims", 0)))


_COMBINED: dict[str, Callable[[Any, Any], Any]] = {
    "": lambda old, new: new,
    "none": lambda old, new: new,
    "add": operator.add,
    "mul": operator.mul,
    "max": max,
    "min": min,
}


def _scatter_elements(call: Call, x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
    axis, result, places = call.integer("axis", 0), x.array.copy(), _places(index)
    for where in np.ndindex(places.shape):
        at = list(where)
        at[axis] = int(places[where])
        result[tuple(at)] = _COMBINED[call.text("reduction")](result[tuple(at)], updates.array[where])
    return Tensor(x.dtype, result)


def _scatter_nd(call: Call, x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
    result, places = x.array.copy(), _places(index)
    for where in np.ndindex(places.shape[:-1]):
        at = tuple(places[where])
        result[at] = np.vectorize(_COMBINED[call.text("reduction")], otypes=[object])(result[at], updates.array[where])
    return Tensor(x.dtype, result)


def _pad(call: Call, x: Tensor, *inputs: Tensor | None) -> Tensor:
    pads, value, axes = [*inputs, None, None, None][:3]
    widths = call.integers("pads") if pads is None else [int(pad) for pad in pads.array]
    if widths is None:
        raise NotRunnableError("Pad without widths")
    chosen = range(x.array.ndim) if axes is None else [int(axis) for axis in axes.array]
    result = x.array
    for position, axis in enumerate(chosen):
        ends = [[0, 0] for _ in range(result.ndim)]
        ends[axis] = [widths[position], widths[position + len(chosen)]]
        size = result.shape[axis]
        cut = slice(max(-ends[axis][0], 0), size - max(-ends[axis][1], 0))
        result = np.moveaxis(np.moveaxis(result, axis, 0)[cut], 0, axis)
        wide = [[max(end, 0) for end in pair] for pair in ends]
        mode = call.text("mode") or "constant"
        if mode == "constant":
            result = np.pad(result, wide, constant_values=0 if value is None else int(value.array.reshape(-1)[0]))
        else:
            result = np.pad(result, wide, mode=mode)
    return Tensor(x.dtype, result)


def _clip(call: Call, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    if call.version < 11:
        raise FloatError("Clip between floats")
    result = x.array if low is None else np.maximum(x.array, low.array.reshape(()))
    return Tensor(x.dtype, result if high is None else np.minimum(result, high.array.reshape(())))


def _bit_shift(call: Call, x: Tensor, places: Tensor) -> Tensor:
    _, most = limits_of(x.dtype)
    if places.array.size and int(places.array.max()) >= most.bit_length():
        call.departed("a shift by all bits or more")
    left = call.text("direction") == "LEFT"
    return Tensor(x.dtype, (x.array << places.array) & most if left else x.array >> places.array)


def _bitwise(function: Callable[[Array, Array], Array]) -> Callable[..., Tensor]:
    return lambda call, a, b: Tensor(a.dtype, function(a.array, b.array))


def _bitwise_not(call: Call, x: Tensor) -> Tensor:
    low, high = limits_of(x.dtype)
    return Tensor(x.dtype, low + high - x.array)


def _depth_to_space(call: Call, x: Tensor) -> Tensor:
    n, c, h, w = x.array.shape
    size = call.integer("blocksize", 1)
    if call.text("mode") == "CRD":
        parts = x.array.reshape(n, c // size**2, size, size, h, w).transpose(0, 1, 4, 2, 5, 3)
    else:
        parts = x.array.reshape(n, size, size, c // size**2, h, w).transpose(0, 3, 4, 1, 5, 2)
    return Tensor(x.dtype, parts.reshape(n, c // size**2, h * size, w * size))


def _space_to_depth(call: Call, x: Tensor) -> Tensor:
    n, c, h, w = x.array.shape
    size = call.integer("blocksize", 1)
    parts = x.array.reshape(n, c, h // size, size, w // size, size).transpose(0, 3, 5, 1, 2, 4)
    return Tensor(x.dtype, parts.reshape(n, c * size**2, h // size, w // size))


def _conv_integer(call: Call, x: Tensor, w: Tensor, *points: Tensor | None) -> Tensor:
    rank, groups = x.array.ndim - 2, call.integer("group", 1)
    pads = call.integers("pads") or [0] * (2 * rank)
    strides, dilations = call.integers("strides") or [1] * rank, call.integers("dilations") or [1] * rank
    if call.text("auto_pad") not in ("", "NOTSET"):
        raise NotRunnableError("auto_pad")
    x_zero, w_zero = [*points, None, None][:2]
    data = x.array - (0 if x_zero is None else x_zero.array)
    weight = w.array - (0 if w_zero is None else w_zero.array.reshape((-1,) + (1,) * (w.array.ndim - 1)))
    data = np.pad(data, [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)])
    reach = [(size - 1) * step for size, step in zip(weight.shape[2:], dilations, strict=True)]
    sizes = [(d - r - 1) // s + 1 for d, r, s in zip(data.shape[2:], reach, strides, strict=True)]
    parts = []
    for part, kernel in zip(np.split(data, groups, 1), np.split(weight, groups, 0), strict=True):
        total = np.zeros((part.shape[0], kernel.shape[0], *sizes), object)
        for at in product(*map(range, kernel.shape[2:])):
            starts = [place * step for place, step in zip(at, dilations, strict=True)]
            window = (slice(a, a + n * s, s) for a, n, s in zip(starts, sizes, strides, strict=True))
            seen = part[(slice(None), slice(None), *window)]
            flat = seen.reshape(*seen.shape[:2], -1)
            total = total + np.matmul(kernel[(slice(None), slice(None), *at)], flat).reshape(total.shape)
        parts.append(total)
    return Tensor("int32", np.concatenate(parts, 1))


MOVES: dict[str, Callable[..., Any]] = {
    "ConstantOfShape": _constant_of_shape,
    "Tile": lambda call, x, repeats: Tensor(x.dtype, np.tile(x.array, [int(repeat) for repeat in repeats.array])),
    "Trilu": _trilu,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "Pad": _pad,
    "Clip": _clip,
    "BitShift": _bit_shift,
    "BitwiseAnd": _bitwise(operator.and_),
    "BitwiseOr": _bitwise(operator.or_),
    "BitwiseXor": _bitwise(operator.xor),
    "BitwiseNot": _bitwise_not,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    "ConvInteger": _conv_integer,
}
