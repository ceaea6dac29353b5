"""Ranges of operators of ONNX that choose, compare, negate, or change a type.

Requires and ensures the same as ivit_onnx.proof.elementwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ivit_onnx.proof.elementwise import apply, broadcast, pointwise
from ivit_onnx.proof.value import MOST_VALUES, Value, greater, lesser

if TYPE_CHECKING:
    from ivit_onnx.proof.node import Node

__all__ = ["RULES"]


def minimum(node: Node, *inputs: Value) -> Value:
    return _fold("Min", inputs)


def maximum(node: Node, *inputs: Value) -> Value:
    return _fold("Max", inputs)


def _fold(name: str, inputs: tuple[Value, ...]) -> Value:
    result = inputs[0]
    for value in inputs[1:]:
        result = _extreme(name, result, value)
    return result


def _extreme(name: str, a: Value, b: Value) -> Value:
    shape = broadcast(a.shape, b.shape)
    result = pointwise(name, a, b, shape)
    if result is None:
        result = Value.between(a.dtype, shape, apply(name, a.low, b.low), apply(name, a.high, b.high))
    for value, cap in ((a, b), (b, a)):
        if cap.number is None:
            continue
        if name == "Min" and cap.number >= 0:
            result.dominates = tuple(v for v in value.dominates if v.magnitude <= cap.number)
            if value.largest <= cap.number:
                result.total_of = value.total_of
        if name == "Max" and value.least >= 0:
            # What needs a sum, or a bound, is right for all that is above it, too.
            result.dominates, result.total_of = value.dominates, value.total_of
        if name == "Min" and value.row_sum is not None and cap.number >= 0:
            result.row_sum = value.row_sum
    return result


def negate(node: Node, x: Value) -> Value:
    if x.constant is not None:
        return Value.of(apply("Mul", x.constant, np.asarray(-1)), x.dtype)
    if x.rooted() and x.root is not None and x.table is not None:
        return Value.of_table(x.dtype, x.shape, x.root, apply("Mul", x.table, np.asarray(-1)))
    low, high = (apply("Mul", end, np.asarray(-1)) for end in (x.high, x.low))
    return Value.between(x.dtype, x.shape, low, high)


def cast(node: Node, x: Value) -> Value:
    dtype = node.type_attribute("to")
    if x.constant is not None:
        result = Value.of(x.constant, dtype)
    elif x.root is not None and x.table is not None:
        result = Value.of_table(dtype, x.shape, x.root, x.table)
    else:
        result = Value(dtype, x.shape, x.low, x.high)
    result.dims = x.dims if dtype == "int64" else None
    result.row_sum = x.row_sum
    return result


def compare(node: Node, a: Value, b: Value) -> Value:
    shape = broadcast(a.shape, b.shape)
    if a.constant is not None and b.constant is not None:
        function = {"Greater": np.greater, "Less": np.less, "Equal": np.equal}[node.kind]
        return Value.of(np.asarray(function(a.constant, b.constant)).astype(np.int64), "bool")
    return Value.of_type("bool", shape)


def logical_and(node: Node, a: Value, b: Value) -> Value:
    if a.constant is not None and b.constant is not None:
        return Value.of(a.constant * b.constant, "bool")
    return Value.of_type("bool", broadcast(a.shape, b.shape))


def where(node: Node, condition: Value, a: Value, b: Value) -> Value:
    shape = broadcast(condition.shape, a.shape, b.shape)
    if condition.constant is not None and a.constant is not None and b.constant is not None:
        return Value.of(np.where(condition.constant != 0, a.constant, b.constant), a.dtype)
    result = Value.between(a.dtype, shape, lesser(a.low, b.low), greater(a.high, b.high))
    first, second = a.possible(), b.possible()
    if first is not None and second is not None and first.size + second.size <= MOST_VALUES:
        both = np.unique(np.concatenate([first, second]))
        if both.dtype != object:
            result.root = result.table = both
    return result


RULES: dict[str, Callable[..., Value]] = {
    "Min": minimum,
    "Max": maximum,
    "Neg": negate,
    "Cast": cast,
    "Greater": compare,
    "Less": compare,
    "Equal": compare,
    "And": logical_and,
    "Where": where,
}
