"""What the operators of ONNX mean on integers of any size: of each, a function of the call and its tensors."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import AttributeProto, numpy_helper

from exact_moves import MOVES
from exact_values import Array, Call, FloatError, NotRunnableError, Tensor, dtype_of, integers_of, limits_of

__all__ = ["OPERATORS"]


def _constant(call: Call) -> Tensor:
    name, entry = call.only()
    if name == "value" and entry.type == AttributeProto.TENSOR:
        array = numpy_helper.to_array(entry.t)
    elif name in ("value_int", "value_ints"):
        array = np.asarray(entry.i if name == "value_int" else list(entry.ints), np.int64)
    else:
        raise FloatError(f"Constant of {name}")
    if array.dtype.kind not in "iub":
        raise FloatError(f"Constant of {array.dtype}")
    return integers_of(array)


def _binary(function: Callable[[Array, Array], Any]) -> Callable[..., Tensor]:
    def run(call: Call, a: Tensor, b: Tensor) -> Tensor:
        return Tensor(a.dtype, function(a.array, b.array))

    return run


def _comparison(function: Callable[[Array, Array], Any]) -> Callable[..., Tensor]:
    def run(call: Call, a: Tensor, b: Tensor) -> Tensor:
        return Tensor("bool", np.asarray(function(a.array, b.array)) * 1)

    return run


def _unary(function: Callable[[Array], Any]) -> Callable[..., Tensor]:
    return lambda call, x: Tensor(x.dtype, function(x.array))


def _cast(call: Call, x: Tensor) -> Tensor:
    dtype = dtype_of(call.integer("to", 0))
    return Tensor(dtype, (x.array != 0) * 1 if dtype == "bool" else x.array)


def _checked_divisor(call: Call, a: Tensor, b: Tensor) -> Array:
    """The divisor, 1 in the place of 0."""
    zero = np.asarray(b.array == 0)
    if zero.any() and a.array.size:
        call.departed("a divisor is 0")
    return np.where(zero, 1, b.array)


def _div(call: Call, a: Tensor, b: Tensor) -> Tensor:
    divisor = _checked_divisor(call, a, b)
    signs = np.where((a.array < 0) != (divisor < 0), -1, 1).astype(object)
    return Tensor(a.dtype, abs(a.array) // abs(divisor) * signs)


def _mod(call: Call, a: Tensor, b: Tensor) -> Tensor:
    if call.integer("fmod", 0):
        raise FloatError("Mod with fmod")
    divisor = _checked_divisor(call, a, b)
    if (np.asarray(a.array == np.iinfo(a.dtype).min) & (divisor == -1)).any():
        call.departed("the least number modulo -1")
    return Tensor(a.dtype, a.array % divisor)


def _extreme(function: np.ufunc) -> Callable[..., Tensor]:
    def run(call: Call, *tensors: Tensor) -> Tensor:
        return Tensor(tensors[0].dtype, function.reduce(np.broadcast_arrays(*(x.array for x in tensors))))

    return run


def _where(call: Call, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return Tensor(a.dtype, np.where(condition.array.astype(bool), a.array, b.array))


def _places(tensor: Tensor) -> Array:
    return tensor.array.astype(np.int64)


def _gather(call: Call, x: Tensor, index: Tensor) -> Tensor:
    axis = call.integer("axis", 0)
    size, places = x.array.shape[axis], _places(index)
    if ((places < -size) | (places >= size)).any():
        call.departed(f"an index is outside of {size} elements")
        places = places % max(size, 1)
    return Tensor(x.dtype, np.take(x.array, places, axis=axis))


def _shape(call: Call, x: Tensor) -> Tensor:
    return Tensor("int64", x.array.shape[slice(call.integer("start", 0), call.integer("end", x.array.ndim))])


def _reshape(call: Call, x: Tensor, target: Tensor) -> Tensor:
    dims = [int(dim) for dim in target.array]
    if not call.integer("allowzero", 0):
        dims = [x.array.shape[axis] if dim == 0 else dim for axis, dim in enumerate(dims)]
    return Tensor(x.dtype, x.array.reshape(dims))


def _transpose(call: Call, x: Tensor) -> Tensor:
    return Tensor(x.dtype, x.array.transpose(call.integers("perm")))


def _concat(call: Call, *tensors: Tensor) -> Tensor:
    return Tensor(tensors[0].dtype, np.concatenate([x.array for x in tensors], call.integer("axis", 0)))


def _expand(call: Call, x: Tensor, target: Tensor) -> Tensor:
    shape = np.broadcast_shapes(x.array.shape, tuple(int(dim) for dim in target.array))
    return Tensor(x.dtype, np.broadcast_to(x.array, shape))


def _flatten(call: Call, x: Tensor) -> Tensor:
    axis = call.integer("axis", 1)
    axis += x.array.ndim if axis < 0 else 0
    return Tensor(x.dtype, x.array.reshape(math.prod(x.array.shape[:axis]), math.prod(x.array.shape[axis:])))


def _slice(call: Call, x: Tensor, *bounds: Tensor | None) -> Tensor:
    if call.version < 10:
        lists = [call.integers(name) for name in ("starts", "ends", "axes")]
    else:
        lists = [None if bound is None else [int(i) for i in bound.array] for bound in bounds]
    starts, ends, axes, steps = [*lists, None, None][:4]
    if starts is None or ends is None:
        raise NotRunnableError("Slice without bounds")
    axes = list(range(len(starts))) if axes is None else axes
    index = [slice(None)] * x.array.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps or [1] * len(starts), strict=True):
        size = x.array.shape[axis]
        # Ends below the first element mean that it is taken, too, where the step is negative.
        index[axis] = slice(start, None if step < 0 and end < -size else end, step)
    return Tensor(x.dtype, x.array[tuple(index)])


def _range(call: Call, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    first, last, step = (int(tensor.array.reshape(-1)[0]) for tensor in (start, limit, delta))
    numbers = list(range(first, last, step))
    return Tensor(start.dtype, np.array(numbers, object))


def _reduction(function: np.ufunc, since: int) -> Callable[..., Tensor]:
    def run(call: Call, x: Tensor, axes: Tensor | None = None) -> Tensor:
        chosen = call.numbers("axes", axes, since)
        if not chosen and call.integer("noop_with_empty_axes", 0):
            return x
        low, high = limits_of(x.dtype)
        of_nothing = {np.add: 0, np.maximum: low, np.minimum: high}[function]
        keep = bool(call.integer("keepdims", 1))
        along = tuple(chosen) if chosen else None
        reduced = function.reduce(x.array, axis=along, keepdims=keep, initial=of_nothing)
        return Tensor(x.dtype, reduced)

    return run


def _squeeze(call: Call, x: Tensor, axes: Tensor | None = None) -> Tensor:
    chosen = call.numbers("axes", axes, 13)
    return Tensor(x.dtype, np.squeeze(x.array, None if chosen is None else tuple(chosen)))


def _unsqueeze(call: Call, x: Tensor, axes: Tensor | None = None) -> Tensor:
    return Tensor(x.dtype, np.expand_dims(x.array, tuple(call.numbers("axes", axes, 13) or ())))


def _matmul_integer(call: Call, a: Tensor, b: Tensor, *points: Tensor | None) -> Tensor:
    sides = [a.array, b.array]
    for index, point in enumerate(points):
        if point is not None:
            along = (
                point.array.reshape(-1, 1)
                if index == 0 and point.array.ndim == 1 and point.array.size > 1
                else point.array
            )
            sides[index] = sides[index] - along
    return Tensor("int32", _product(*sides))


def _product(a: Array, b: Array) -> Array:
    largest = max([0, *(int(abs(side).max()) for side in (a, b) if side.size)])
    if largest**2 * max(a.shape[-1], 1) < 2**63:  # nothing can leave int64, which is faster
        return np.matmul(a.astype(np.int64), b.astype(np.int64))
    return np.matmul(a, b)


def _matmul(call: Call, a: Tensor, b: Tensor) -> Tensor:
    return Tensor(a.dtype, _product(a.array, b.array))


def _quantize(call: Call, x: Tensor, scale: Tensor, point: Tensor | None = None) -> Tensor:
    """The boundary of a model with a float32 input, in float32 as the operator is defined."""
    if x.dtype != "float32" or scale.dtype != "float32" or point is None or point.array.size != 1:
        raise FloatError("QuantizeLinear of something else than float32 with one zero point")
    limits = np.iinfo(point.dtype)
    rounded = np.rint(x.array / scale.array).astype(np.float64) + int(point.array.reshape(-1)[0])
    return integers_of(np.clip(rounded, limits.min, limits.max).astype(point.dtype))


def _split(call: Call, x: Tensor, sizes: Tensor | None = None) -> list[Tensor]:
    axis, chosen = call.integer("axis", 0), call.numbers("split", sizes, 13)
    if chosen is None:
        raise NotRunnableError("Split without sizes")
    if sum(chosen) != x.array.shape[axis]:
        raise NotRunnableError("Split into other sizes")
    return [Tensor(x.dtype, part) for part in np.split(x.array, np.cumsum(chosen)[:-1], axis)]


OPERATORS: dict[str, Callable[..., Any]] = {
    "Constant": _constant,
    "Identity": lambda call, x: x,
    "Cast": _cast,
    "Add": _binary(operator.add),
    "Sub": _binary(operator.sub),
    "Mul": _binary(operator.mul),
    "Div": _div,
    "Mod": _mod,
    "Neg": _unary(operator.neg),
    "Abs": _unary(abs),
    "Sign": _unary(lambda x: (x > 0) * 1 - (x < 0) * 1),
    "Min": _extreme(np.minimum),
    "Max": _extreme(np.maximum),
    "Greater": _comparison(operator.gt),
    "GreaterOrEqual": _comparison(operator.ge),
    "Less": _comparison(operator.lt),
    "LessOrEqual": _comparison(operator.le),
    "Equal": _comparison(operator.eq),
    "And": _comparison(operator.mul),
    "Or": _comparison(np.maximum),
    "Xor": _comparison(operator.ne),
    "Not": _unary(lambda x: 1 - x),
    "Where": _where,
    "Gather": _gather,
    "Shape": _shape,
    "Size": lambda call, x: Tensor("int64", x.array.size),
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Concat": _concat,
    "Expand": _expand,
    "Flatten": _flatten,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Range": _range,
    "ReduceSum": _reduction(np.add, 13),
    "ReduceMax": _reduction(np.maximum, 18),
    "ReduceMin": _reduction(np.minimum, 18),
    "MatMulInteger": _matmul_integer,
    "MatMul": _matmul,
    "QuantizeLinear": _quantize,
    **MOVES,
}
