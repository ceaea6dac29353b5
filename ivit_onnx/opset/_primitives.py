"""Integer building blocks of the function bodies.

These are functions of the domain without kernels of their own: a body that uses them is replaced as a whole.
They need only what ONNX Runtime implements for int64 on every provider. Two details matter:

* Floor division is written with `Mod` (which takes the sign of the divisor) and an exact `Div`, because `Div`
  truncates and BitShift is unsigned. Unlike adding a bias before `Div`, this holds on the whole int64 range.
* Every matrix product is int8 x int8, the low byte of a probability with a zero point of -128. ONNX Runtime's
  uint8 x int8 products saturate in 16 bits on x86 processors without VNNI; int8 x int8 ones are exact everywhere,
  and the only ones that its CUDA provider has.
"""

from __future__ import annotations

from typing import Any

from onnx import helper
from onnxscript import OnnxFunction, script

from ivit_onnx.opset._spec import IVIT, op

__all__ = [
    "PRIMITIVES",
    "ClampBits",
    "FloorDivide",
    "MatMulProbability",
    "PowerOfTwo",
    "RoundedDivide",
    "ScaleRound",
    "ShiftExp",
]

_POWERS = helper.make_tensor("powers_of_two", 7, [63], [1 << k for k in range(63)])


@script(IVIT, default_opset=op)
def PowerOfTwo(exponent):
    """2**exponent for int64 exponents 0..62, by table."""
    table = op.Constant(value=_POWERS)
    power = op.Gather(table, exponent)
    return power


@script(IVIT, default_opset=op)
def FloorDivide(x, divisor):
    """floor(x / divisor) on int64, for any signs; Mod takes the sign of the divisor, so the division is exact."""
    remainder = op.Mod(x, divisor)
    quotient = op.Div(op.Sub(x, remainder), divisor)
    return quotient


@script(IVIT, default_opset=op)
def RoundedDivide(x, divisor):
    """x / divisor on int64, rounded to the nearest integer, halves to the even one; divisor > 0."""
    floor = FloorDivide(x, divisor)
    remainder = op.Mod(x, divisor)
    two = op.Constant(value_int=2)
    # Up if 2 * remainder > divisor, or equal and the floor is odd.
    twice = op.Add(op.Mul(remainder, two), op.Mod(floor, two))
    rounded = op.Add(floor, op.Cast(op.Greater(twice, divisor), to=7))
    return rounded


@script(IVIT, default_opset=op)
def ScaleRound(x, multiplier, shift):
    """(x * multiplier + 2**(shift - 1)) >> shift in int64: multiplication by the dyadic number m * 2**-e, rounded."""
    x64 = op.Cast(x, to=7)
    m64 = op.Cast(multiplier, to=7)
    e64 = op.Cast(shift, to=7)
    half = PowerOfTwo(op.Sub(e64, op.Constant(value_int=1)))
    rounded = FloorDivide(op.Add(op.Mul(x64, m64), half), PowerOfTwo(e64))
    return rounded


@script(IVIT, default_opset=op)
def ShiftExp(d, x0: int, n: int):
    """Shift exponential of the int64 difference d (I-ViT, equations 8-12): 2**n * |x0| * exp(d * scale), in shifts.

    x0 = floor(-1 / scale) < 0. log2(e) is 1.0111 in binary, so p = d + (d >> 1) - (d >> 4); p = q * x0 + r;
    2**(r / x0) is taken as 1 + r / (2 * x0). Saturates at 2**31 - 1.
    """
    x0_ = op.Constant(value_int=x0)
    n_ = op.Constant(value_int=n)
    two = op.Constant(value_int=2)
    scaled = op.Sub(op.Add(d, FloorDivide(d, two)), FloorDivide(d, op.Constant(value_int=16)))
    p = op.Max(scaled, op.Mul(n_, x0_))
    r = op.Mod(p, x0_)
    q = op.Div(op.Sub(p, r), x0_)
    # From 32 on the result is saturated in any case; the limit keeps the product inside int64.
    left_shift = op.Min(op.Sub(n_, q), op.Constant(value_int=32))
    mantissa = op.Sub(r, op.Mul(two, x0_))
    e = op.Div(op.Mul(mantissa, PowerOfTwo(left_shift)), two)
    saturated = op.Min(e, op.Constant(value_int=2147483647))
    return saturated


@script(IVIT, default_opset=op)
def ClampBits(x, bits: int):
    """x clamped to the range of signed integers of `bits` bits, at most 16; int16."""
    limit = PowerOfTwo(op.Sub(op.Constant(value_int=bits), op.Constant(value_int=1)))
    clamped = op.Min(op.Max(op.Cast(x, to=7), op.Neg(limit)), op.Sub(limit, op.Constant(value_int=1)))
    y = op.Cast(clamped, to=5)
    return y


@script(IVIT, default_opset=op)
def MatMulProbability(probability, value):
    """int16 probabilities 0..32767 [.., T, T] x int8 values [.., T, D] -> int32, as 256 * (high @ v) + low @ v."""
    base = op.Cast(op.Constant(value_int=256), to=6)
    low_zero_point = op.Cast(op.Constant(value_int=-128), to=3)
    p32 = op.Cast(probability, to=6)
    high = op.Div(p32, base)
    low = op.Sub(p32, op.Mul(high, base))
    low_int8 = op.Cast(op.Sub(low, op.Cast(op.Constant(value_int=128), to=6)), to=3)
    high_product = op.MatMulInteger(op.Cast(high, to=3), value)
    low_product = op.MatMulInteger(low_int8, value, low_zero_point)
    accumulator = op.Add(op.Mul(high_product, base), low_product)
    return accumulator


PRIMITIVES: tuple[OnnxFunction[..., Any], ...] = (
    PowerOfTwo,
    FloorDivide,
    RoundedDivide,
    ScaleRound,
    ShiftExp,
    ClampBits,
    MatMulProbability,
)
