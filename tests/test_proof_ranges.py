"""Ranges of operators where a rule could be too narrow: what is proven holds in exact integers, what is not is found.

Nearly every one was certified once, and went wrong when it ran.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from ivit_onnx.proof import prove
from ivit_onnx.proof.walk import Walk
from proofs import assert_inside, model_of

Array = np.ndarray[Any, Any]
Step = tuple[str, list[str], str] | tuple[str, list[str], str, dict[str, Any]]
INT64 = np.iinfo(np.int64)


def steps(
    nodes: Sequence[Step],
    inputs: Mapping[str, tuple[str, Sequence[int | str]]],
    constants: Mapping[str, Array] | None = None,
    output: str = "int64",
) -> onnx.ModelProto:
    """Nodes as operator, inputs, output `y` or another, and attributes."""
    made = [helper.make_node(kind, given, [name], **(rest[0] if rest else {})) for kind, given, name, *rest in nodes]
    return model_of(made, inputs, constants or {}, ("y", output))


def findings(model: onnx.ModelProto) -> str:
    return " | ".join(str(finding) for finding in prove(model).findings)


def many(*numbers: int, dtype: Any = np.int64) -> Array:
    """More numbers than ranges are kept for: these, and the others between the least and the largest of them."""
    return np.resize(np.asarray(numbers, dtype), (1 << 18) + 1)


WIDE = ("Cast", ["x"], "a", {"to": 7})


@pytest.mark.parametrize("divisors", [(-5, 5), (-5, -1, 1, 5), (-5, -3), (3, 5), (-7, -2, 4)])
@pytest.mark.parametrize("operator", ["Div", "Mod"])
def test_divisors_of_a_large_constant(operator: str, divisors: tuple[int, ...]) -> None:
    model = steps([WIDE, (operator, ["a", "d"], "y")], {"x": ("int16", [1])}, {"d": many(*divisors)})
    assert findings(model) == ""
    for x in (-32768, 32767, -1, 0):
        assert_inside(model, {"x": np.asarray([x])})
    ends = Walk(model).run()["y"]
    if operator == "Div":
        exact = [int(x / d) for x in (-32768, 32767) for d in divisors]
        assert (ends.least, ends.largest) == (min(exact), max(exact))


@pytest.mark.parametrize("divisors", [(-1,), (-3, -1), (-3, -1, 2), (-1, 1)])
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("operator", ["Div", "Mod"])
def test_the_least_number_by_minus_one(operator: str, large: bool, divisors: tuple[int, ...]) -> None:
    for dtype in (np.int32, np.int64):
        name, least = np.dtype(dtype).name, np.iinfo(dtype).min

        def model(*numbers: int, dtype: Any = dtype, name: str = name) -> onnx.ModelProto:
            d = many(*numbers, dtype=dtype) if large else np.asarray(numbers, dtype)
            return steps([(operator, ["x", "d"], "y")], {"x": (name, [1])}, {"d": d}, name)

        expected = f"..{-least}" if operator == "Div" else "the least number modulo -1 traps"
        assert expected in findings(model(*divisors))
        assert findings(model(*(-2 if d == -1 else d for d in divisors))) == ""


@pytest.mark.parametrize("operator", ["Div", "Mod"])
def test_a_zero_in_a_large_constant(operator: str) -> None:
    model = steps([WIDE, (operator, ["a", "d"], "y")], {"x": ("int8", [1])}, {"d": many(-2, 0, 2)})
    assert "the divisor can be 0" in findings(model)


def test_the_least_number_of_a_large_constant_has_no_opposite() -> None:
    model = steps([("Neg", ["d"], "n"), ("Add", ["n", "x"], "y")], {"x": ("int64", [1])}, {"d": many(INT64.min, 5)})
    assert "Neg: expected int64" in findings(model)


def test_sums_that_a_double_does_not_hold() -> None:
    """ONNX Runtime 1.32 adds int64 in double precision, and 1.23 did not."""

    def model(largest: int) -> onnx.ModelProto:
        nodes: list[Step] = [WIDE, ("Add", ["a", "c"], "b"), ("ReduceSum", ["b", "axes"], "y")]
        constants = {"c": np.asarray([largest - 2**53, 2**52 - 127, 2**52 - 127]), "axes": np.asarray([0])}
        return steps(nodes, {"x": ("int8", [3])}, constants)

    assert findings(model(2**53 - 127)) == ""
    assert_inside(model(2**53 - 127), {"x": np.asarray([127, 127, 127])})
    assert "expected at most 2^53" in findings(model(2**53 - 126))


@pytest.mark.parametrize("keep", [0, 1])
def test_sums_of_constants_that_leave_int64(keep: int) -> None:
    """Their sum is a number that numpy holds as uint64."""
    nodes: list[Step] = [("ReduceSum", ["c"], "s", {"keepdims": keep}), ("Max", ["s", "x"], "y")]
    assert "ReduceSum: expected int64" in findings(
        steps(nodes, {"x": ("int64", [1])}, {"c": np.asarray([2**62, 2**62])})
    )


def test_shifts_by_a_large_table() -> None:
    """A shift that is looked up is an index of the table of powers."""
    constants = {"table": many(1, 64), "powers": 2 ** np.arange(63)}
    nodes: list[Step] = [WIDE, ("Gather", ["table", "a"], "e"), ("Gather", ["powers", "e"], "y")]
    assert "the index is in 1..64, expected 0..62" in findings(steps(nodes, {"x": ("uint8", [1])}, constants))
    constants["table"] = many(1, 62)
    model = steps(nodes, {"x": ("uint8", [1])}, constants)
    assert findings(model) == ""
    assert_inside(model, {"x": np.asarray([200])})


def test_numbers_of_a_large_table_of_bytes() -> None:
    """128 more than a byte is no byte."""
    nodes: list[Step] = [
        ("Cast", ["x"], "i", {"to": 7}),
        ("Gather", ["table", "i"], "g"),
        ("MatMulInteger", ["g", "w", "zero"], "y"),
    ]
    constants = {"table": many(-128, 127, dtype=np.int8), "w": np.ones((2, 1), np.int8), "zero": np.int8(-128)}
    model = steps(nodes, {"x": ("uint8", [1, 2])}, constants, "int32")
    assert findings(model) == ""
    assert Walk(model).run()["y"].largest == 2 * 255
    assert_inside(model, {"x": np.asarray([[1, 1]])})


def test_differences_that_leave_int64_are_not_overlooked() -> None:
    """Of two numbers, whose difference was computed in int64 and became 1."""
    nodes: list[Step] = [
        ("Cast", ["x"], "i", {"to": 7}),
        ("Gather", ["table", "i"], "g"),
        ("ReduceMax", ["g", "axes"], "m"),
        ("Sub", ["g", "m"], "y"),
    ]
    constants = {"table": np.asarray([INT64.min, INT64.max]), "axes": np.asarray([0])}
    assert "Sub: expected int64" in findings(steps(nodes, {"x": ("bool", [2])}, constants))


# -- shapes


def flat_rows(shapes: Mapping[str, Sequence[int | str]]) -> onnx.ModelProto:
    """x + z as as many rows as x has, and the sums of these rows."""
    nodes: list[Step] = [
        ("Cast", ["x"], "a", {"to": 6}),
        ("Cast", ["z"], "b", {"to": 6}),
        ("Add", ["a", "b"], "s"),
        ("Shape", ["x"], "rows", {"end": 1}),
        ("Concat", ["rows", "rest"], "shape", {"axis": 0}),
        ("Reshape", ["s", "shape"], "r"),
        ("ReduceSum", ["r", "axes"], "y"),
    ]
    inputs = {name: ("int16", shape) for name, shape in shapes.items()}
    return steps(nodes, inputs, {"rest": np.asarray([-1]), "axes": np.asarray([1])}, "int32")


def test_dimensions_of_one_name_are_not_taken_to_be_equal() -> None:
    """ONNX Runtime does not compare them: x of one row and z of many are added, into one long row."""
    assert "not known" in findings(flat_rows({"x": ["n", 8], "z": ["n", 8]}))
    assert findings(flat_rows({"x": [4, 8], "z": [4, 8]})) == ""


def test_dimensions_that_nobody_knows_are_not_taken_to_be_equal() -> None:
    nodes: list[Step] = [
        ("Cast", ["x"], "a", {"to": 6}),
        ("Slice", ["x", "from", "to"], "part"),
        ("Slice", ["a", "from", "end"], "most"),
        ("Shape", ["part"], "rows", {"end": 1}),
        ("Concat", ["rows", "rest"], "shape", {"axis": 0}),
        ("Reshape", ["most", "shape"], "r"),
        ("ReduceSum", ["r", "axes"], "y"),
    ]
    constants = {
        "from": np.asarray([0]),
        "to": np.asarray([1]),
        "end": np.asarray([INT64.max]),
        "rest": np.asarray([-1]),
        "axes": np.asarray([1]),
    }
    assert "not known" in findings(steps(nodes, {"x": ("int16", ["n", 8])}, constants, "int32"))


def test_a_dimension_of_zero_is_that_of_the_input() -> None:
    """With no rows, the second dimension of the target is the 8 columns of the input, and all of them are sums of
    nothing, by which something is divided."""
    nodes: list[Step] = [
        ("Cast", ["x"], "a", {"to": 7}),
        ("Shape", ["x"], "rows", {"end": 1}),
        ("Concat", ["rest", "rows"], "shape", {"axis": 0}),
        ("Reshape", ["a", "shape"], "r"),
        ("Max", ["r", "one"], "m"),
        ("ReduceSum", ["m", "axes"], "s", {"keepdims": 0}),
        ("Div", ["one", "s"], "y"),
    ]
    constants = {"rest": np.asarray([-1]), "axes": np.asarray([0]), "one": np.asarray(1)}
    assert "not known" in findings(steps(nodes, {"x": ("int8", ["n", 8])}, constants))


def test_the_maximum_of_nothing() -> None:
    """It is the least number, which has no opposite."""
    nodes: list[Step] = [WIDE, ("ReduceMax", ["a", "axes"], "m"), ("Neg", ["m"], "y")]
    constants = {"axes": np.asarray([1])}
    assert "Neg: expected int64" in findings(steps(nodes, {"x": ("int8", [2, "n"])}, constants))
    assert findings(steps(nodes, {"x": ("int8", ["n", 2])}, constants)) == ""


def test_a_dimension_may_be_any_number() -> None:
    """Of a tensor without elements."""
    nodes: list[Step] = [("Shape", ["x"], "s"), ("Mul", ["s", "four"], "y")]
    assert "Mul: expected int64" in findings(steps(nodes, {"x": ("int8", ["n", 0])}, {"four": np.asarray(2**40)}))


def test_dimensions_in_another_type_are_no_dimensions() -> None:
    """Joined dimensions were int64 whatever they had been cast to."""
    nodes: list[Step] = [
        ("Shape", ["x"], "s"),
        ("Cast", ["s"], "a", {"to": 6}),
        ("Concat", ["a", "a"], "b", {"axis": 0}),
        ("Mul", ["b", "b"], "y"),
    ]
    assert "Mul: expected int32" in findings(steps(nodes, {"x": ("int8", [70_000, 0])}, {}, "int32"))


def test_numbers_of_a_range_have_its_type() -> None:
    nodes: list[Step] = [("Range", ["from", "to", "step"], "r"), ("Mul", ["r", "r"], "p"), ("Add", ["p", "x"], "y")]
    constants = {name: np.asarray(n, np.int32) for name, n in (("from", 70_000), ("to", 70_002), ("step", 1))}
    assert "Mul: expected int32" in findings(steps(nodes, {"x": ("int32", [1])}, constants, "int32"))


def test_a_range_whose_length_wraps_around() -> None:
    nodes: list[Step] = [("Range", ["from", "to", "step"], "r"), ("Min", ["r", "x"], "y")]
    ends = (("from", -(2**31)), ("to", 2**31 - 1), ("step", 2**10))
    constants = {name: np.asarray(n, np.int32) for name, n in ends}
    assert "expected at most 2147483647 from" in findings(steps(nodes, {"x": ("int32", [1])}, constants, "int32"))


def test_constants_in_a_shape_that_is_not_known() -> None:
    """Both ends of the range were the least number."""
    nodes: list[Step] = [
        ("Shape", ["x"], "rows", {"end": 1}),
        ("Concat", ["rows", "rest"], "shape", {"axis": 0}),
        ("Reshape", ["c", "shape"], "y"),
    ]
    constants = {"rest": np.asarray([-1]), "c": np.asarray([1, 2, 3, 4, 5, 600])}
    model = steps(nodes, {"x": ("int8", ["n"])}, constants)
    assert Walk(model).run()["y"].largest == 600
    assert_inside(model, {"x": np.asarray([1, 2])})


def test_products_of_batches_that_are_repeated() -> None:
    """One batch times 40,000 has 40,000, whose sum leaves int32."""
    nodes: list[Step] = [("MatMulInteger", ["x", "z"], "p"), ("ReduceSum", ["p", "axes"], "y")]
    inputs: dict[str, tuple[str, Sequence[int | str]]] = {"x": ("int8", [1, 1, 8]), "z": ("int8", [40_000, 8, 1])}
    assert "ReduceSum: expected int32" in findings(steps(nodes, inputs, {"axes": np.asarray([0])}, "int32"))


@pytest.mark.parametrize(("largest", "proven"), [(64, True), (65, False)])
def test_products_of_bytes_that_saturate(largest: int, proven: bool) -> None:
    """Unsigned by signed bytes, two at a time in 16 bits, on processors without VNNI."""
    weight = np.full((8, 1), largest, np.int8)
    model = steps([("MatMulInteger", ["x", "w"], "y")], {"x": ("uint8", [1, 8])}, {"w": weight}, "int32")
    assert prove(model).proven is proven
    assert proven or "expected int16" in findings(model)


def test_parts() -> None:
    nodes = [
        helper.make_node("Split", ["a", "sizes"], ["first", "second"], axis=1),
        helper.make_node("Sub", ["first", "second"], ["y"]),
    ]
    cast = helper.make_node("Cast", ["x"], ["a"], to=7)
    model = model_of([cast, *nodes], {"x": ("int8", ["n", 4])}, {"sizes": np.asarray([2, 2])}, ("y", "int64"))
    assert findings(model) == ""
    assert_inside(model, {"x": np.asarray([[1, 2, 127, -128]])})
    del model.graph.node[1].input[1]
    model.graph.node[1].attribute.append(helper.make_attribute("num_outputs", 2))
    assert findings(model) == ""
    assert Walk(model).run()["second"].shape[1] == 2
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 5
    assert "expected a dimension of 2 equal parts, found 5" in findings(model)


def test_a_transpose_of_fewer_axes() -> None:
    """ONNX Runtime leaves it out before the largest of all elements, and the model runs."""
    nodes: list[Step] = [("Transpose", ["x"], "t", {"perm": [1, 0]}), ("ReduceMax", ["t"], "y", {"keepdims": 0})]
    assert "expected perm with 3 axes, found 2" in findings(steps(nodes, {"x": ("int8", [2, 3, 4])}, output="int8"))
    assert findings(steps(nodes, {"x": ("int8", [2, 3])}, output="int8")) == ""
