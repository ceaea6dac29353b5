"""IntLayerNorm: layer normalisation with an integer Newton square root."""

from __future__ import annotations

import numpy as np
from onnxscript import script

from ivit_onnx.opset._primitives import FloorDivide, PowerOfTwo
from ivit_onnx.opset._spec import IVIT, Operator, Tensor, op
from ivit_onnx.opset.arithmetic import Array, saturate

__all__ = ["OPERATORS", "IntLayerNorm", "NewtonStep", "norm_inputs", "reference"]


@script(IVIT, default_opset=op)
def NewtonStep(root, radicand):
    """One Newton step of the integer square root: (root + radicand // root) // 2."""
    next_root = op.Div(op.Add(root, op.Div(radicand, root)), op.Constant(value_int=2))
    return next_root


@script(IVIT, default_opset=op)
def IntLayerNorm(x, multiplier, offset, shift):
    """Layer normalisation over the last axis in integers (I-ViT, section 3.4): int16 to int8.

    Weight and bias are folded into multiplier, offset and shift. Ten Newton steps from 2**16 take the square root.
    """
    x64 = op.Cast(x, to=7)
    last_axis = op.Constant(value_ints=[-1])
    channels = op.Shape(x, start=-1)
    two = op.Constant(value_int=2)
    row_sum = op.ReduceSum(x64, last_axis, keepdims=1)
    floor_mean = FloorDivide(row_sum, channels)
    remainder = op.Mod(row_sum, channels)
    # Round half to even: up if 2 * remainder > C, or equal and the floor is odd.
    twice = op.Add(op.Mul(remainder, two), op.Mod(floor_mean, two))
    mean = op.Add(floor_mean, op.Cast(op.Greater(twice, channels), to=7))
    centered = op.Sub(x64, mean)
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
    normalized = FloorDivide(op.Mul(centered, factor), two)
    affine = op.Add(op.Mul(normalized, op.Cast(multiplier, to=7)), offset)
    scaled = FloorDivide(affine, PowerOfTwo(op.Cast(shift, to=7)))
    clamped = op.Min(op.Max(scaled, op.Constant(value_int=-128)), op.Constant(value_int=127))
    y = op.Cast(clamped, to=3)
    return y


def reference(x: Array, multiplier: Array, offset: Array, shift: Array) -> Array:
    x64 = x.astype(np.int64)
    channels = x.shape[-1]
    total = x64.sum(-1, keepdims=True)
    floor_mean, remainder = total // channels, total % channels
    mean = floor_mean + (2 * remainder + floor_mean % 2 > channels)
    y = x64 - mean
    v = (y * y).sum(-1, keepdims=True)
    k = np.full_like(v, 2**16)
    for _ in range(10):
        k = (k + v // k) // 2
    z = (y * (2**31 // k)) >> 1
    affine = z * np.asarray(multiplier, np.int64) + np.asarray(offset, np.int64)
    return saturate(affine >> np.asarray(shift, np.int64), np.int8)


def norm_inputs(prefix: str, y_scale: str) -> tuple[Tensor, ...]:
    """The affine map of one normalisation inside an operator."""
    return (
        Tensor(f"{prefix}multiplier", "int32", "[C]", f"m of gamma * sqrt(C) / (2^30 * {y_scale})"),
        Tensor(
            f"{prefix}offset", "int64", "[C]", f"round(beta / {y_scale} * 2^e) + 2^(e-1), below 2^62 in absolute value"
        ),
        Tensor(f"{prefix}shift", "int8", "[C]", "e of the same ratio, 1..62"),
    )


OPERATORS = (
    Operator(
        function=IntLayerNorm,
        reference=reference,
        summary="Layer normalisation over the last axis; weight, bias and requantisation are one integer affine map.",
        formula="y = x - round_half_even(sum(x) / C); V = sum(y^2); k = 2^16, ten times k = (k + V // k) // 2; "
        "z = (y * (2^31 // k)) >> 1, of scale sqrt(C) / 2^30; out = clamp_int8((z * m[c] + b[c]) >> e[c])",
        inputs=(
            Tensor("x", "int16", "[.., C]", "residual stream, any scale"),
            *norm_inputs("", "s_y"),
        ),
        outputs=(Tensor("y", "int8", "[.., C]", "scale s_y"),),
    ),
)
