"""The interpreter of exact integers against ONNX Runtime, operator by operator, and how it reads a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from exact import FloatError, Interpreter, NotKnownError
from proofs import model_of

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
X = RNG.integers(-100, 100, (2, 4, 6, 4)).astype(np.int32)
BYTES = X.astype(np.uint8)
PLACES = np.stack([RNG.permutation(6)[:3] for _ in range(32)]).reshape(2, 4, 4, 3).transpose(0, 1, 3, 2)
UPDATES = RNG.integers(-9, 9, (2, 4, 3, 4)).astype(np.int32)
KERNEL = RNG.integers(0, 255, (6, 2, 3, 2)).astype(np.uint8)

#: Operator, its data, its other inputs, its attributes.
CALLS: list[tuple[str, Array, list[Array], dict[str, Any]]] = [
    ("Tile", X, [np.array([1, 2, 1, 3])], {}),
    ("Trilu", X.astype(np.int64), [np.array(1)], {"upper": 0}),
    ("Trilu", X.astype(np.int64), [np.array(-1)], {}),
    ("GatherElements", X, [PLACES - 6], {"axis": 2}),
    ("GatherND", X, [RNG.integers(0, 2, (3, 5, 2))], {}),
    ("GatherND", X, [RNG.integers(0, 4, (2, 5, 2))], {"batch_dims": 1}),
    *[
        ("ScatterElements", X, [PLACES, UPDATES], {"axis": 2, "reduction": reduction})
        for reduction in ("none", "add", "mul", "max", "min")
    ],
    *[
        ("ScatterND", X, [np.array([[0, 1], [1, 3]]), X[:, 0]], {"reduction": reduction})
        for reduction in ("none", "add", "mul", "max", "min")
    ],
    *[("Pad", X, [np.array([0, 1, 2, 0, 1, 0, 1, 3])], {"mode": mode}) for mode in ("constant", "edge", "reflect")],
    ("Pad", X, [np.array([0, 1, -2, 0, 1, 0, -1, 3]), np.int32(7)], {}),
    ("Pad", X, [np.array([1, 2]), np.int32(7), np.array([-1])], {}),
    ("Clip", X, [np.int32(-5), np.int32(50)], {}),
    ("BitShift", X.astype(np.uint32), [np.uint32(5)], {"direction": "LEFT"}),
    ("BitShift", X.astype(np.uint32), [np.uint32(5)], {"direction": "RIGHT"}),
    *[(kind, X, [np.int32(-77)], {}) for kind in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")],
    ("BitwiseNot", X, [], {}),
    ("BitwiseNot", BYTES, [], {}),
    ("ConvInteger", BYTES, [KERNEL], {"group": 2, "strides": [2, 1], "pads": [1, 0, 2, 1], "dilations": [1, 2]}),
    ("ConvInteger", BYTES, [KERNEL, np.uint8(9), np.uint8(3)], {"group": 2, "pads": [1, 1, 1, 1]}),
    ("MatMulInteger", BYTES, [RNG.integers(0, 255, (4, 3)).astype(np.uint8), np.uint8(9), np.uint8(3)], {}),
    ("MatMul", X, [np.ones((4, 3), np.int32)], {}),
    ("Slice", X, [np.array([-1]), np.array([-(2**40)]), np.array([2]), np.array([-2])], {}),
    ("Slice", X, [np.array([1, -3]), np.array([2**40, -1])], {}),
    ("Split", X, [np.array([6])], {"axis": 2}),
    ("Gather", X, [np.array([[0, -1], [1, 1]])], {"axis": -1}),
    ("Concat", X, [X[..., :1]], {"axis": -1}),
    ("Transpose", X, [], {"perm": [3, 1, 0, 2]}),
    ("Transpose", X, [], {}),
    ("Flatten", X, [], {"axis": -1}),
    ("Reshape", X, [np.array([0, -1, 12])], {}),
    ("Reshape", X[:0], [np.array([0, 3])], {"allowzero": 1}),
    ("Expand", X[..., :1], [np.array([3, 1, 1, 1, 5])], {}),
    ("Squeeze", X[..., :1], [np.array([-1])], {}),
    ("Unsqueeze", X, [np.array([0, -1])], {}),
    ("Shape", X, [], {"start": -3, "end": -1}),
    ("Size", X, [], {}),
    *[(kind, X, [np.int32(divisor)], {}) for kind in ("Div", "Mod") for divisor in (7, -7)],
    *[(kind, X, [X[:1]], {}) for kind in ("Add", "Sub", "Mul", "Min", "Max")],
    *[(kind, X, [X[:1]], {}) for kind in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal")],
    *[(kind, X > 0, [X[:1] > 5], {}) for kind in ("And", "Or", "Xor")],
    ("Not", X > 0, [], {}),
    ("Where", X > 0, [X, X[:1]], {}),
    ("Cast", X, [], {"to": onnx.TensorProto.BOOL}),
    *[(kind, X, [], {}) for kind in ("Neg", "Abs", "Sign", "Identity")],
    *[(kind, X, [np.array([-1, 0])], {"keepdims": 0}) for kind in ("ReduceSum", "ReduceMax", "ReduceMin")],
    *[(kind, X[:0], [np.array([0])], {}) for kind in ("ReduceSum", "ReduceMax", "ReduceMin")],
    ("ReduceSum", X, [np.array([], np.int64)], {"noop_with_empty_axes": 1}),
    ("ConstantOfShape", np.array([2, 3]), [], {"value": numpy_helper.from_array(np.array([7], np.int16))}),
]


@pytest.mark.parametrize(("kind", "x", "others", "attributes"), CALLS, ids=[f"{c[0]}-{i}" for i, c in enumerate(CALLS)])
def test_operators_give_what_onnx_runtime_gives(
    kind: str, x: Array, others: list[Array], attributes: dict[str, Any]
) -> None:
    constants = {f"c{index}": np.asarray(array) for index, array in enumerate(others)}
    node = helper.make_node(kind, ["x", *constants], ["y"], **attributes)
    model = model_of([node], {"x": (str(x.dtype), x.shape)}, constants, ("y", "int32"))
    model.graph.output[0].type.Clear()
    (wanted,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    interpreter = Interpreter(model)
    found = interpreter.run({"x": x})["y"]
    assert found.dtype == str(wanted.dtype)
    assert found.array.shape == wanted.shape
    assert np.array_equal(found.array, wanted.astype(object))
    assert not interpreter.departures


DEPARTURES = {
    "sum": ("Add", 2**31 - 1, 1),
    "product": ("Mul", -(2**16), 2**16),
    "least by -1": ("Div", -(2**31), -1),
    "least modulo -1": ("Mod", -(2**31), -1),
    "divisor of 0": ("Div", 5, 0),
    "negation": ("Neg", -(2**31), None),
    "index": ("Gather", 3, 7),
}


@pytest.mark.parametrize("name", DEPARTURES)
def test_departures_are_seen(name: str) -> None:
    """Numbers that leave their type, divisors of 0, indices outside; the integer itself stays exact."""
    kind, a, b = DEPARTURES[name]
    constants = {} if b is None else {"b": np.asarray([b], np.int32)}
    model = model_of(
        [helper.make_node(kind, ["x", *constants], ["y"])], {"x": ("int32", [1])}, constants, ("y", "int32")
    )
    interpreter = Interpreter(model)
    found = interpreter.run({"x": np.asarray([a], np.int32)})["y"].array.item()
    assert len(interpreter.departures) == 1
    exact = {"sum": 2**31, "product": -(2**32), "least by -1": 2**31, "negation": 2**31}
    assert found == exact.get(name, found)


def test_floats_are_seen() -> None:
    """Values of floating point, and operators that compute in it with integers on both sides."""
    for node in (
        helper.make_node("Cast", ["x"], ["y"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mod", ["x", "c"], ["y"], fmod=1),
        helper.make_node("ConstantOfShape", ["x"], ["y"]),
        helper.make_node("Constant", [], ["y"], value_float=1.0),
    ):
        model = model_of([node], {"x": ("int64", [1])}, {"c": np.asarray([3])}, ("y", "int64"))
        with pytest.raises(FloatError):
            Interpreter(model).run({"x": np.asarray([1])})
    for kind in ("Pow", "Resize", "Softmax"):
        model = model_of([helper.make_node(kind, ["x"], ["y"])], {"x": ("int64", [1])}, {}, ("y", "int64"))
        with pytest.raises(NotKnownError):
            Interpreter(model).run({"x": np.asarray([1])})


def test_reads_as_onnx_runtime_reads() -> None:
    """A Constant has its first attribute, an operator of ONNX hides a function,
    an attribute that stands twice inside a function has its last value, nodes need no order."""
    first = helper.make_node("Constant", [], ["c"], value_int=5)
    first.attribute.append(helper.make_attribute("value_int", 6))
    twice = helper.make_node("Concat", ["a", "b"], ["joined"], axis=0)
    twice.attribute.append(helper.make_attribute("axis", 1))
    body = [twice, helper.make_node("ReduceSum", ["joined", "axes"], ["r"], keepdims=0)]
    body.insert(0, helper.make_node("Constant", [], ["axes"], value_ints=[1]))
    nodes = [
        helper.make_node("Add", ["joined", "c"], ["y"]),
        helper.make_node("Joined", ["x", "x"], ["joined"], domain="ivit"),
        first,
    ]
    model = model_of(nodes, {"x": ("int64", [2, 3])}, {}, ("y", "int64"))
    del model.functions[:]
    imports = [helper.make_opsetid("", 13)]
    model.functions.append(helper.make_function("ivit", "Joined", ["a", "b"], ["r"], body, imports))
    hidden = [helper.make_node("Sub", ["a", "b"], ["r"])]
    model.functions.append(helper.make_function("", "Add", ["a", "b"], ["r"], hidden, imports))
    x = np.arange(6).reshape(2, 3)
    (wanted,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    assert wanted.tolist() == [11, 29]
    assert np.array_equal(Interpreter(model).run({"x": x})["y"].array, wanted)
