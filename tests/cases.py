"""Random valid calls of every operator: the one source of inputs for body, twin and kernel tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from drawing import Array, Draw, exponentials
from ivit_onnx.opset import OPERATORS, Part


@dataclass
class Case:
    """One call: constants and data by input name, attributes by name."""

    operator: str
    inputs: dict[str, Array]
    attributes: dict[str, int]


#: Inputs and attributes.
Arguments = tuple[dict[str, Array], dict[str, int]]


def requantize(draw: Draw, operator: str) -> Arguments:
    scale = draw.scale("", draw.one_or_each(draw.c, 0.3), 2**30)
    return {"x": draw.rows(draw.c, np.int32), **scale}, {}


def add_requantize(draw: Draw, operator: str) -> Arguments:
    a_scale = draw.scale("a_", draw.one_or_each(draw.c, 0.5), 128)
    b_scale = draw.scale("b_", draw.one_or_each(draw.c, 0.5), 128)
    return {"a": draw.rows(draw.c, np.int16), **a_scale, "b": draw.rows(draw.c, np.int16), **b_scale}, {}


def quantize_image(draw: Draw, operator: str) -> Arguments:
    colours = draw.dim(1, 4)
    image = draw.integers((draw.n, colours, draw.t, draw.dim(1, 9)), np.uint8)
    return {"image": image, **draw.affine("", colours, 256, 40)}, {}


def shiftmax(draw: Draw, operator: str) -> Arguments:
    x = draw.rows(draw.c, np.int8)
    return {"x": x}, {**draw.exponent(), **draw.frac_bits()}


def table_softmax(draw: Draw, operator: str) -> Arguments:
    x = {"x": draw.rows(draw.c, np.int8), "exponentials": exponentials(draw.rng, draw.extreme)}
    return x, draw.frac_bits()


def table_gelu(draw: Draw, operator: str) -> Arguments:
    return {"x": draw.rows(draw.c, np.int8), "table": draw.integers((256,), np.int8)}, {}


def shift_gelu(draw: Draw, operator: str) -> Arguments:
    x = draw.rows(draw.c, np.int8)
    return {"x": x}, draw.exponent()


def int_layer_norm(draw: Draw, operator: str) -> Arguments:
    values = draw.rows(draw.c, np.int16)
    if not draw.extreme:
        values = (values >> draw.rng.integers(0, 14)).astype(np.int16)
    return {"x": values, **draw.norm("", draw.c)}, {}


def int_linear(draw: Draw, operator: str) -> Arguments:
    k = draw.dim(1, 70)
    return {"x": draw.rows(k, np.int8), **draw.linear("", k, draw.c)}, {}


def int_linear_add(draw: Draw, operator: str) -> Arguments:
    k = draw.dim(1, 70)
    x = {
        "x": draw.rows(k, np.int8),
        "residual": draw.rows(draw.c, np.int16),
        **draw.linear("", k, draw.c, target=32768),
        **draw.residual(),
        **(draw.norm("norm_", draw.c) if Part.NORM in OPERATORS[operator].parts else {}),
    }
    return x, {}


def int_attention(draw: Draw, operator: str) -> Arguments:
    heads, head_dim = draw.dim(1, 4), draw.dim(1, 20)
    score = draw.scale("score_", (), 5000 * head_dim**0.5)
    softmax, table = draw.softmax(operator)
    context = draw.scale("context_", draw.one_or_each(heads * head_dim, 0.5), 2 ** softmax["frac_bits"] * 40)
    x = {"qkv": draw.rows(3 * heads * head_dim, np.int8), **score, **context, **table}
    return x, {"heads": heads, **softmax}


def int_window_attention(draw: Draw, operator: str) -> Arguments:
    heads, head_dim = draw.dim(1, 4), draw.dim(1, 20)
    height, width, window = draw.dim(1, 5), draw.dim(1, 5), draw.dim(1, 3)
    channels = heads * head_dim
    softmax, table = draw.softmax(operator)
    shift = int(draw.rng.integers(0, window))
    score = draw.scale("score_", (), 5000 * head_dim**0.5)
    biased = draw.scale("placed_", (), 128, negative=False)
    context = draw.scale("context_", draw.one_or_each(channels, 0.5), 2 ** softmax["frac_bits"] * 40)
    limit = 2**15 if draw.extreme else 100
    x = {
        "qkv": draw.integers((draw.n, height * width, 3 * channels), np.int8),
        "padding": draw.integers((3 * channels,), np.int8),
        "relative_position": draw.rng.integers(-limit, limit, ((2 * window - 1) ** 2, heads)).astype(np.int16),
        **score,
        **biased,
        **context,
        **table,
    }
    return x, {"heads": heads, "height": height, "width": width, "window": window, "shift": shift, **softmax}


def deferred(draw: Draw, keys: int) -> tuple[dict[str, int], dict[str, Array]]:
    """Attributes and the table of a deferred softmax over rows of that many keys."""
    levels = int(draw.rng.choice([bits for bits in (128, 256, 1024, 16384, 32768) if keys * bits <= 2**24]))
    attributes = {
        "score_shift": int(draw.rng.integers(0, 6)),
        "distance_multiplier": int(draw.rng.choice([1, 255, 3000, 32767])),
        "levels": levels,
    }
    if draw.extreme:
        table = draw.rng.choice([0, 1, 127, 128, 255, 256, 32639, 32640, 32767], 256)
    else:
        table = np.rint(32767 * np.exp(-np.arange(256) * draw.rng.uniform(0.001, 0.2)))
    return attributes, {"exponentials": table.astype(np.int16)}


def int_deferred_attention(draw: Draw, operator: str) -> Arguments:
    heads, head_dim = draw.dim(1, 4), draw.dim(1, 20)
    qkv = draw.rows(3 * heads * head_dim, np.int8)
    softmax, table = deferred(draw, qkv.shape[1])
    context = draw.scale("context_", draw.one_or_each(heads * head_dim, 0.5), 2**15 * 40)
    return {"qkv": qkv, **context, **table}, {"heads": heads, **softmax}


def int_deferred_window_attention(draw: Draw, operator: str) -> Arguments:
    heads, head_dim = draw.dim(1, 4), draw.dim(1, 20)
    height, width, window = draw.dim(1, 5), draw.dim(1, 5), draw.dim(1, 3)
    channels = heads * head_dim
    softmax, table = deferred(draw, window**2)
    limit = 2**15 if draw.extreme else 3000
    x = {
        "qkv": draw.integers((draw.n, height * width, 3 * channels), np.int8),
        "padding": draw.integers((3 * channels,), np.int8),
        "relative_position": draw.rng.integers(-limit, limit, ((2 * window - 1) ** 2, heads)).astype(np.int16),
        **draw.scale("context_", draw.one_or_each(channels, 0.5), 2**15 * 40),
        **table,
    }
    shift = int(draw.rng.integers(0, window))
    return x, {"heads": heads, "height": height, "width": width, "window": window, "shift": shift, **softmax}


def int_mlp_add(draw: Draw, operator: str) -> Arguments:
    h = draw.dim(1, 70)
    attributes: dict[str, int] = {}
    if Part.TABLE in OPERATORS[operator].parts:
        gelu = {"gelu_table": draw.integers((256,), np.int8)}
    else:
        gelu = draw.scale("gelu_", draw.one_or_each(h, 0.5), 2**14)
        attributes = draw.exponent()
    x = {
        "x": draw.rows(draw.c, np.int8),
        "residual": draw.rows(draw.c, np.int16),
        **draw.linear("fc1_", draw.c, h),
        **gelu,
        **draw.linear("fc2_", h, draw.c, target=32768),
        **draw.residual(),
        **(draw.norm("norm_", draw.c) if Part.NORM in OPERATORS[operator].parts else {}),
    }
    return x, attributes


def int_patch_embed(draw: Draw, operator: str) -> Arguments:
    patch, colours = draw.dim(1, 5), draw.dim(1, 3)
    rows, columns, prefix = draw.dim(1, 3), draw.dim(1, 3), draw.dim(0, 2)
    token = draw.scale("token_", (), 128, negative=False)
    pixels = Part.PIXELS in OPERATORS[operator].parts
    shape = (draw.n, colours, rows * patch, columns * patch)
    x = {
        "image": draw.integers(shape, np.uint8 if pixels else np.int8),
        **(draw.affine("pixel_", colours, 256, 40) if pixels else {}),
        **draw.linear("", colours * patch * patch, draw.c, target=32768),
        **token,
        "position": draw.rng.integers(-(2**17), 2**17, (rows * columns, draw.c)).astype(np.int32),
        "prefix_tokens": draw.integers((prefix, draw.c), np.int16),
    }
    return x, {"patch_size": patch}


def int_patch_embed_norm(draw: Draw, operator: str) -> Arguments:
    patch, colours = draw.dim(1, 5), draw.dim(1, 3)
    token = draw.scale("token_", (), 128, negative=False)
    bits = int(draw.rng.choice([8, 16]))
    pixels = Part.PIXELS in OPERATORS[operator].parts
    shape = (draw.n, colours, draw.dim(1, 3) * patch, draw.dim(1, 3) * patch)
    x = {
        "image": draw.integers(shape, np.uint8 if pixels else np.int8),
        **(draw.affine("pixel_", colours, 256, 40) if pixels else {}),
        **draw.linear("", colours * patch * patch, draw.c, target=2 ** (bits - 1)),
        **draw.affine("norm_", draw.c, 2**22 / max(1.0, draw.c**0.5), 32),
        **token,
    }
    return x, {"patch_size": patch, "bits": bits}


def int_token_mean(draw: Draw, operator: str) -> Arguments:
    scale = draw.scale("", draw.one_or_each(draw.c, 0.3), 64)
    return {"x": draw.rows(draw.c, np.int8 if operator == "IntTokenMean" else np.int16), **scale}, {}


def int_patch_merge(draw: Draw, operator: str) -> Arguments:
    height, width = draw.dim(1, 5), draw.dim(1, 5)
    bits = int(draw.rng.choice([8, 16]))
    x = {
        "x": draw.integers((draw.n, height * width, draw.c), np.int16),
        **draw.norm("norm_", 4 * draw.c),
        **draw.linear("", 4 * draw.c, draw.dim(1, 30), target=2 ** (bits - 1)),
    }
    return x, {"height": height, "width": width, "bits": bits}


#: How the call of each operator is drawn.
CALLS: dict[str, Callable[[Draw, str], Arguments]] = {
    "Requantize": requantize,
    "Requantize16": requantize,
    "Requantize32": requantize,
    "AddRequantize": add_requantize,
    "QuantizeImage": quantize_image,
    "Shiftmax": shiftmax,
    "TableSoftmax": table_softmax,
    "TableGELU": table_gelu,
    "ShiftGELU": shift_gelu,
    "IntLayerNorm": int_layer_norm,
    "IntLayerNorm16": int_layer_norm,
    "IntLinear": int_linear,
    "IntLinear16": int_linear,
    "IntLinear32": int_linear,
    "IntLinearAdd": int_linear_add,
    "IntLinearAddNorm": int_linear_add,
    "IntAttention": int_attention,
    "IntTableAttention": int_attention,
    "IntWindowAttention": int_window_attention,
    "IntTableWindowAttention": int_window_attention,
    "IntDeferredAttention": int_deferred_attention,
    "IntDeferredWindowAttention": int_deferred_window_attention,
    "IntMlpAdd": int_mlp_add,
    "IntMlpAddNorm": int_mlp_add,
    "IntTableMlpAdd": int_mlp_add,
    "IntTableMlpAddNorm": int_mlp_add,
    "IntPatchEmbed": int_patch_embed,
    "IntPixelEmbed": int_patch_embed,
    "IntPatchEmbedNorm16": int_patch_embed_norm,
    "IntPixelEmbedNorm16": int_patch_embed_norm,
    "IntPatchMerge": int_patch_merge,
    "IntTokenMean": int_token_mean,
    "IntTokenMean16": int_token_mean,
}


def random_case(operator: str, rng: np.random.Generator, *, extreme: bool = False, size: int = 1) -> Case:
    """A valid call of `operator` with small random dimensions (odd sizes included), scaled by `size`."""
    if operator not in CALLS:
        raise KeyError(f"no random case is known for operator {operator}; add one to tests/cases.py")
    inputs, attributes = CALLS[operator](Draw(rng, extreme, size), operator)
    return Case(operator, inputs, attributes)
