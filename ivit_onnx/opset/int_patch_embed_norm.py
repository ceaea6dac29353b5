"""IntPatchEmbedNorm16, IntPixelEmbedNorm16: image to tokens as Swin does it: patches, projection, normalisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onnxscript import script

from ivit_onnx.opset._primitives import ClampBits
from ivit_onnx.opset._spec import IVIT, Operator, Tensor, activation, op
from ivit_onnx.opset._variants import from_pixels
from ivit_onnx.opset.int_layer_norm import INT_LAYER_NORM_16, IntLayerNorm16, norm_inputs
from ivit_onnx.opset.int_linear import INT_LINEAR_16, IntLinear16, linear_inputs
from ivit_onnx.opset.int_patch_embed import PATCH_SIZE, Patches, patches
from ivit_onnx.opset.int_patch_merge import BITS
from ivit_onnx.opset.requantize import REQUANTIZE_16, Requantize16, scale_inputs

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


def embed_norm(
    linear: Callable[..., Any],
    norm: Callable[..., Any],
    requantize: Callable[..., Any],
    image: Any,
    *constants: Any,
    patch_size: int,
    bits: int,
) -> Any:
    """IntPatchEmbedNorm16 by implementations of IntLinear16, IntLayerNorm16 and Requantize16."""
    of_linear, of_norm, of_token = constants[:4], constants[4:7], constants[7:]
    projected = linear(patches(image, patch_size), *of_linear).clip(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return requantize(norm(projected, *of_norm), *of_token)


INT_PATCH_EMBED_NORM_16 = Operator(
    function=IntPatchEmbedNorm16,
    compute=embed_norm,
    uses=(INT_LINEAR_16, INT_LAYER_NORM_16, REQUANTIZE_16),
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
