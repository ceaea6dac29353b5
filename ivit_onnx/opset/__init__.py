"""The operator set of the domain `ivit`: one file an operator, each with its ONNX function and its numpy reference.

An operator's plain name is its common form; a suffix 16 or 32 names another output width. Output types are part of
the name because ONNX Runtime custom operators cannot take an output type from an attribute.
"""

from __future__ import annotations

from onnx import FunctionProto

from ivit_onnx.opset import (
    add_requantize,
    int_attention,
    int_layer_norm,
    int_linear,
    int_mlp,
    int_patch_embed,
    int_token_mean,
    quantize_image,
    requantize,
    shift_gelu,
    shiftmax,
)
from ivit_onnx.opset._primitives import PRIMITIVES
from ivit_onnx.opset._readable import readable
from ivit_onnx.opset._spec import DOMAIN, OPSET_VERSION, STANDARD_OPSET_VERSION, Attribute, Operator, Tensor

__all__ = [
    "DOMAIN",
    "OPERATORS",
    "OPSET_VERSION",
    "STANDARD_OPSET_VERSION",
    "Attribute",
    "Operator",
    "Tensor",
    "function_protos",
]

#: Every operator by name, finer ones before the composites that call them.
OPERATORS: dict[str, Operator] = {
    operator.name: operator
    for module in (
        requantize,
        add_requantize,
        quantize_image,
        shiftmax,
        shift_gelu,
        int_layer_norm,
        int_linear,
        int_attention,
        int_mlp,
        int_patch_embed,
        int_token_mean,
    )
    for operator in module.OPERATORS
}


def function_protos() -> list[FunctionProto]:
    """The model-local functions of the whole domain, callees before callers (as onnx.reference requires)."""
    helpers = (*PRIMITIVES, int_layer_norm.NewtonStep, int_layer_norm.Normalized)
    functions = [*helpers, *(operator.function for operator in OPERATORS.values())]
    return [readable(function.to_function_proto()) for function in functions]
