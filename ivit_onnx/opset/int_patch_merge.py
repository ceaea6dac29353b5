"""IntPatchMerge: the step of Swin from one stage to the next, which halves the sides of the token grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnxscript import script

from ivit_onnx.opset._primitives import ClampBits
from ivit_onnx.opset._spec import IVIT, Attribute, Computation, Operator, Tensor, activation, op
from ivit_onnx.opset._windows import MergedTokens, merged_tokens
from ivit_onnx.opset.arithmetic import Array
from ivit_onnx.opset.int_layer_norm import INT_LAYER_NORM, IntLayerNorm, norm_inputs
from ivit_onnx.opset.int_linear import INT_LINEAR_16, IntLinear16, linear_inputs

__all__ = ["BITS", "MERGE_SQUARES", "OPERATORS", "IntPatchMerge"]

BITS = Attribute("bits", 8, 16, "width to which the linear layer's result is clamped", allowed=(8, 16))


@script(IVIT, default_opset=op)
def IntPatchMerge(
    x,
    norm_multiplier,
    norm_offset,
    norm_shift,
    weight,
    bias,
    multiplier,
    shift,
    height: int,
    width: int,
    bits: int,
):
    """Patch merging: the channels of 2 x 2 tokens side by side, layer normalisation, linear layer to int16."""
    batch = op.Shape(x, start=0, end=1)
    one = op.Constant(value_ints=[1])
    four = op.Constant(value_ints=[4])
    channels = op.Shape(x, start=2, end=3)
    tokens = MergedTokens(height=height, width=width)
    zero = op.Cast(op.Constant(value_int=0), to=5)
    padded = op.Concat(x, op.Expand(zero, op.Concat(batch, one, channels, axis=0)), axis=1)
    squares = op.Div(op.Shape(tokens), four)
    merged = op.Reshape(op.Gather(padded, tokens, axis=1), op.Concat(batch, squares, op.Mul(channels, four), axis=0))
    normalized = IntLayerNorm(merged, norm_multiplier, norm_offset, norm_shift)
    y = ClampBits(IntLinear16(normalized, weight, bias, multiplier, shift), bits=bits)
    return y


def merge_squares(x: Array, height: int, width: int) -> Array:
    """The channels of squares of 2 x 2 tokens side by side, zeros outside of the grid: [N, squares, 4*C]."""
    batch, _, channels = x.shape
    tokens = merged_tokens(height, width)
    padded = np.concatenate([x, np.zeros((batch, 1, channels), x.dtype)], axis=1)
    return padded[:, tokens].reshape(batch, len(tokens), 4 * channels)


def patch_merge(
    merge: Callable[..., Any],
    norm: Callable[..., Any],
    linear: Callable[..., Any],
    x: Any,
    *constants: Any,
    height: int,
    width: int,
    bits: int,
) -> Any:
    """IntPatchMerge by implementations of merge_squares, IntLayerNorm and IntLinear16."""
    normalized = norm(merge(x, height, width), *constants[:3])
    return linear(normalized, *constants[3:]).clip(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


MERGE_SQUARES = Computation(compute=merge_squares)
OPERATORS = (
    Operator(
        function=IntPatchMerge,
        compute=patch_merge,
        uses=(MERGE_SQUARES, INT_LAYER_NORM, INT_LINEAR_16),
        summary="Squares of 2 x 2 tokens to one token: normalisation and linear layer on their channels side by side.",
        formula="merged = the channels of (2i, 2j), (2i+1, 2j), (2i, 2j+1), (2i+1, 2j+1), zeros outside the grid; "
        "y = clamp to `bits` of IntLinear16(IntLayerNorm(merged))",
        signature=(
            activation("x", "int16", "[N, height*width, C]", "residual stream, any scale"),
            norm_inputs("norm_", "s_n", "4*C"),
            linear_inputs("", "s_n", "s_y", "4*C", "D"),
        ),
        outputs=(Tensor("y", "int16", "[N, ceil(height/2) * ceil(width/2), D]", "residual stream, scale s_y"),),
        attributes=(
            Attribute("height", 1, 65536, "rows of the token grid"),
            Attribute("width", 1, 65536, "columns of the token grid"),
            BITS,
        ),
        composite=True,
    ),
)
