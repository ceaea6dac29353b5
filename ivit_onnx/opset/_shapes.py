"""Shapes as the operators' records write them.

[N, T, C]      these dimensions; a capital letter has one value within a call
[.., C]        any dimensions, the same wherever they stand, then C
[]             a scalar
[] or [C]      a scalar, or these dimensions
[256]          a dimension may also be a form: a number, an attribute, or what is computed from
[N, T, 3*C]    numbers, letters and attributes by +, -, *, /, ^ and ceil()
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from ivit_onnx.opset._spec import Operator

__all__ = ["Shape", "evaluate", "forms", "is_letter", "parse", "tree"]

_OR_SCALAR = "[] or "

_OPERATIONS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: lambda base, exponent: Fraction(base ** int(exponent)),
}


@dataclass(frozen=True)
class Shape:
    """A shape in its parts: whether a scalar will do too, whether any dimensions may come first, and the axes."""

    or_scalar: bool
    leading: bool
    axes: tuple[str, ...]


def parse(text: str) -> Shape:
    """The parts of a shape. Raises ValueError for what is no shape."""
    shape = text.removeprefix(_OR_SCALAR)
    if not (shape.startswith("[") and shape.endswith("]")):
        raise ValueError(f"shape {text}: expected dimensions in brackets")
    axes = [axis.strip() for axis in shape[1:-1].split(",")] if shape != "[]" else []
    leading = axes[:1] == [".."]
    result = Shape(text != shape, leading, tuple(axes[leading:]))
    for axis in result.axes:
        tree(axis)
    return result


def tree(form: str) -> ast.expr:
    """The syntax tree of a dimension. Raises ValueError for what is none."""
    try:
        return ast.parse(form.replace("^", "**"), mode="eval").body
    except SyntaxError:
        raise ValueError(f"dimension {form}: expected numbers, names, +, -, *, /, ^ and ceil()") from None


def evaluate(form: str, values: Mapping[str, int]) -> int | None:
    """The value of a dimension, by the values of letters and attributes; None if one of them is unknown, or if a
    division leaves a remainder."""
    value = _evaluate(tree(form), values)
    return value.numerator if value is not None and value.denominator == 1 else None


def _evaluate(node: ast.expr, values: Mapping[str, int]) -> Fraction | None:
    match node:
        case ast.Constant(int(number)):
            return Fraction(number)
        case ast.Name(name):
            return Fraction(values[name]) if name in values else None
        case ast.Call(ast.Name("ceil"), [inner]):
            value = _evaluate(inner, values)
            return None if value is None else Fraction(math.ceil(value))
        case ast.BinOp(left, operation, right) if type(operation) in _OPERATIONS:
            a, b = _evaluate(left, values), _evaluate(right, values)
            return None if a is None or b is None else _OPERATIONS[type(operation)](a, b)
    raise ValueError(f"dimension {ast.unparse(node)}: expected numbers, names, +, -, *, /, ^ and ceil()")


def is_letter(axis: str, of: Operator) -> bool:
    """Whether the axis is a dimension of its own, and no form."""
    symbols = [attribute.symbol for attribute in of.attributes]
    return len(axis) == 1 and axis.isupper() and axis not in symbols


def forms(of: Operator) -> list[str]:
    """The forms among the dimensions of inputs and outputs, each once, those before others that contain them."""
    found = dict.fromkeys(axis for axis in _axes(of) if not is_letter(axis, of))
    return sorted(found, key=lambda form: sum(1 for _ in ast.walk(tree(form))))


def _axes(of: Operator) -> Iterator[str]:
    for tensor in (*of.inputs, *of.outputs):
        yield from parse(tensor.shape).axes
