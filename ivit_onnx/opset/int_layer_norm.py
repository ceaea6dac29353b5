"""IntLayerNorm, IntLayerNorm16: layer normalisation with an integer Newton square root."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnxscript import script

from ivit_onnx.opset._primitives import FloorDivide, PowerOfTwo, RoundedDivide
from ivit_onnx.opset._spec import IVIT, OUTPUT_PARTS, Group, Operator, Tensor, activation, op
from ivit_onnx.opset.arithmetic import Array, rounded_divide, saturate
from ivit_onnx.opset.requantize import affine_inputs

__all__ = [
    "INT_LAYER_NORM",
    "INT_LAYER_NORM_16",
    "OPERATORS",
    "PRIMITIVES",
    "IntLayerNorm",
    "IntLayerNorm16",
    "NewtonStep",
    "Normalized",
    "layer_norm",
    "norm_inputs",
    "reference",
]


@script(IVIT, default_opset=op)
def NewtonStep(root, radicand):
    """One Newton step of the integer square root: (root + radicand // root) // 2."""
    next_root = op.Div(op.Add(root, op.Div(radicand, root)), op.Constant(value_int=2))
    return next_root


@script(IVIT, default_opset=op)
def Normalized(x):
    """Rows of int16 values with mean 0 and variance 1, int64 of scale sqrt(C) / 2**30 (I-ViT, section 3.4).

    Ten Newton steps from 2**16 take the square root.
    """
    x64 = op.Cast(x, to=7)
    last_axis = op.Constant(value_ints=[-1])
    channels = op.Shape(x, start=-1)
    row_sum = op.ReduceSum(x64, last_axis, keepdims=1)
    centered = op.Sub(x64, RoundedDivide(row_sum, channels))
    variance_sum = op.ReduceSum(op.Mul(centered, centered), last_axis, keepdims=1)
    k1 = NewtonStep(op.Constant(value_int=65536), variance_sum)
    k2 = NewtonStep(k1, variance_sum)
    k3 = NewtonStep(k2, variance_sum)
    k4 = NewtonStep(k3, variance_sum)
    k5 = NewtonStep(k4, variance_sum)
    k6 = NewtonStep(k5, variance_sum)
    k7 = NewtonStep(k6, variance_sum)
    k8 = NewtonStep(k7, variance_sum)
    k9 = NewtonStep(k8, variance_sum)
    root = NewtonStep(k9, variance_sum)
    factor = op.Div(op.Constant(value_int=2147483648), root)
    normalized = FloorDivide(op.Mul(centered, factor), op.Constant(value_int=2))
    return normalized


@script(IVIT, default_opset=op)
def IntLayerNorm(x, multiplier, offset, shift):
    """Layer normalisation over the last axis in integers: int16 to int8.

    Weight and bias are folded into multiplier, offset and shift.
    """
    affine = op.Add(op.Mul(Normalized(x), op.Cast(multiplier, to=7)), offset)
    scaled = FloorDivide(affine, PowerOfTwo(op.Cast(shift, to=7)))
    clamped = op.Min(op.Max(scaled, op.Constant(value_int=-128)), op.Constant(value_int=127))
    y = op.Cast(clamped, to=3)
    return y


@script(IVIT, default_opset=op)
def IntLayerNorm16(x, multiplier, offset, shift):
    """Layer normalisation over the last axis in integers: int16 to int16.

    Weight and bias are folded into multiplier, offset and shift.
    """
    affine = op.Add(op.Mul(Normalized(x), op.Cast(multiplier, to=7)), offset)
    scaled = FloorDivide(affine, PowerOfTwo(op.Cast(shift, to=7)))
    clamped = op.Min(op.Max(scaled, op.Constant(value_int=-32768)), op.Constant(value_int=32767))
    y = op.Cast(clamped, to=5)
    return y


def layer_norm(x: Array, multiplier: Array, offset: Array, shift: Array, dtype: type[np.signedinteger[Any]]) -> Array:
    x64 = x.astype(np.int64)
    y = x64 - rounded_divide(x64.sum(-1, keepdims=True), x.shape[-1])
    v = (y * y).sum(-1, keepdims=True)
    k = np.full_like(v, 2**16)
    for _ in range(10):
        k = (k + v // k) // 2
    z = (y * (2**31 // k)) >> 1
    affine = z * np.asarray(multiplier, np.int64) + np.asarray(offset, np.int64)
    return saturate(affine >> np.asarray(shift, np.int64), dtype)


def reference(x: Array, multiplier: Array, offset: Array, shift: Array) -> Array:
    return layer_norm(x, multiplier, offset, shift, np.int8)


def norm_inputs(prefix: str, y_scale: str, channels: str = "C") -> Group:
    """The affine map of one normalisation inside an operator."""
    ratio = f"gamma * sqrt({channels}) / (2^30 * {y_scale})"
    return affine_inputs(prefix, channels, ratio, f"round(beta / {y_scale} * 2^e) + 2^(e-1)")


def _reference16(x: Array, multiplier: Array, offset: Array, shift: Array) -> Array:
    return layer_norm(x, multiplier, offset, shift, np.int16)


def _operator(function: Any, reference: Callable[..., Array], name: str, use: str) -> Operator:
    return Operator(
        base=IntLayerNorm.name,
        parts=OUTPUT_PARTS[np.iinfo(name).bits],
        function=function,
        compute=reference,
        summary=f"Layer normalisation over the last axis{use}; weight, bias and requantisation are one integer affine "
        "map.",
        formula="y = x - round_half_even(sum(x) / C); V = sum(y^2); k = 2^16, ten times k = (k + V // k) // 2; "
        f"z = (y * (2^31 // k)) >> 1, of scale sqrt(C) / 2^30; out = clamp_{name}((z * m[c] + b[c]) >> e[c])",
        signature=(
            activation("x", "int16", "[.., C]", "residual stream, any scale"),
            norm_inputs("", "s_y"),
        ),
        outputs=(Tensor("y", name, "[.., C]", "scale s_y"),),
    )


INT_LAYER_NORM = _operator(IntLayerNorm, reference, "int8", "")
INT_LAYER_NORM_16 = _operator(IntLayerNorm16, _reference16, "int16", ", from one residual stream to another")
PRIMITIVES = (NewtonStep, Normalized)
OPERATORS = (INT_LAYER_NORM, INT_LAYER_NORM_16)
