"""IntPatchEmbed: image to tokens: patches, projection, position table, class and other prefix tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnxscript import script

from ivit_onnx.opset._primitives import ScaleRound
from ivit_onnx.opset._spec import IVIT, Attribute, Operator, Tensor, activation, op
from ivit_onnx.opset._variants import from_pixels
from ivit_onnx.opset.arithmetic import Array, saturate, scale_round
from ivit_onnx.opset.int_linear import INT_LINEAR_16, IntLinear16, linear_inputs
from ivit_onnx.opset.requantize import scale_inputs

__all__ = ["OPERATORS", "PRIMITIVES", "PATCH_SIZE", "IntPatchEmbed", "Patches", "patches"]


PATCH_SIZE = Attribute("patch_size", 1, 1024, "side P of a patch in pixels", symbol="P", divides=("H", "W"))


@script(IVIT, default_opset=op)
def Patches(image, patch_size: int):
    """Non-overlapping patches of an image: [N, C, H, W] to [N, H/P * W/P, C*P*P]."""
    batch = op.Shape(image, start=0, end=1)
    colours = op.Shape(image, start=1, end=2)
    patch = op.Reshape(op.Constant(value_int=patch_size), op.Constant(value_ints=[1]))
    rows = op.Div(op.Shape(image, start=2, end=3), patch)
    columns = op.Div(op.Shape(image, start=3, end=4), patch)
    grid = op.Reshape(image, op.Concat(batch, colours, rows, patch, columns, patch, axis=0))
    by_patch = op.Transpose(grid, perm=[0, 2, 4, 1, 3, 5])
    pixels = op.Mul(op.Mul(colours, patch), patch)
    patches = op.Reshape(by_patch, op.Concat(batch, op.Mul(rows, columns), pixels, axis=0))
    return patches


@script(IVIT, default_opset=op)
def IntPatchEmbed(
    image,
    weight,
    bias,
    multiplier,
    shift,
    token_multiplier,
    token_shift,
    position,
    prefix_tokens,
    patch_size: int,
):
    """Patch embedding: non-overlapping patches, linear layer to int16, position table added, prefix tokens in front."""
    batch = op.Shape(image, start=0, end=1)
    projected = IntLinear16(Patches(image, patch_size=patch_size), weight, bias, multiplier, shift)
    placed = op.Add(ScaleRound(projected, token_multiplier, token_shift), op.Cast(position, to=7))
    clamped = op.Min(op.Max(placed, op.Constant(value_int=-32768)), op.Constant(value_int=32767))
    patch_tokens = op.Cast(clamped, to=5)
    prefix = op.Expand(prefix_tokens, op.Concat(batch, op.Shape(prefix_tokens), axis=0))
    tokens = op.Concat(prefix, patch_tokens, axis=1)
    return tokens


def patches(image: Any, patch_size: int) -> Any:
    """Non-overlapping patches of images [N, C, H, W], of numpy or PyTorch: [N, H/P * W/P, C*P*P]."""
    n, c, h, w = image.shape
    rows, columns = h // patch_size, w // patch_size
    grid = image.reshape(n, c, rows, patch_size, columns, patch_size)
    # [N, C, rows, P, columns, P] -> [N, rows, columns, C, P, P].
    by_patch = grid.swapaxes(1, 2).swapaxes(2, 4).swapaxes(3, 4)
    return by_patch.reshape(n, rows * columns, c * patch_size * patch_size)


def reference(
    linear: Callable[..., Array],
    image: Array,
    weight: Array,
    bias: Array,
    multiplier: Array,
    shift: Array,
    token_multiplier: Array,
    token_shift: Array,
    position: Array,
    prefix_tokens: Array,
    *,
    patch_size: int,
) -> Array:
    projected = linear(patches(image, patch_size), weight, bias, multiplier, shift)
    placed = scale_round(projected, token_multiplier, token_shift) + position.astype(np.int64)
    prefix = np.broadcast_to(prefix_tokens, (len(image), *prefix_tokens.shape))
    return np.concatenate([prefix, saturate(placed, np.int16)], axis=1)


INT_PATCH_EMBED = Operator(
    function=IntPatchEmbed,
    compute=reference,
    uses=(INT_LINEAR_16,),
    summary="Quantised image to tokens of the residual stream.",
    formula="patch_tokens = clamp_int16(((IntLinear16(patches) * mt + 2^(et-1)) >> et) + position); "
    "tokens = concat(prefix_tokens, patch_tokens)",
    signature=(
        activation("image", "int8", "[N, C, H, W]", "normalised image, scale s_x"),
        linear_inputs("", "s_x", "s_p", "C*P*P", "D"),
        scale_inputs("token_", "[]", "s_p / s_y"),
        Tensor("position", "int32", "[H/P * W/P, D]", "position table at scale s_y"),
        Tensor("prefix_tokens", "int16", "[K, D]", "class, distillation tokens, positions included; scale s_y"),
    ),
    outputs=(Tensor("tokens", "int16", "[N, K + H/P * W/P, D]", "residual stream, scale s_y"),),
    attributes=(PATCH_SIZE,),
    composite=True,
)

PRIMITIVES = (Patches,)
OPERATORS = (
    INT_PATCH_EMBED,
    from_pixels(
        INT_PATCH_EMBED,
        "IntPixelEmbed",
        summary="Pixels to tokens of the residual stream.",
        doc="Pixels to tokens: normalisation, quantisation and patch embedding.",
    ),
)
