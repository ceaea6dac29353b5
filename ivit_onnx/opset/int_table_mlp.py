"""IntTableMlpAdd: IntMlpAdd with the activation function from a table."""

from __future__ import annotations

import numpy as np
from onnxscript import script

from ivit_onnx.opset import int_layer_norm, table_gelu
from ivit_onnx.opset._spec import IVIT, Operator, Tensor, op
from ivit_onnx.opset.arithmetic import Array
from ivit_onnx.opset.int_layer_norm import IntLayerNorm, norm_inputs
from ivit_onnx.opset.int_linear import IntLinear, IntLinearAdd, linear, reference_add
from ivit_onnx.opset.int_mlp import NORMALIZED, OUTPUT, mlp_inputs
from ivit_onnx.opset.table_gelu import TableGELU

__all__ = ["OPERATORS", "IntTableMlpAdd", "IntTableMlpAddNorm"]


@script(IVIT, default_opset=op)
def IntTableMlpAdd(
    x,
    residual,
    fc1_weight,
    fc1_bias,
    fc1_multiplier,
    fc1_shift,
    gelu_table,
    fc2_weight,
    fc2_bias,
    fc2_multiplier,
    fc2_shift,
    branch_multiplier,
    branch_shift,
    residual_multiplier,
    residual_shift,
):
    """Feed-forward block: linear, TableGELU, linear to int16, residual connection."""
    hidden = IntLinear(x, fc1_weight, fc1_bias, fc1_multiplier, fc1_shift)
    activated = TableGELU(hidden, gelu_table)
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


@script(IVIT, default_opset=op)
def IntTableMlpAddNorm(
    x,
    residual,
    fc1_weight,
    fc1_bias,
    fc1_multiplier,
    fc1_shift,
    gelu_table,
    fc2_weight,
    fc2_bias,
    fc2_multiplier,
    fc2_shift,
    branch_multiplier,
    branch_shift,
    residual_multiplier,
    residual_shift,
    norm_multiplier,
    norm_offset,
    norm_shift,
):
    """Feed-forward block, residual connection, and the normalisation of the residual stream that follows it."""
    y = IntTableMlpAdd(
        x,
        residual,
        fc1_weight,
        fc1_bias,
        fc1_multiplier,
        fc1_shift,
        gelu_table,
        fc2_weight,
        fc2_bias,
        fc2_multiplier,
        fc2_shift,
        branch_multiplier,
        branch_shift,
        residual_multiplier,
        residual_shift,
    )
    normalized = IntLayerNorm(y, norm_multiplier, norm_offset, norm_shift)
    return y, normalized


def reference(
    x: Array,
    residual: Array,
    fc1_weight: Array,
    fc1_bias: Array,
    fc1_multiplier: Array,
    fc1_shift: Array,
    gelu_table: Array,
    *fc2_and_residual: Array,
) -> Array:
    hidden = linear(x, fc1_weight, fc1_bias, fc1_multiplier, fc1_shift, np.int8)
    return reference_add(table_gelu.reference(hidden, gelu_table), residual, *fc2_and_residual)


def reference_norm(*inputs: Array) -> tuple[Array, Array]:
    y = reference(*inputs[:-3])
    return y, int_layer_norm.reference(y, *inputs[-3:])


_INPUTS = mlp_inputs(
    Tensor("gelu_table", "int8", "[256]", "entry v + 128 is gelu(v * s_h) / s_g, rounded to nearest and clamped")
)

OPERATORS = (
    Operator(
        function=IntTableMlpAdd,
        reference=reference,
        summary="Feed-forward block: linear, GELU by table, linear, residual connection.",
        formula="y = IntLinearAdd(TableGELU(IntLinear(x, fc1)), residual, fc2)",
        signature=_INPUTS,
        outputs=(OUTPUT,),
        composite=True,
    ),
    Operator(
        function=IntTableMlpAddNorm,
        reference=reference_norm,
        summary="Feed-forward block with GELU by table, residual connection and the normalisation after it.",
        formula="y = IntTableMlpAdd(x, residual); normalized = IntLayerNorm(y)",
        signature=(*_INPUTS, norm_inputs("norm_", "s_n")),
        outputs=(OUTPUT, NORMALIZED),
        composite=True,
    ),
)
