"""Requantize, Requantize16, Requantize32: an int32 accumulator to int8, int16 or int32 of another scale."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnxscript import script

from ivit_onnx.opset._primitives import ScaleRound
from ivit_onnx.opset._spec import IVIT, OUTPUT_PARTS, Group, Operator, Tensor, activation, op
from ivit_onnx.opset.arithmetic import Array, saturate, scale_round

__all__ = [
    "OPERATORS",
    "REQUANTIZE",
    "REQUANTIZE_16",
    "REQUANTIZE_32",
    "SHIFTS",
    "Requantize",
    "Requantize16",
    "Requantize32",
    "affine_inputs",
    "scale_inputs",
]

#: Exponents of dyadic numbers.
SHIFTS = (1, 62)
#: Offsets that are added to products of 62 bits: sums stay inside int64.
OFFSETS = (-(2**62), 2**62)


@script(IVIT, default_opset=op)
def Requantize(x, multiplier, shift):
    """clamp((x * multiplier + 2**(shift - 1)) >> shift) to int8: dyadic requantisation (I-ViT, equation 5)."""
    scaled = ScaleRound(x, multiplier, shift)
    clamped = op.Min(op.Max(scaled, op.Constant(value_int=-128)), op.Constant(value_int=127))
    y = op.Cast(clamped, to=3)
    return y


@script(IVIT, default_opset=op)
def Requantize16(x, multiplier, shift):
    """clamp((x * multiplier + 2**(shift - 1)) >> shift) to int16: dyadic requantisation (I-ViT, equation 5)."""
    scaled = ScaleRound(x, multiplier, shift)
    clamped = op.Min(op.Max(scaled, op.Constant(value_int=-32768)), op.Constant(value_int=32767))
    y = op.Cast(clamped, to=5)
    return y


@script(IVIT, default_opset=op)
def Requantize32(x, multiplier, shift):
    """clamp((x * multiplier + 2**(shift - 1)) >> shift) to int32: dyadic requantisation (I-ViT, equation 5)."""
    scaled = ScaleRound(x, multiplier, shift)
    clamped = op.Min(op.Max(scaled, op.Constant(value_int=-2147483648)), op.Constant(value_int=2147483647))
    y = op.Cast(clamped, to=6)
    return y


def scale_inputs(prefix: str, shape: str, what: str) -> Group:
    """The two inputs of a dyadic number m * 2**-e; `what` completes 'for ...'."""
    multiplier = Tensor(f"{prefix}multiplier", "int32", shape, f"m of the dyadic ratio m * 2^-e for {what}")
    shift = Tensor(f"{prefix}shift", "int8", shape, f"e of the dyadic ratio for {what}", values=SHIFTS)
    return Group("Scale", f"{prefix}scale", (multiplier, shift))


def affine_inputs(prefix: str, channels: str, ratio: str, offset: str) -> Group:
    """The three inputs of an affine map (x * m + b) >> e, one each per channel; m * 2**-e is `ratio`."""
    shape = f"[{channels}]"
    members = (
        Tensor(f"{prefix}multiplier", "int32", shape, f"m of {ratio}"),
        Tensor(f"{prefix}offset", "int64", shape, offset, values=OFFSETS),
        Tensor(f"{prefix}shift", "int8", shape, "e of the same ratio", values=SHIFTS),
    )
    return Group("Affine", f"{prefix}affine", members)


def _operator(function: Any, dtype: type[np.signedinteger[Any]]) -> Operator:
    def reference(x: Array, multiplier: Array, shift: Array) -> Array:
        return saturate(scale_round(x, multiplier, shift), dtype)

    name = np.dtype(dtype).name
    return Operator(
        base=Requantize.name,
        parts=OUTPUT_PARTS[np.iinfo(dtype).bits],
        function=function,
        compute=reference,
        summary=f"Changes the scale of an integer tensor and saturates to {name}.",
        formula=f"y = clamp_{name}((x * m + 2^(e-1)) >> e)",
        signature=(
            activation("x", "int32", "[.., C]", "accumulator, scale s_x"),
            scale_inputs("", "[] or [C]", "s_x / s_y"),
        ),
        outputs=(Tensor("y", name, "[.., C]", "the same values at scale s_y"),),
    )


REQUANTIZE = _operator(Requantize, np.int8)
REQUANTIZE_16 = _operator(Requantize16, np.int16)
REQUANTIZE_32 = _operator(Requantize32, np.int32)
OPERATORS = (REQUANTIZE, REQUANTIZE_16, REQUANTIZE_32)
