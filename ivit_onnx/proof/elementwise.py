"""Ranges of the arithmetic operators of ONNX.

Each rule requires ranges of its inputs, and ensures the range of its output on exact integers. The walk compares that
range with the type; a rule itself reports only what is undefined on integers, such as a divisor of zero. Where facts
are derived, the lemma of docs/trust.md is named.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ivit_onnx.proof.value import (
    MOST_VALUES,
    Array,
    Value,
    as_array,
    exact,
    greater,
    largest_magnitude,
    lesser,
    limits,
    truncated_divide,
)

if TYPE_CHECKING:
    from ivit_onnx.proof.node import Node

__all__ = ["RULES", "apply", "broadcast", "pointwise"]

#: Pairs of numbers whose differences are followed one by one.
_MOST_PAIRS = 1 << 22


def broadcast(*shapes: Any) -> tuple[Any, ...] | None:
    """The shape to which several are broadcast; None where one is unknown."""
    if any(shape is None for shape in shapes):
        return None
    rank = max((len(shape) for shape in shapes), default=0)
    result: list[Any] = []
    for axis in range(-rank, 0):
        dims = [shape[axis] for shape in shapes if len(shape) >= -axis]
        wide = [dim for dim in dims if dim != 1]
        known = [dim for dim in wide if isinstance(dim, int)]
        result.append(1 if not wide else known[0] if known else wide[0] if len(set(wide)) == 1 else None)
    return tuple(result)


def _bound(name: str, a: Array, b: Array) -> int:
    left, right = largest_magnitude(a), largest_magnitude(b)
    return {"mul": left * right, "max": max(left, right)}.get(name, left + right)


_FUNCTIONS: dict[str, tuple[Callable[[Array, Array], Array], str]] = {
    "Add": (lambda a, b: a + b, "add"),
    "Sub": (lambda a, b: a - b, "add"),
    "Mul": (lambda a, b: a * b, "mul"),
    "Div": (truncated_divide, "max"),
    "Mod": (lambda a, b: a % b, "max"),
    "Min": (np.minimum, "max"),
    "Max": (np.maximum, "max"),
}


def apply(name: str, a: Array, b: Array) -> Array:
    """An operator on exact numbers."""
    function, kind = _FUNCTIONS[name]
    if a.size == 0 or b.size == 0:
        return np.zeros(np.broadcast_shapes(a.shape, b.shape), np.int64)
    return exact(function, a, b, _bound(kind, a, b))


def pointwise(name: str, a: Value, b: Value, shape: Any) -> Value | None:
    """The result of an operator, number by number, where both sides are constants, or functions of the same number."""
    if a.constant is not None and b.constant is not None:
        return Value.of(apply(name, a.constant, b.constant), a.dtype)
    if a.number is not None and b.root is None and b.constant is None:
        b.rooted()
    if b.number is not None and a.root is None and a.constant is None:
        a.rooted()
    for one, other in ((a, b), (b, a)):
        if one.table is None or one.root is None:
            continue
        if other.number is not None:
            side = as_array(other.number)
            pair = (one.table, side) if one is a else (side, one.table)
            return Value.of_table(a.dtype, shape, one.root, np.asarray(apply(name, *pair)))
        if other.root is one.root and other.table is not None:
            return Value.of_table(a.dtype, shape, one.root, apply(name, a.table, b.table))  # type: ignore[arg-type]
    return None


def _corners(name: str, a: Value, b: Value, shape: Any) -> Value:
    """The range from those of both sides, for functions that are monotonic in each."""
    results = [apply(name, x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
    low, high = results[0], results[0]
    for result in results[1:]:
        low, high = lesser(low, result), greater(high, result)
    return Value.between(a.dtype, shape, low, high)


def add(node: Node, a: Value, b: Value) -> Value:
    shape = broadcast(a.shape, b.shape)
    result = pointwise("Add", a, b, shape)
    if result is None:
        result = Value.between(a.dtype, shape, apply("Add", a.low, b.low), apply("Add", a.high, b.high))
    if a.least >= 0 and b.least >= 0:
        result.dominates = (a, b, *a.dominates, *b.dominates)
        for one, other in ((a, b), (b, a)):
            if one.row_sum is not None and other.number is not None and shape and isinstance(shape[-1], int):
                result.row_sum = one.row_sum + shape[-1] * other.number
    for root, quotient in ((a, b), (b, a)):
        of = quotient.quotient_of
        if of is not None and of[1] is root and root.least >= 1 and of[0].least >= 0:
            result.newton_of = of[0]
    return result


def sub(node: Node, a: Value, b: Value) -> Value:
    shape = broadcast(a.shape, b.shape)
    if b.max_of is a:
        return _from_maximum(a, shape)
    result = pointwise("Sub", a, b, shape)
    if result is None:
        result = Value.between(a.dtype, shape, apply("Sub", a.low, b.high), apply("Sub", a.high, b.low))
    if b.remainder_of is not None and b.remainder_of[0] is a:
        divisor = b.remainder_of[1]
        if divisor.number is not None and divisor.number != 0 and result.table is None and result.constant is None:
            step = divisor.constant
            assert step is not None
            low, high = (apply("Sub", end, apply("Mod", end, step)) for end in (a.low, a.high))
            result = Value.between(a.dtype, shape, *((low, high) if divisor.number > 0 else _outer(a, divisor.number)))
        elif divisor.constant is not None and divisor.least > 0 and result.table is None and result.constant is None:
            low, high = (apply("Sub", end, apply("Mod", end, divisor.constant)) for end in (a.low, a.high))
            result = Value.between(a.dtype, shape, low, high)
        result.multiple_of = (a, divisor)
    return result


def _outer(a: Value, divisor: int) -> tuple[Array, Array]:
    """x - x mod d of a negative d is the next multiple upwards."""
    step = np.asarray(-divisor, np.int64)
    low, high = (apply("Add", end, apply("Mod", apply("Mul", end, np.asarray(-1)), step)) for end in (a.low, a.high))
    return low, high


def _from_maximum(a: Value, shape: Any) -> Value:
    """x - max(x): a difference of two possible values that is not positive (lemma 1)."""
    values = a.possible()
    if values is not None and values.size**2 <= _MOST_PAIRS:
        differences = np.unique(apply("Sub", values[:, None], values[None, :]))
        differences = differences[differences <= 0]
        if differences.size <= MOST_VALUES:
            return Value.of_table(a.dtype, shape, differences, differences)
    width = a.largest - a.least
    return Value.between(a.dtype, shape, as_array(-width), as_array(0))


def mul(node: Node, a: Value, b: Value) -> Value:
    shape = broadcast(a.shape, b.shape)
    result = pointwise("Mul", a, b, shape)
    if result is None:
        result = _corners("Mul", a, b, shape)
    if a is b:
        if result.table is None and result.constant is None:
            result.low = np.asarray(np.where((a.low <= 0) & (a.high >= 0), 0, result.low))
            squares = lesser(apply("Mul", a.low, a.low), apply("Mul", a.high, a.high))
            result.low = np.asarray(np.where((a.low > 0) | (a.high < 0), squares, result.low))
        result.square_of = a
    for factor, other in ((a, b), (b, a)):
        if factor.reciprocal_of is None:
            continue
        constant, divisor = factor.reciprocal_of
        if divisor.dominates_value(other):  # lemma 2: |x * (c // s)| <= c where |x| <= s
            result.low, result.high = greater(result.low, as_array(-constant)), lesser(result.high, as_array(constant))
            result.low = np.asarray(np.where(other.low >= 0, greater(result.low, as_array(0)), result.low))
        same_rows = bool(shape) and bool(other.shape) and None is not other.shape[-1] == shape[-1]  # type: ignore[index]
        if divisor.total_of is other and same_rows and result.least >= 0:  # lemma 3: sum(x * (c // sum(x))) <= c
            result.row_sum = constant
    return result


def div(node: Node, a: Value, b: Value) -> Value:
    shape = broadcast(a.shape, b.shape)
    if _can_be(b, 0):
        node.fail(f"the divisor can be 0: it is in {b.least}..{b.largest}")
        return Value.of_type(a.dtype, shape)
    result = pointwise("Div", a, b, shape)
    if result is None and a.multiple_of is not None and a.multiple_of[1] is b and b.constant is not None:
        # The quotient of a multiple is exact: floor(x / d), which is monotonic in x.
        source = a.multiple_of[0]
        ends = [_apply_floor(end, b.constant) for end in (source.low, source.high)]
        result = Value.between(a.dtype, shape, lesser(*ends), greater(*ends))
    if result is None:
        result = _quotients(a, b, shape)
    if a.least >= 0 and b.least >= 1:
        result.quotient_of = (a, b)
        if a.number is not None:
            result.reciprocal_of = (a.number, b)
        if a.row_sum is not None and b.number is not None:
            result.row_sum = a.row_sum // b.number
    if a.newton_of is not None and b.number == 2:
        result.root_of = a.newton_of  # lemma 4
    return result


def _quotients(a: Value, b: Value, shape: Any) -> Value:
    """Quotients by what is never 0. They are monotonic in the divisor on either side of 0, not across it."""
    if not ((b.low < 0) & (b.high > 0)).any():
        return _corners("Div", a, b, shape)
    numbers = _numbers(b)
    assert numbers is not None  # or it could be 0
    sides = [side for side in (numbers[numbers < 0], numbers[numbers > 0]) if side.size]
    results = [
        _corners("Div", a, Value(b.dtype, b.shape, np.asarray(side.min()), np.asarray(side.max())), shape)
        for side in sides
    ]
    low, high = results[0].low, results[0].high
    for result in results[1:]:
        low, high = lesser(low, result.low), greater(high, result.high)
    return Value.between(a.dtype, shape, low, high)


def _numbers(b: Value) -> Array | None:
    return b.constant if b.constant is not None else b.table


def _can_be(b: Value, number: int) -> bool:
    values = _numbers(b)
    return b.least <= number <= b.largest and (values is None or bool((values == number).any()))


def _apply_floor(a: Array, b: Array) -> Array:
    return exact(lambda x, y: x // y, a, b, largest_magnitude(a))


def mod(node: Node, a: Value, b: Value) -> Value:
    shape = broadcast(a.shape, b.shape)
    if node.attribute("fmod", 0):
        node.fail("Mod with fmod is not covered")
    if _can_be(b, 0):
        node.fail(f"the divisor can be 0: it is in {b.least}..{b.largest}")
        return Value.of_type(a.dtype, shape)
    if a.least <= limits(a.dtype)[0] and _can_be(b, -1):
        node.fail("the least number modulo -1 traps on some processors")
    result = pointwise("Mod", a, b, shape)
    if result is None:
        inside = (a.low >= 0) & (a.high < b.low)
        zero = np.zeros((), np.int64)
        low = np.where(b.low < 0, apply("Add", b.low, np.asarray(1)), zero)
        high = np.where(b.high > 0, apply("Sub", b.high, np.asarray(1)), zero)
        result = Value.between(a.dtype, shape, np.where(inside, a.low, low), np.where(inside, a.high, high))
    result.remainder_of = (a, b)
    return result


RULES: dict[str, Callable[..., Value]] = {"Add": add, "Sub": sub, "Mul": mul, "Div": div, "Mod": mod}
