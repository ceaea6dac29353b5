"""The smallest models that say one thing to who reads the file, and do another in ONNX Runtime: one of each kind.

Each overflows for some input, is not what its bodies say, or computes in floating point, where a reader who takes an
attribute, a function, a shape or a version in another way sees integers in their range.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from cases import random_case
from proofs import model_of, operator_model

__all__ = ["FLOATS", "MISREAD"]

Model = onnx.ModelProto
node = helper.make_node


def _scaled(factor: int, *rest: onnx.NodeProto, shape: Any = ("n", 4), **constants: Any) -> Model:
    """y: int32 of int8 x, times a factor, and what else is done with `scaled`."""
    nodes = [node("Cast", ["x"], ["wide"], to=onnx.TensorProto.INT32), node("Mul", ["wide", "factor"], ["scaled"])]
    numbers = {"factor": np.asarray(factor, np.int32), **{name: np.asarray(array) for name, array in constants.items()}}
    return model_of([*nodes, *rest], {"x": ("int8", shape)}, numbers, ("y" if rest else "scaled", "int32"))


def attribute_twice() -> Model:
    first = node("Constant", [], ["c"], value=numpy_helper.from_array(np.int32(2**30)))
    first.attribute.append(helper.make_attribute("value", numpy_helper.from_array(np.int32(1))))
    return _scaled(1, first, node("Mul", ["scaled", "c"], ["y"]))


def attributes_of_two_names() -> Model:
    first = node("Constant", [], ["c"], value_int=2**62)
    first.attribute.append(helper.make_attribute("value", numpy_helper.from_array(np.int64(1))))
    model = _scaled(
        1, first, node("Cast", ["scaled"], ["long"], to=onnx.TensorProto.INT64), node("Mul", ["long", "c"], ["y"])
    )
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    return model


def function_of_a_standard_name() -> Model:
    model = _scaled(1, node("Mul", ["scaled", "c"], ["y"]), c=np.int32(2**30))
    body = [node("Identity", ["a"], ["r"])]
    model.functions.append(helper.make_function("", "Mul", ["a", "b"], ["r"], body, [*model.opset_import]))
    return model


def function_of_a_standard_name_in_the_long_domain() -> Model:
    model = function_of_a_standard_name()
    model.functions[0].domain = "ai.onnx"
    for entry in model.graph.node:
        entry.domain = "ai.onnx"
    return model


def negative_dimension() -> Model:
    return _scaled(2**23, node("ReduceSum", ["scaled", "axes"], ["y"]), shape=(-1, 4), axes=[0])


def no_shape() -> Model:
    model = _scaled(2**22, node("ReduceSum", ["scaled"], ["y"]), shape=())
    model.graph.input[0].type.tensor_type.ClearField("shape")
    return model


def one_name_for_two_sizes() -> Model:
    rest = [
        node("Shape", ["z"], ["size"]),
        node("Concat", ["size", "any"], ["rows"], axis=0),
        node("Reshape", ["scaled", "rows"], ["turned"]),
        node("ReduceSum", ["turned", "axes"], ["y"]),
    ]
    model = _scaled(2**22, *rest, any=[-1], axes=[1])
    model.graph.input.append(helper.make_tensor_value_info("z", onnx.TensorProto.INT8, ["n"]))
    return model


def older_operator() -> Model:
    """Axes that are an attribute, where a reader of the newer operator finds none and takes all."""
    rest = [node("ReduceMax", ["scaled"], ["most"], axes=[0]), node("ReduceSum", ["most", "all"], ["y"])]
    model = _scaled(2**23, *rest, shape=(8, 4), all=[0, 1])
    model.opset_import[0].version = 13
    return model


def import_twice() -> Model:
    model = older_operator()
    model.opset_import.insert(0, helper.make_opsetid("", 21))
    return model


def weight_twice() -> Model:
    """The last of two small tensors counts, and the first of two large ones."""
    model = _scaled(1, node("Mul", ["scaled", "weight"], ["y"]), shape=("n", 64), weight=np.full(64, 2**30, np.int32))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(64, np.int32), "weight"))
    return model


def weight_twice_small() -> Model:
    model = _scaled(2**30)
    model.graph.initializer.insert(0, numpy_helper.from_array(np.int32(1), "factor"))
    return model


def many_divisors() -> Model:
    """Divisors of both signs, more than are followed one by one: the quotient by 1 lies between those by 9 and -9."""
    divisors = np.full((1 << 18) + 1, 9, np.int32)
    divisors[:3] = -9, 1, -1
    rest = [node("Div", ["one", "divisors"], ["parts"]), node("Mul", ["parts", "eight"], ["wide parts"])]
    rest = [node("ReduceMax", ["scaled"], ["one"], keepdims=0), *rest, node("ReduceMax", ["wide parts"], ["y"])]
    return _scaled(2**23, *rest, shape=(1, 4), divisors=divisors, eight=np.int32(8))


def least_by_minus_one() -> Model:
    divisors = np.full((1 << 18) + 1, -1, np.int32)
    rest = [node("ReduceMax", ["scaled"], ["one"], keepdims=0), node("Div", ["one", "divisors"], ["parts"])]
    return _scaled(2**24, *rest, node("ReduceMax", ["parts"], ["y"]), shape=(1, 1), divisors=divisors)


def least_by_minus_one_in_64_bits() -> Model:
    rest = [
        node("Cast", ["scaled"], ["long"], to=onnx.TensorProto.INT64),
        node("ReduceMax", ["long"], ["one"], keepdims=0),
        node("Mul", ["one", "much"], ["wide long"]),
        node("Div", ["wide long", "divisors"], ["y"]),
    ]
    divisors = np.full((1 << 18) + 1, 9)
    divisors[:2] = -9, -1
    model = _scaled(1, *rest, shape=(1, 1), much=np.int64(2**56), divisors=divisors)
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    return model


def largest_of_nothing() -> Model:
    """Of no images it is the least number of the type."""
    rest = [node("ReduceMax", ["scaled", "axes"], ["most"], keepdims=0), node("Neg", ["most"], ["y"])]
    return _scaled(1, *rest, axes=[0])


def overload() -> Model:
    """A call of a function that the file does not have; the library's kernels take it all the same."""
    model = operator_model(random_case("Requantize", np.random.default_rng(0)))
    model.graph.node[0].overload = "another"
    return model


def operator_set_without_the_operators() -> Model:
    """Bodies that cannot run, hidden by kernels that replace them."""
    model = operator_model(random_case("IntLinear", np.random.default_rng(0)))
    for entry in model.opset_import:
        if not entry.domain:
            entry.version = 1
    return model


MISREAD: dict[str, Callable[[], Model]] = {
    make.__name__: make
    for make in (
        attribute_twice,
        attributes_of_two_names,
        function_of_a_standard_name,
        function_of_a_standard_name_in_the_long_domain,
        negative_dimension,
        no_shape,
        one_name_for_two_sizes,
        older_operator,
        import_twice,
        weight_twice,
        weight_twice_small,
        many_divisors,
        least_by_minus_one,
        least_by_minus_one_in_64_bits,
        largest_of_nothing,
        overload,
        operator_set_without_the_operators,
    )
}


def remainder_as_in_c() -> Model:
    return _scaled(1, node("Mod", ["scaled", "c"], ["y"], fmod=1), c=np.int32(7))


def power() -> Model:
    return _scaled(1, node("Pow", ["scaled", "c"], ["y"]), c=np.int32(2))


def mean() -> Model:
    return _scaled(1, node("ReduceMean", ["scaled", "axes"], ["y"]), axes=[-1])


def resized() -> Model:
    rest = [node("Shape", ["scaled"], ["shape"]), node("Resize", ["scaled", "", "", "shape"], ["y"], mode="linear")]
    return _scaled(1, *rest)


def _softmax() -> list[onnx.NodeProto]:
    return [
        node("ConstantOfShape", ["one"], ["zeros"]),
        node("CastLike", ["scaled", "zeros"], ["floating"]),
        node("Softmax", ["floating"], ["soft"]),
        node("CastLike", ["soft", "scaled"], ["y"]),
    ]


def softmax_without_a_type() -> Model:
    return _scaled(1, *_softmax(), one=[1])


def softmax_in_a_function() -> Model:
    model = _scaled(1, node("Hidden", ["scaled", "one"], ["y"], domain="ivit"), one=[1])
    del model.functions[:]
    imports = [helper.make_opsetid("", 18)]
    model.functions.append(helper.make_function("ivit", "Hidden", ["scaled", "one"], ["y"], _softmax(), imports))
    return model


FLOATS: dict[str, Callable[[], Model]] = {
    make.__name__: make
    for make in (remainder_as_in_c, power, mean, resized, softmax_without_a_type, softmax_in_a_function)
}
