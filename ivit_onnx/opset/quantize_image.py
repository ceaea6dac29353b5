"""QuantizeImage: uint8 pixels to the quantised, normalised network input in one integer step."""

from __future__ import annotations

import numpy as np
from onnxscript import script

from ivit_onnx.opset._primitives import FloorDivide, PowerOfTwo
from ivit_onnx.opset._spec import IVIT, Group, Operator, Tensor, activation, op
from ivit_onnx.opset.arithmetic import Array, saturate
from ivit_onnx.opset.requantize import affine_inputs

__all__ = ["OPERATORS", "QUANTIZE_IMAGE", "QuantizeImage", "pixel_inputs", "reference"]


@script(IVIT, default_opset=op)
def QuantizeImage(image, multiplier, offset, shift):
    """clamp((image * multiplier + offset) >> shift) to int8, per colour: normalisation and quantisation in one."""
    per_channel = op.Constant(value_ints=[-1, 1, 1])
    m64 = op.Reshape(op.Cast(multiplier, to=7), per_channel)
    e64 = op.Reshape(op.Cast(shift, to=7), per_channel)
    b64 = op.Reshape(offset, per_channel)
    scaled = FloorDivide(op.Add(op.Mul(op.Cast(image, to=7), m64), b64), PowerOfTwo(e64))
    clamped = op.Min(op.Max(scaled, op.Constant(value_int=-128)), op.Constant(value_int=127))
    y = op.Cast(clamped, to=3)
    return y


def reference(image: Array, multiplier: Array, offset: Array, shift: Array) -> Array:
    m, b, e = (np.asarray(v, np.int64)[:, None, None] for v in (multiplier, offset, shift))
    return saturate((image.astype(np.int64) * m + b) >> e, np.int8)


def pixel_inputs(prefix: str, y_scale: str) -> Group:
    """Normalisation and quantisation of pixels inside an operator."""
    ratio = f"1 / (255 * std * {y_scale})"
    return affine_inputs(prefix, "C", ratio, "mean term and rounding half")


QUANTIZE_IMAGE = Operator(
    function=QuantizeImage,
    compute=reference,
    summary="Normalises and quantises uint8 pixels.",
    formula="y = clamp_int8((image * m[c] + b[c]) >> e[c]), with m * 2^-e = 1 / (255 * std[c] * s_y) and "
    "b = round(-mean[c] / (std[c] * s_y) * 2^e) + 2^(e-1)",
    signature=(
        activation("image", "uint8", "[N, C, H, W]", "pixels 0..255"),
        pixel_inputs("", "s_y"),
    ),
    outputs=(Tensor("y", "int8", "[N, C, H, W]", "normalised image (pixel / 255 - mean) / std at scale s_y"),),
)
OPERATORS = (QUANTIZE_IMAGE,)
