"""IntPatchEmbedNorm16, IntPixelEmbedNorm16: image to tokens as Swin does it: patches, projection, normalisation."""

from __future__ import annotations

import numpy as np
from onnxscript import script

from ivit_onnx.opset._primitives import ClampBits
from ivit_onnx.opset._spec import IVIT, Operator, Tensor, activation, op
from ivit_onnx.opset._variants import from_pixels
from ivit_onnx.opset.arithmetic import Array, clamp_bits, saturate, scale_round
from ivit_onnx.opset.int_layer_norm import IntLayerNorm16, layer_norm, norm_inputs
from ivit_onnx.opset.int_linear import IntLinear16, linear, linear_inputs
from ivit_onnx.opset.int_patch_embed import PATCH_SIZE, Patches, patches
from ivit_onnx.opset.int_patch_merge import BITS
from ivit_onnx.opset.requantize import Requantize16, scale_inputs

__all__ = ["OPERATORS", "IntPatchEmbedNorm16"]


@script(IVIT, default_opset=op)
def IntPatchEmbedNorm16(
    image,
    weight,
    bias,
    multiplier,
    shift,
    norm_multiplier,
    norm_offset,
    norm_shift,
    token_multiplier,
    token_shift,
    patch_size: int,
    bits: int,
):
    """Patch embedding: non-overlapping patches, linear layer to int16, layer normalisation to int16."""
    projected = IntLinear16(Patches(image, patch_size=patch_size), weight, bias, multiplier, shift)
    normalized = IntLayerNorm16(ClampBits(projected, bits=bits), norm_multiplier, norm_offset, norm_shift)
    tokens = Requantize16(op.Cast(normalized, to=6), token_multiplier, token_shift)
    return tokens


def reference(image: Array, *constants: Array, patch_size: int, bits: int) -> Array:
    weight, bias, multiplier, shift, norm_multiplier, norm_offset, norm_shift, *token = constants
    projected = clamp_bits(linear(patches(image, patch_size), weight, bias, multiplier, shift, np.int16), bits)
    normalized = layer_norm(projected, norm_multiplier, norm_offset, norm_shift, np.int16)
    return saturate(scale_round(normalized, *token), np.int16)


INT_PATCH_EMBED_NORM_16 = Operator(
    function=IntPatchEmbedNorm16,
    compute=reference,
    summary="Quantised image to normalised tokens of the residual stream.",
    formula="projected = clamp to `bits` of IntLinear16(patches); tokens = Requantize16(IntLayerNorm16(projected))",
    signature=(
        activation("image", "int8", "[N, C, H, W]", "normalised image, scale s_x"),
        linear_inputs("", "s_x", "s_p", "C*P*P", "D"),
        norm_inputs("norm_", "s_n", "D"),
        scale_inputs("token_", "[]", "s_n / s_y"),
    ),
    outputs=(Tensor("tokens", "int16", "[N, H/P * W/P, D]", "residual stream, scale s_y"),),
    attributes=(PATCH_SIZE, BITS),
    composite=True,
)

OPERATORS = (
    INT_PATCH_EMBED_NORM_16,
    from_pixels(
        INT_PATCH_EMBED_NORM_16,
        "IntPixelEmbedNorm16",
        summary="Pixels to normalised tokens of the residual stream.",
        doc="Pixels to tokens: normalisation and quantisation of pixels, patch embedding with layer normalisation.",
    ),
)
