"""Random valid calls of every operator: the one source of inputs for body, twin and kernel tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

INT32_MAX = 2**31 - 1


@dataclass
class Case:
    """One call: constants and data by input name, attributes by name."""

    operator: str
    inputs: dict[str, Array]
    attributes: dict[str, int]


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


def _linear(
    rng: np.random.Generator, prefix: str, k: int, n: int, extreme: bool, target: float = 128
) -> dict[str, Array]:
    bias_limit = 2**20
    shape = () if rng.random() < 0.3 else (n,)
    m, e = dyadic(rng, shape, 5000 * k**0.5 * 128 / target, extreme)
    return {
        f"{prefix}weight": integers(rng, (k, n), np.int8, extreme),
        f"{prefix}bias": rng.integers(-bias_limit, bias_limit, n).astype(np.int32),
        f"{prefix}multiplier": m,
        f"{prefix}shift": e,
    }


def _residual(rng: np.random.Generator, extreme: bool) -> dict[str, Array]:
    bm, be = dyadic(rng, (), 128, extreme, negative=False)
    rm, re = dyadic(rng, (), 128, extreme, negative=False)
    return {"branch_multiplier": bm, "branch_shift": be, "residual_multiplier": rm, "residual_shift": re}


def _affine(
    rng: np.random.Generator, prefix: str, channels: int, magnitude: float, offset_bits: int, extreme: bool
) -> dict[str, Array]:
    m, e = dyadic(rng, (channels,), magnitude, extreme)
    offset = rng.integers(-(2**offset_bits), 2**offset_bits, channels)
    if extreme:
        offset = rng.choice(np.array([-(2**62), 2**62, 0], np.int64), channels)
    return {f"{prefix}multiplier": m, f"{prefix}offset": offset, f"{prefix}shift": e}


def _norm(rng: np.random.Generator, prefix: str, channels: int, extreme: bool) -> dict[str, Array]:
    return _affine(rng, prefix, channels, 2**30 / max(1.0, channels**0.5), 36, extreme)


def _softmax(rng: np.random.Generator, operator: str, extreme: bool) -> tuple[dict[str, int], dict[str, Array]]:
    """Attributes and inputs of the softmax of an attention."""
    frac_bits = {"frac_bits": int(rng.choice([7, 8, 15]))}
    if operator.startswith("IntTable"):
        return frac_bits, {"exponentials": exponentials(rng, extreme)}
    return {**exp_attributes(rng, extreme), **frac_bits}, {}


def random_case(operator: str, rng: np.random.Generator, *, extreme: bool = False, size: int = 1) -> Case:
    """A valid call of `operator` with small random dimensions (odd sizes included), scaled by `size`."""

    def dim(low: int, high: int) -> int:
        return int(rng.integers(low, high * size + 1))

    n, t, c = dim(1, 3), dim(1, 9), dim(1, 40)
    x: dict[str, Array]
    attributes: dict[str, int] = {}
    if operator in ("Requantize", "Requantize16", "Requantize32"):
        shape = () if rng.random() < 0.3 else (c,)
        m, e = dyadic(rng, shape, 2**30, extreme)
        x = {"x": integers(rng, (n, t, c), np.int32, extreme), "multiplier": m, "shift": e}
    elif operator == "AddRequantize":
        am, ae = dyadic(rng, () if rng.random() < 0.5 else (c,), 128, extreme)
        bm, be = dyadic(rng, () if rng.random() < 0.5 else (c,), 128, extreme)
        x = {
            "a": integers(rng, (n, t, c), np.int16, extreme),
            "a_multiplier": am,
            "a_shift": ae,
            "b": integers(rng, (n, t, c), np.int16, extreme),
            "b_multiplier": bm,
            "b_shift": be,
        }
    elif operator == "QuantizeImage":
        colours = dim(1, 4)
        x = {
            "image": integers(rng, (n, colours, t, dim(1, 9)), np.uint8, extreme),
            **_affine(rng, "", colours, 256, 40, extreme),
        }
    elif operator == "Shiftmax":
        x = {"x": integers(rng, (n, t, c), np.int8, extreme)}
        attributes = {**exp_attributes(rng, extreme), "frac_bits": int(rng.choice([7, 8, 15]))}
    elif operator == "TableSoftmax":
        x = {"x": integers(rng, (n, t, c), np.int8, extreme), "exponentials": exponentials(rng, extreme)}
        attributes = {"frac_bits": int(rng.choice([7, 8, 15]))}
    elif operator == "TableGELU":
        x = {"x": integers(rng, (n, t, c), np.int8, extreme), "table": integers(rng, (256,), np.int8, extreme)}
    elif operator == "ShiftGELU":
        x = {"x": integers(rng, (n, t, c), np.int8, extreme)}
        attributes = exp_attributes(rng, extreme)
    elif operator in ("IntLayerNorm", "IntLayerNorm16"):
        values = integers(rng, (n, t, c), np.int16, extreme)
        if not extreme:
            values = (values >> rng.integers(0, 14)).astype(np.int16)
        x = {"x": values, **_norm(rng, "", c, extreme)}
    elif operator in ("IntLinear", "IntLinear16", "IntLinear32"):
        k = dim(1, 70)
        x = {"x": integers(rng, (n, t, k), np.int8, extreme), **_linear(rng, "", k, c, extreme)}
    elif operator in ("IntLinearAdd", "IntLinearAddNorm"):
        k = dim(1, 70)
        x = {
            "x": integers(rng, (n, t, k), np.int8, extreme),
            "residual": integers(rng, (n, t, c), np.int16, extreme),
            **_linear(rng, "", k, c, extreme, target=32768),
            **_residual(rng, extreme),
            **(_norm(rng, "norm_", c, extreme) if operator == "IntLinearAddNorm" else {}),
        }
    elif operator in ("IntAttention", "IntTableAttention"):
        heads, head_dim = dim(1, 4), dim(1, 20)
        sm, se = dyadic(rng, (), 5000 * head_dim**0.5, extreme)
        softmax, table = _softmax(rng, operator, extreme)
        attributes = {"heads": heads, **softmax}
        cm, ce = dyadic(
            rng,
            () if rng.random() < 0.5 else (heads * head_dim,),
            2 ** attributes["frac_bits"] * 40,
            extreme,
        )
        x = {
            "qkv": integers(rng, (n, t, 3 * heads * head_dim), np.int8, extreme),
            "score_multiplier": sm,
            "score_shift": se,
            "context_multiplier": cm,
            "context_shift": ce,
            **table,
        }
    elif operator in ("IntWindowAttention", "IntTableWindowAttention"):
        heads, head_dim = dim(1, 4), dim(1, 20)
        height, width, window = dim(1, 5), dim(1, 5), dim(1, 3)
        channels = heads * head_dim
        softmax, table = _softmax(rng, operator, extreme)
        attributes = {
            "heads": heads,
            "height": height,
            "width": width,
            "window": window,
            "shift": int(rng.integers(0, window)),
            **softmax,
        }
        sm, se = dyadic(rng, (), 5000 * head_dim**0.5, extreme)
        pm, pe = dyadic(rng, (), 128, extreme, negative=False)
        shape = () if rng.random() < 0.5 else (channels,)
        cm, ce = dyadic(rng, shape, 2 ** attributes["frac_bits"] * 40, extreme)
        limit = 2**15 if extreme else 100
        x = {
            "qkv": integers(rng, (n, height * width, 3 * channels), np.int8, extreme),
            "padding": integers(rng, (3 * channels,), np.int8, extreme),
            "relative_position": rng.integers(-limit, limit, ((2 * window - 1) ** 2, heads)).astype(np.int16),
            "score_multiplier": sm,
            "score_shift": se,
            "placed_multiplier": pm,
            "placed_shift": pe,
            "context_multiplier": cm,
            "context_shift": ce,
            **table,
        }
    elif operator in ("IntMlpAdd", "IntMlpAddNorm", "IntTableMlpAdd", "IntTableMlpAddNorm"):
        h = dim(1, 70)
        if operator.startswith("IntTable"):
            gelu = {"gelu_table": integers(rng, (256,), np.int8, extreme)}
        else:
            gm, ge = dyadic(rng, () if rng.random() < 0.5 else (h,), 2**14, extreme)
            gelu = {"gelu_multiplier": gm, "gelu_shift": ge}
            attributes = exp_attributes(rng, extreme)
        x = {
            "x": integers(rng, (n, t, c), np.int8, extreme),
            "residual": integers(rng, (n, t, c), np.int16, extreme),
            **_linear(rng, "fc1_", c, h, extreme),
            **gelu,
            **_linear(rng, "fc2_", h, c, extreme, target=32768),
            **_residual(rng, extreme),
            **(_norm(rng, "norm_", c, extreme) if operator.endswith("Norm") else {}),
        }
    elif operator in ("IntPatchEmbed", "IntPixelEmbed"):
        patch, colours = dim(1, 5), dim(1, 3)
        rows, columns, prefix = dim(1, 3), dim(1, 3), dim(0, 2)
        tm, te = dyadic(rng, (), 128, extreme, negative=False)
        attributes = {"patch_size": patch}
        pixels = operator == "IntPixelEmbed"
        x = {
            "image": integers(
                rng, (n, colours, rows * patch, columns * patch), np.uint8 if pixels else np.int8, extreme
            ),
            **(_affine(rng, "pixel_", colours, 256, 40, extreme) if pixels else {}),
            **_linear(rng, "", colours * patch * patch, c, extreme, target=32768),
            "token_multiplier": tm,
            "token_shift": te,
            "position": rng.integers(-(2**17), 2**17, (rows * columns, c)).astype(np.int32),
            "prefix_tokens": integers(rng, (prefix, c), np.int16, extreme),
        }
    elif operator in ("IntTokenMean", "IntTokenMean16"):
        m, e = dyadic(rng, () if rng.random() < 0.3 else (c,), 64, extreme)
        dtype = np.int8 if operator == "IntTokenMean" else np.int16
        x = {"x": integers(rng, (n, t, c), dtype, extreme), "multiplier": m, "shift": e}
    elif operator in ("IntPatchEmbedNorm16", "IntPixelEmbedNorm16"):
        patch, colours = dim(1, 5), dim(1, 3)
        tm, te = dyadic(rng, (), 128, extreme, negative=False)
        bits = int(rng.choice([8, 16]))
        attributes = {"patch_size": patch, "bits": bits}
        pixels = operator == "IntPixelEmbedNorm16"
        shape = (n, colours, dim(1, 3) * patch, dim(1, 3) * patch)
        target = 2 ** (bits - 1)
        x = {
            "image": integers(rng, shape, np.uint8 if pixels else np.int8, extreme),
            **(_affine(rng, "pixel_", colours, 256, 40, extreme) if pixels else {}),
            **_linear(rng, "", colours * patch * patch, c, extreme, target=target),
            **_affine(rng, "norm_", c, 2**22 / max(1.0, c**0.5), 32, extreme),
            "token_multiplier": tm,
            "token_shift": te,
        }
    elif operator == "IntPatchMerge":
        height, width = dim(1, 5), dim(1, 5)
        bits = int(rng.choice([8, 16]))
        attributes = {"height": height, "width": width, "bits": bits}
        x = {
            "x": integers(rng, (n, height * width, c), np.int16, extreme),
            **_norm(rng, "norm_", 4 * c, extreme),
            **_linear(rng, "", 4 * c, dim(1, 30), extreme, target=2 ** (bits - 1)),
        }
    else:
        raise KeyError(f"no random case is known for operator {operator}; add one to tests/cases.py")
    return Case(operator, x, attributes)
