"""Random numbers in the ranges that operators take, and groups of inputs that several of them have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ivit_onnx.opset import OPERATORS, Part

Array = np.ndarray[Any, Any]

INT32_MAX = 2**31 - 1


def integers(rng: np.random.Generator, shape: tuple[int, ...], dtype: type, extreme: bool) -> Array:
    """Values over the whole range of `dtype`; with `extreme`, mostly the two ends and zero."""
    info = np.iinfo(dtype)
    values = rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
    if extreme:
        ends = rng.choice(np.array([info.min, info.max, 0], dtype), shape)
        values = np.where(rng.random(shape) < 0.8, ends, values)
    return values.astype(dtype)


def dyadic(
    rng: np.random.Generator, shape: tuple[int, ...], magnitude: float, extreme: bool, negative: bool = True
) -> tuple[Array, Array]:
    """Multipliers and shifts whose ratio brings values of `magnitude` near 8 bits; with `extreme`, any valid pair."""
    if extreme:
        m = rng.choice(np.array([-INT32_MAX, INT32_MAX, 0, 1, -1, 2**30], np.int32), shape)
        return np.asarray(m, np.int32), np.asarray(rng.integers(1, 63, shape), np.int8)
    mantissa = rng.integers(2**30, INT32_MAX, shape)
    sign = rng.choice([-1, 1], shape) if negative else np.ones(shape, np.int64)
    exponent = np.clip(31 + np.log2(magnitude / 128).round() + rng.integers(-1, 2, shape), 1, 62)
    return np.asarray(mantissa * sign, np.int32), np.asarray(exponent, np.int8)


def exp_attributes(rng: np.random.Generator, extreme: bool) -> dict[str, int]:
    if extreme:
        return {"x0": int(rng.choice([-1, -2, -3, -1000, -(2**29)])), "n": int(rng.choice([1, 2, 15, 23, 31]))}
    return {"x0": -int(rng.integers(1, 200)), "n": int(rng.integers(8, 24))}


def exponentials(rng: np.random.Generator, extreme: bool) -> Array:
    """A table of exponentials: that of a scale, or with `extreme` any that never rises, sums beyond int32 included."""
    if not extreme:
        return np.rint(2.0**14 * np.exp(-np.arange(256) * rng.uniform(0.005, 0.5))).astype(np.int32)
    top = int(rng.choice([1, 2, 3, 255, 2**14, 2**24, INT32_MAX // 7, INT32_MAX]))
    table = np.sort(rng.integers(0, top, 256, endpoint=True))[::-1]
    table[rng.integers(1, 257) :] = rng.choice([0, table[-1]])
    table[0] = top
    return table.astype(np.int32)


@dataclass
class Draw:
    """A source of inputs for one call: small dimensions scaled by `size`, extreme values if wanted.

    `n`, `t` and `c` are dimensions that most operators have: images, tokens, channels.
    """

    rng: np.random.Generator
    extreme: bool = False
    size: int = 1
    n: int = field(init=False)
    t: int = field(init=False)
    c: int = field(init=False)

    def __post_init__(self) -> None:
        self.n, self.t, self.c = self.dim(1, 3), self.dim(1, 9), self.dim(1, 40)

    def dim(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high * self.size + 1))

    def integers(self, shape: tuple[int, ...], dtype: type) -> Array:
        return integers(self.rng, shape, dtype, self.extreme)

    def rows(self, width: int, dtype: type) -> Array:
        """[n, t, width]."""
        return self.integers((self.n, self.t, width), dtype)

    def scale(self, name: str, shape: tuple[int, ...], magnitude: float, *, negative: bool = True) -> dict[str, Array]:
        """`name`multiplier and `name`shift."""
        m, e = dyadic(self.rng, shape, magnitude, self.extreme, negative)
        return {f"{name}multiplier": m, f"{name}shift": e}

    def one_or_each(self, channels: int, one: float) -> tuple[int, ...]:
        """The shape of a scale: one for all channels with this probability, else one for each."""
        return () if self.rng.random() < one else (channels,)

    def frac_bits(self) -> dict[str, int]:
        return {"frac_bits": int(self.rng.choice([7, 8, 15]))}

    def exponent(self) -> dict[str, int]:
        return exp_attributes(self.rng, self.extreme)

    def softmax(self, operator: str) -> tuple[dict[str, int], dict[str, Array]]:
        """Attributes and inputs of the softmax of an attention."""
        frac_bits = self.frac_bits()
        if Part.TABLE in OPERATORS[operator].parts:
            return frac_bits, {"exponentials": exponentials(self.rng, self.extreme)}
        return {**self.exponent(), **frac_bits}, {}

    def linear(self, prefix: str, k: int, n: int, target: float = 128) -> dict[str, Array]:
        """A linear layer of k inputs and n outputs, whose results are near `target`."""
        bias_limit = 2**20
        shape = self.one_or_each(n, 0.3)
        scale = self.scale(prefix, shape, 5000 * k**0.5 * 128 / target)
        return {
            f"{prefix}weight": self.integers((k, n), np.int8),
            f"{prefix}bias": self.rng.integers(-bias_limit, bias_limit, n).astype(np.int32),
            **scale,
        }

    def residual(self) -> dict[str, Array]:
        """The scales of a branch and of the residual stream that it is added to."""
        return {**self.scale("branch_", (), 128, negative=False), **self.scale("residual_", (), 128, negative=False)}

    def affine(self, prefix: str, channels: int, magnitude: float, offset_bits: int) -> dict[str, Array]:
        m, e = dyadic(self.rng, (channels,), magnitude, self.extreme)
        offset = self.rng.integers(-(2**offset_bits), 2**offset_bits, channels)
        if self.extreme:
            offset = self.rng.choice(np.array([-(2**62), 2**62, 0], np.int64), channels)
        return {f"{prefix}multiplier": m, f"{prefix}offset": offset, f"{prefix}shift": e}

    def norm(self, prefix: str, channels: int) -> dict[str, Array]:
        return self.affine(prefix, channels, 2**30 / max(1.0, channels**0.5), 36)
