"""IntMlpAdd, IntTableMlpAdd: the feed-forward half of a transformer block with its residual connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onnxscript import script

from ivit_onnx.opset._activation import SHIFT_ACTIVATION, TABLE_ACTIVATION, ActivationFunction
from ivit_onnx.opset._compose import OpenStep, filled
from ivit_onnx.opset._spec import IVIT, Operator, Tensor, activation, op
from ivit_onnx.opset._variants import then_norm
from ivit_onnx.opset.int_linear import INT_LINEAR, INT_LINEAR_ADD, IntLinear, IntLinearAdd, linear_inputs
from ivit_onnx.opset.requantize import scale_inputs

__all__ = ["OPERATORS", "mlp_operator"]

#: fc1 has so many inputs, and fc2 with the residual connection.
_FC1, _FC2_AND_RESIDUAL = 4, 8


@script(IVIT, default_opset=op)
def MlpAdd(
    x,
    residual,
    fc1_weight,
    fc1_bias,
    fc1_multiplier,
    fc1_shift,
    fc2_weight,
    fc2_bias,
    fc2_multiplier,
    fc2_shift,
    branch_multiplier,
    branch_shift,
    residual_multiplier,
    residual_shift,
):
    """IntMlpAdd, the activation function left open."""
    hidden = IntLinear(x, fc1_weight, fc1_bias, fc1_multiplier, fc1_shift)
    activated = OpenStep(hidden)
    y = IntLinearAdd(
        activated,
        residual,
        fc2_weight,
        fc2_bias,
        fc2_multiplier,
        fc2_shift,
        branch_multiplier,
        branch_shift,
        residual_multiplier,
        residual_shift,
    )
    return y


def mlp_add(
    linear: Callable[..., Any],
    function: Callable[..., Any],
    linear_add: Callable[..., Any],
    x: Any,
    residual: Any,
    *constants: Any,
    **attributes: int,
) -> Any:
    """IntMlpAdd by implementations of IntLinear, the activation function and IntLinearAdd."""
    hidden = linear(x, *constants[:_FC1])
    activated = function(hidden, *constants[_FC1:-_FC2_AND_RESIDUAL], **attributes)
    return linear_add(activated, residual, *constants[-_FC2_AND_RESIDUAL:])


def mlp_operator(name: str, function: ActivationFunction) -> Operator:
    """The feed-forward operator `name` with an activation function."""
    signature = (
        activation("x", "int8", "[.., C]", "normalised tokens, scale s_x"),
        activation("residual", "int16", "[.., C]", "residual stream, scale s_r"),
        linear_inputs("fc1_", "s_x", "s_h", "C", "H"),
        function.input,
        linear_inputs("fc2_", "s_g", "s_b", "H", "C"),
        scale_inputs("branch_", "[]", "s_b / s_y"),
        scale_inputs("residual_", "[]", "s_r / s_y"),
    )
    doc = f"Feed-forward block: linear, {function.called}, linear to int16, residual connection."
    return Operator(
        function=filled(MlpAdd, function.body, name, doc, signature, function.attributes),
        compute=mlp_add,
        uses=(INT_LINEAR, function, INT_LINEAR_ADD),
        summary=f"Feed-forward block: linear, {function.described}, linear, residual connection.",
        formula=f"y = IntLinearAdd({function.formula.format('IntLinear(x, fc1)')}, residual, fc2)",
        signature=signature,
        outputs=(Tensor("y", "int16", "[.., C]", "residual stream, scale s_y"),),
        attributes=function.attributes,
        composite=True,
        base="IntMlpAdd",
        parts=function.parts,
    )


_NORM_DOC = "Feed-forward block, residual connection, and the normalisation of the residual stream that follows it."

INT_MLP_ADD = mlp_operator("IntMlpAdd", SHIFT_ACTIVATION)
INT_TABLE_MLP_ADD = mlp_operator("IntTableMlpAdd", TABLE_ACTIVATION)

OPERATORS = (
    INT_MLP_ADD,
    then_norm(
        INT_MLP_ADD,
        "IntMlpAddNorm",
        summary="Feed-forward block, residual connection and the normalisation after it.",
        doc=_NORM_DOC,
    ),
    INT_TABLE_MLP_ADD,
    then_norm(
        INT_TABLE_MLP_ADD,
        "IntTableMlpAddNorm",
        summary="Feed-forward block with GELU by table, residual connection and the normalisation after it.",
        doc=_NORM_DOC,
    ),
)
