"""The closed list of operators that compute in integers: each on integers that no float holds, and what is not in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from ivit_onnx.float_audit import audit
from ivit_onnx.integer_operators import INTEGER_OPERATORS
from proofs import model_of

Array = np.ndarray[Any, Any]


def run(model: onnx.ModelProto, inputs: dict[str, Array]) -> Array:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, inputs)[0])


def one(operator: str, dtype: str, *shapes: list[int], output: str = "", **attributes: Any) -> onnx.ModelProto:
    """One node on inputs of one type."""
    names = [f"x{index}" for index in range(len(shapes))]
    node = helper.make_node(operator, names, ["y"], **attributes)
    return model_of([node], {n: (dtype, s) for n, s in zip(names, shapes, strict=True)}, {}, ("y", output or dtype))


#: Odd, above 2^53 and close to each other: as doubles, and all the more as floats, they would be even or the same.
LARGE = {
    "int64": [2**62 + 1, -(2**61) - 3, 2**53 + 1, -(2**53) - 1, 2**62 + 3],
    "int32": [2**30 + 1, -(2**29) - 3, 2**24 + 1, -(2**24) - 1, 2**30 + 3],
    "uint64": [2**63 + 1, 2**63 + 3, 2**53 + 1, 2**53 + 3, 2**62 + 1],
    "bool": [True, False, True, True, False],
}


def divided(a: int, b: int) -> int:
    quotient = abs(a) // abs(b)
    return -quotient if (a < 0) != (b < 0) else quotient


BINARY: dict[str, tuple[str, Callable[[Any, Any], Any], str]] = {
    "Add": ("int64", lambda a, b: a + (b >> 2), "int64"),
    "Sub": ("int64", lambda a, b: a - (b >> 2), "int64"),
    "Mul": ("int64", lambda a, b: a * ((b >> 62) or 1), "int64"),
    "Div": ("int64", lambda a, b: divided(a, (b >> 55) or 3), "int64"),
    "Mod": ("int64", lambda a, b: a % ((b >> 5) or 3), "int64"),
    "Max": ("int64", max, "int64"),
    "Min": ("int64", min, "int64"),
    "Greater": ("int64", lambda a, b: a > b, "bool"),
    "GreaterOrEqual": ("int64", lambda a, b: a >= b, "bool"),
    "Less": ("int64", lambda a, b: a < b, "bool"),
    "LessOrEqual": ("int64", lambda a, b: a <= b, "bool"),
    "Equal": ("int64", lambda a, b: a == b, "bool"),
    "BitwiseAnd": ("int64", lambda a, b: a & b, "int64"),
    "BitwiseOr": ("int64", lambda a, b: a | b, "int64"),
    "BitwiseXor": ("int64", lambda a, b: a ^ b, "int64"),
    "And": ("bool", lambda a, b: a and b, "bool"),
    "Or": ("bool", lambda a, b: a or b, "bool"),
    "Xor": ("bool", lambda a, b: a != b, "bool"),
}
#: What the second operand of BINARY is made of, so that results fit.
OPERANDS: dict[str, Callable[[Any], Any]] = {
    "Add": lambda b: b >> 2,
    "Sub": lambda b: b >> 2,
    "Mul": lambda b: (b >> 62) or 1,
    "Div": lambda b: (b >> 55) or 3,
    "Mod": lambda b: (b >> 5) or 3,
}
UNARY: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "Abs": ("int64", abs),
    "Neg": ("int64", lambda a: -a),
    "Sign": ("int64", lambda a: (a > 0) - (a < 0)),
    "BitwiseNot": ("int64", lambda a: ~a),
    "Not": ("bool", lambda a: not a),
}
REDUCE: dict[str, Callable[[Any], Any]] = {"ReduceMax": max, "ReduceMin": min, "ReduceSum": sum}


@pytest.mark.parametrize("operator", BINARY)
def test_of_two(operator: str) -> None:
    dtype, function, output = BINARY[operator]
    a = LARGE[dtype]
    b = [*a[1:], a[0]]
    operand = OPERANDS.get(operator, lambda b: b)
    model = one(operator, dtype, [5], [5], output=output)
    found = run(model, {"x0": np.asarray(a, dtype), "x1": np.asarray([operand(n) for n in b], dtype)})
    assert found.tolist() == [function(x, y) for x, y in zip(a, b, strict=True)]
    assert audit(model).findings == ()


@pytest.mark.parametrize("operator", UNARY)
def test_of_one(operator: str) -> None:
    dtype, function = UNARY[operator]
    model = one(operator, dtype, [5])
    assert run(model, {"x0": np.asarray(LARGE[dtype], dtype)}).tolist() == [function(x) for x in LARGE[dtype]]
    assert audit(model).findings == ()


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("operator", REDUCE)
def test_of_all(operator: str, dtype: str) -> None:
    numbers = [n >> 2 for n in LARGE[dtype]]
    if operator == "ReduceSum":  # exact up to 2^53, in newer versions
        numbers = [n >> 12 for n in LARGE[dtype]]
    model = one(operator, dtype, [5], keepdims=0)
    assert run(model, {"x0": np.asarray(numbers, dtype)}).tolist() == REDUCE[operator](numbers)
    assert audit(model).findings == ()


def test_others() -> None:
    a = LARGE["int64"]
    clip = model_of(
        [helper.make_node("Clip", ["x", "low", "high"], ["y"])],
        {"x": ("int64", [5])},
        {"low": np.asarray(-(2**53) - 1), "high": np.asarray(2**62 + 1)},
        ("y", "int64"),
    )
    assert run(clip, {"x": np.asarray(a)}).tolist() == [min(max(n, -(2**53) - 1), 2**62 + 1) for n in a]
    cast = one("Cast", "int64", [5], output="int32", to=TensorProto.INT32)
    assert run(cast, {"x0": np.asarray(a) >> 32}).tolist() == [n >> 32 for n in a]
    wide = one("Cast", "int32", [5], output="int64", to=TensorProto.INT64)
    assert run(wide, {"x0": np.asarray(LARGE["int32"], np.int32)}).tolist() == LARGE["int32"]
    shift = one("BitShift", "uint64", [5], [5], direction="RIGHT")
    ones = np.ones(5, np.uint64)
    assert run(shift, {"x0": np.asarray(LARGE["uint64"], np.uint64), "x1": ones}).tolist() == [
        n >> 1 for n in LARGE["uint64"]
    ]
    numbers = model_of(
        [helper.make_node("Range", ["from", "to", "step"], ["y"])],
        {},
        {"from": np.asarray(2**53 + 1), "to": np.asarray(2**53 + 8), "step": np.asarray(2)},
        ("y", "int64"),
    )
    assert run(numbers, {}).tolist() == list(range(2**53 + 1, 2**53 + 8, 2))
    for model in (clip, cast, wide, shift, numbers):
        assert audit(model).findings == ()


def test_products_of_bytes() -> None:
    """Sums above 2^24, which a float would round."""
    inner = 2**11
    x, w = np.full((1, inner), -127, np.int8), np.full((inner, 1), -127, np.int8)
    w[0] = -126
    model = one("MatMulInteger", "int8", [1, inner], [inner, 1], output="int32")
    assert run(model, {"x0": x, "x1": w}).tolist() == [[127 * 127 * inner - 127]]
    image = np.full((1, inner, 1, 1), 255, np.uint8)
    kernel = np.full((1, inner, 1, 1), 255, np.uint8)
    kernel[0, 0] = 254
    convolution = one("ConvInteger", "uint8", [1, inner, 1, 1], [1, inner, 1, 1], output="int32")
    assert run(convolution, {"x0": image, "x1": kernel}).tolist() == [[[[255 * 255 * inner - 255]]]]


def test_every_operator_that_computes_is_here() -> None:
    here = {*BINARY, *UNARY, *REDUCE, "Clip", "Cast", "BitShift", "Range", "MatMulInteger", "ConvInteger"}
    moving = {
        *("Concat", "Constant", "ConstantOfShape", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements"),
        *("GatherND", "Identity", "Pad", "Reshape", "ScatterElements", "ScatterND", "Shape", "Size", "Slice"),
        *("SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where"),
    }
    assert here | moving == INTEGER_OPERATORS.keys()


# -- not in the list


def resize() -> onnx.ModelProto:
    node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="linear")
    sizes = {"sizes": np.asarray([1, 1, 2, 4])}
    return model_of([node], {"x": ("int8", [1, 1, 2, 2])}, sizes, ("y", "int8"))


def cast_like() -> onnx.ModelProto:
    nodes = [helper.make_node("CastLike", ["x", "like"], ["y"])]
    return model_of(nodes, {"x": ("int8", [1])}, {"like": np.zeros(1, np.int32)}, ("y", "int32"))


def remainder() -> onnx.ModelProto:
    return one("Mod", "int64", [1], [1], fmod=1)


NOT_KNOWN: dict[str, Callable[[], onnx.ModelProto]] = {
    "Pow": lambda: one("Pow", "int64", [1], [1]),
    "ReduceMean": lambda: one("ReduceMean", "int64", [2], keepdims=0),
    "ReduceL2": lambda: one("ReduceL2", "int64", [2], keepdims=0),
    "MatMul": lambda: one("MatMul", "int64", [2, 2], [2, 2]),
    "CumSum": lambda: one("CumSum", "int32", [2], [1]),
    "Resize": resize,
    "CastLike": cast_like,
    "Mod": remainder,
}


@pytest.mark.parametrize("operator", NOT_KNOWN)
def test_what_is_not_in_the_list_is_a_finding(operator: str) -> None:
    findings = audit(NOT_KNOWN[operator]()).findings
    assert any(f"{operator} 'y': not known to compute in integers" in finding for finding in findings), findings


def test_a_softmax_that_hides_in_a_function() -> None:
    """ConstantOfShape makes a float without naming one, and the function imports another operator set."""
    body = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("ConstantOfShape", ["s"], ["like"]),
        helper.make_node("CastLike", ["x", "like"], ["f"]),
        helper.make_node("Softmax", ["f"], ["p"]),
        helper.make_node("CastLike", ["p", "x"], ["y"]),
    ]
    for version in (15, 21):
        model = model_of([helper.make_node("F", ["x"], ["y"], domain="own")], {"x": ("int8", [4])}, {}, ("y", "int8"))
        model.functions.append(helper.make_function("own", "F", ["x"], ["y"], body, [helper.make_opsetid("", version)]))
        model.opset_import.append(helper.make_opsetid("own", 1))
        findings = " | ".join(audit(model).findings)
        assert "Softmax 'p': not known to compute in integers" in findings
        assert "CastLike 'f': not known to compute in integers" in findings
        assert ("imports version 15 of operator set '', but the model version 21" in findings) == (version == 15)


def test_floats_of_constants_without_a_value() -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["f"]),
        helper.make_node("Shape", ["f"], ["y"]),
    ]
    model = model_of(nodes, {"s": ("int64", [2])}, {}, ("y", "int64"))
    assert audit(model).findings == ("value 'f' is float",)


@pytest.mark.parametrize(("domain", "operator"), [("com.microsoft", "Gelu"), ("ivit", "Unknown")])
def test_operators_that_nobody_knows(domain: str, operator: str) -> None:
    node = helper.make_node(operator, ["x"], ["y"], domain=domain)
    model = model_of([node], {"x": ("int8", [1])}, {}, ("y", "int8"))
    if domain != "ivit":
        model.opset_import.append(helper.make_opsetid(domain, 1))
    findings = audit(model).findings
    assert any(f"{operator} 'y': not known to compute in integers" in finding for finding in findings), findings
