"""Operators that the set does not have, of its parts: body, numpy reference and PyTorch counterpart come with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from onnxscript import script

import graphs
from cases import Case, random_case
from drawing import Draw
from graphs import single_operator_model
from ivit_onnx.opset import OPERATORS, Operator, Part, function_protos
from ivit_onnx.opset._activation import ActivationFunction
from ivit_onnx.opset._spec import IVIT, op
from ivit_onnx.opset._variants import then_norm
from ivit_onnx.opset.int_mlp import mlp_operator
from ivit_onnx.opset.requantize import REQUANTIZE, Requantize, scale_inputs
from ivit_onnx.quant.operators import implementation
from sessions import assert_equal, expected, run, session


@script(IVIT, default_opset=op)
def twice_scaled(hidden, gelu_multiplier, gelu_shift):
    """Its result has the name of a result of MlpAdd."""
    once = Requantize(op.Cast(hidden, to=6), gelu_multiplier, gelu_shift)
    y = Requantize(op.Cast(once, to=6), gelu_multiplier, gelu_shift)
    return y  # noqa: RET504 (the name counts)


def _twice(requantize: Any, x: Any, *scale: Any) -> Any:
    return requantize(requantize(x, *scale), *scale)


MLP = mlp_operator(
    "ToyMlpAdd",
    ActivationFunction(
        body=twice_scaled,
        compute=_twice,
        uses=(REQUANTIZE,),
        input=scale_inputs("gelu_", "[] or [H]", "1"),
        formula="Requantize(Requantize({}))",
        called="twice Requantize",
        described="twice Requantize",
    ),
)
#: By the operator of the set whose calls are also theirs, but for attributes that they lack and the inputs of a norm.
TOYS = {
    MLP: "IntMlpAdd",
    then_norm(MLP, "ToyMlpAddNorm", summary="Toy.", doc="Toy."): "IntMlpAdd",
    then_norm(OPERATORS["IntPixelEmbed"], "ToyPixelEmbedNorm", summary="Toy.", doc="Toy."): "IntPixelEmbed",
}


def toy_case(toy: Operator, like: str, seed: int) -> Case:
    rng = np.random.default_rng(seed)
    case = random_case(like, rng)
    stream = expected(case)
    inputs = {**case.inputs, **Draw(rng).norm("norm_", stream.shape[-1])}
    attributes = {attribute.name: case.attributes[attribute.name] for attribute in toy.attributes}
    return Case(toy.name, {tensor.name: inputs[tensor.name] for tensor in toy.inputs}, attributes)


@pytest.fixture(params=TOYS.items(), ids=lambda item: item[0].name)
def toy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Operator, str]]:
    """A toy, as if it was in the set."""
    for operator in TOYS:
        monkeypatch.setitem(OPERATORS, operator.name, operator)
    graphs._functions.cache_clear()
    yield request.param
    graphs._functions.cache_clear()


def test_a_composed_operator_computes_what_its_reference_does(toy: tuple[Operator, str]) -> None:
    for seed in range(20):
        case = toy_case(*toy, seed)
        wanted = expected(case)
        assert_equal(run(session(single_operator_model(case), kernels=False), case), wanted)
        tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in case.inputs.values()]
        found = implementation(toy[0])(*tensors, **case.attributes)
        for one, other in zip(*((r if isinstance(r, tuple) else (r,)) for r in (found, wanted)), strict=True):
            np.testing.assert_array_equal(one.numpy(), other.astype(np.int64))


def test_a_norm_adds_what_the_normalisation_reads(toy: tuple[Operator, str]) -> None:
    operator, like = toy
    if Part.NORM in operator.parts:
        y, normalized = expected(toy_case(operator, like, 3))
        assert (y.dtype, normalized.dtype) == (np.int16, np.int8)
        assert y.shape == normalized.shape
        assert operator.formula.endswith("normalized = IntLayerNorm(" + operator.outputs[0].name + ")")


def test_names_that_two_parts_have_are_kept_apart() -> None:
    """Every value of a function is written once."""
    for function in [*function_protos(), *(operator.function.to_function_proto() for operator in TOYS)]:
        written = [*function.input, *(name for node in function.node for name in node.output)]
        assert len(written) == len(set(written)), function.name
