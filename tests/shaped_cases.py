"""Calls of given shapes: those of whole models, and those that fit no tile of a kernel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle

import numpy as np

from cases import Case, random_case
from drawing import Array, dyadic, exp_attributes, exponentials, integers
from ivit_onnx.opset import OPERATORS

__all__ = ["attention_case", "deit_case", "odd_cases", "random_cases"]


def linear_inputs(rng: np.random.Generator, prefix: str, k: int, n: int, target: int = 128) -> dict[str, Array]:
    m, e = dyadic(rng, (n,), 5000 * k**0.5 * 128 / target, False)
    return {
        f"{prefix}weight": integers(rng, (k, n), np.int8, False),
        f"{prefix}bias": rng.integers(-(2**20), 2**20, n).astype(np.int32),
        f"{prefix}multiplier": m,
        f"{prefix}shift": e,
    }


def residual_inputs(rng: np.random.Generator) -> dict[str, Array]:
    bm, be = dyadic(rng, (), 128, False, negative=False)
    rm, re = dyadic(rng, (), 128, False, negative=False)
    return {"branch_multiplier": bm, "branch_shift": be, "residual_multiplier": rm, "residual_shift": re}


def linear_case(rng: np.random.Generator, operator: str, m: int, k: int, n: int) -> Case:
    target = 128 if operator == "IntLinear" else 32768
    inputs = {"x": integers(rng, (1, m, k), np.int8, False), **linear_inputs(rng, "", k, n, target)}
    if operator == "IntLinearAdd":
        inputs |= {"residual": integers(rng, (1, m, n), np.int16, False), **residual_inputs(rng)}
    return Case(operator, inputs, {})


def residual_scale_cases(rng: np.random.Generator) -> Iterator[Case]:
    """Residual connections whose scales stand at the ends of what 16-bit multiplications take."""
    top = 2**31 - 1
    for multiplier in (top, top - 2**15, top - 2**15 + 1, 2**30, 2**15, 2**15 - 1, 1, 0, -1, -top):
        for shift in (1, 16, 17, 31, 32, 46, 47, 48, 62):
            case = linear_case(rng, "IntLinearAdd", 7, 8, 70)
            case.inputs["residual"] = integers(rng, (1, 7, 70), np.int16, True)
            for side, other in (("branch", "residual"), ("residual", "branch")):
                scales = {f"{side}_multiplier": np.int32(multiplier), f"{side}_shift": np.int8(shift)}
                scales |= {f"{other}_multiplier": np.int32(2**30), f"{other}_shift": np.int8(31)}
                yield Case("IntLinearAdd", {**case.inputs, **{name: np.asarray(v) for name, v in scales.items()}}, {})


def mlp_case(rng: np.random.Generator, batch: int, tokens: int, channels: int, hidden: int) -> Case:
    gm, ge = dyadic(rng, (), 2**14, False)
    inputs = {
        "x": integers(rng, (batch, tokens, channels), np.int8, False),
        "residual": integers(rng, (batch, tokens, channels), np.int16, False),
        **linear_inputs(rng, "fc1_", channels, hidden),
        "gelu_multiplier": gm,
        "gelu_shift": ge,
        **linear_inputs(rng, "fc2_", hidden, channels, target=32768),
        **residual_inputs(rng),
    }
    return Case("IntMlpAdd", inputs, exp_attributes(rng, False))


def attention_case(
    rng: np.random.Generator, batch: int, tokens: int, heads: int, head_dim: int, frac_bits: int, x0: int, n: int
) -> Case:
    channels = heads * head_dim
    sm, se = dyadic(rng, (), 5000 * head_dim**0.5, False)
    cm, ce = dyadic(rng, (channels,), 2**frac_bits * 8, False)
    inputs = {
        "qkv": integers(rng, (batch, tokens, 3 * channels), np.int8, False),
        "score_multiplier": sm,
        "score_shift": se,
        "context_multiplier": cm,
        "context_shift": ce,
    }
    return Case("IntAttention", inputs, {"heads": heads, "frac_bits": frac_bits, "x0": x0, "n": n})


def norm_case(rng: np.random.Generator, batch: int, tokens: int, channels: int) -> Case:
    m, e = dyadic(rng, (channels,), 2**30 / channels**0.5, False)
    offset = rng.integers(-(2**36), 2**36, channels)
    x = integers(rng, (batch, tokens, channels), np.int16, False)
    return Case("IntLayerNorm", {"x": x, "multiplier": m, "offset": offset, "shift": e}, {})


def spike_case(channels: int, spike: int) -> Case:
    """Rows with one value that is not zero: |x| * (2^31 // root) is largest for them."""
    x = np.zeros((1, 2, channels), np.int16)
    x[0, 0, channels // 2], x[0, 1, channels // 2] = spike, -spike
    m, e = np.full(channels, 2**30, np.int32), np.full(channels, 54, np.int8)
    return Case("IntLayerNorm", {"x": x, "multiplier": m, "offset": np.full(channels, 2**53), "shift": e}, {})


def mean_case(rng: np.random.Generator, operator: str, x: Array) -> Case:
    m, e = dyadic(rng, (x.shape[-1],), 128, False)
    return Case(operator, {"x": x, "multiplier": m, "shift": e}, {})


def window_case(
    rng: np.random.Generator, grid: tuple[int, int], window: int, shift: int, heads: int, head_dim: int, **others: int
) -> Case:
    """Windows of a Swin; `others` are frac_bits, x0 and n."""
    channels = heads * head_dim
    sm, se = dyadic(rng, (), 5000 * head_dim**0.5, False)
    pm, pe = dyadic(rng, (), 128, False, negative=False)
    cm, ce = dyadic(rng, (channels,), 2 ** others["frac_bits"] * 8, False)
    inputs = {
        "qkv": integers(rng, (1, grid[0] * grid[1], 3 * channels), np.int8, False),
        "padding": integers(rng, (3 * channels,), np.int8, False),
        "relative_position": rng.integers(-100, 100, ((2 * window - 1) ** 2, heads)).astype(np.int16),
        "score_multiplier": sm,
        "score_shift": se,
        "placed_multiplier": pm,
        "placed_shift": pe,
        "context_multiplier": cm,
        "context_shift": ce,
    }
    shape = {"heads": heads, "height": grid[0], "width": grid[1], "window": window, "shift": shift}
    return Case("IntWindowAttention", inputs, {**shape, **others})


def merge_case(rng: np.random.Generator, height: int, width: int, channels: int, bits: int) -> Case:
    norm = {f"norm_{name}": array for name, array in norm_case(rng, 1, 1, 4 * channels).inputs.items() if name != "x"}
    linear = linear_inputs(rng, "", 4 * channels, 2 * channels, target=2 ** (bits - 1))
    x = integers(rng, (2, height * width, channels), np.int16, False)
    return Case("IntPatchMerge", {"x": x, **norm, **linear}, {"height": height, "width": width, "bits": bits})


def embed_norm_case(rng: np.random.Generator, images: int, size: int, patch: int, width: int, bits: int) -> Case:
    m, e = dyadic(rng, (width,), 2**22 / width**0.5, False)
    tm, te = dyadic(rng, (), 128, False, negative=False)
    inputs = {
        "image": integers(rng, (images, 3, size, size), np.int8, False),
        **linear_inputs(rng, "", 3 * patch * patch, width, target=2 ** (bits - 1)),
        "norm_multiplier": m,
        "norm_offset": rng.integers(-(2**32), 2**32, width),
        "norm_shift": e,
        "token_multiplier": tm,
        "token_shift": te,
    }
    return Case("IntPatchEmbedNorm16", inputs, {"patch_size": patch, "bits": bits})


def image_case(rng: np.random.Generator, images: int, colours: int, height: int, width: int) -> Case:
    m, e = dyadic(rng, (colours,), 256, False)
    image = integers(rng, (images, colours, height, width), np.uint8, False)
    offset = rng.integers(-(2**40), 2**40, colours)
    return Case("QuantizeImage", {"image": image, "multiplier": m, "offset": offset, "shift": e}, {})


def add_case(rng: np.random.Generator, rows: int, channels: int, *, per_channel: bool) -> Case:
    shape = (channels,) if per_channel else ()
    am, ae = dyadic(rng, shape, 128, False)
    bm, be = dyadic(rng, (), 128, False)
    a, b = (integers(rng, (rows, channels), np.int16, False) for _ in range(2))
    scales = {"a_multiplier": am, "a_shift": ae, "b_multiplier": bm, "b_shift": be}
    return Case("AddRequantize", {"a": a, "b": b, **scales}, {})


def row_cases(rng: np.random.Generator) -> Iterator[Case]:
    """Operators that take whole rows, with more and longer rows than a tile, a warp or a block has."""
    for rows, channels in ((300, 192), (261, 768), (70, 320), (130, 2048), (9, 1280), (3, 2052), (300, 6)):
        case = norm_case(rng, 1, rows, channels)
        yield from (case, replace(case, operator="IntLayerNorm16"))
    for rows, channels in ((5, 192), (9, 768), (3, 3072), (2, 5120), (4, 8192), (3, 8208), (7, 1001)):
        # Values whose row maximum is low, too.
        low = (rng.integers(-40, 20, (rows, channels)) - 80).astype(np.int8)
        for x in (integers(rng, (rows, channels), np.int8, False), low):
            yield Case("ShiftGELU", {"x": x}, exp_attributes(rng, False))
            yield Case("Shiftmax", {"x": x}, {**exp_attributes(rng, False), "frac_bits": int(rng.choice([7, 8, 15]))})
    for rows, channels in ((300, 192), (7, 1000), (33, 129)):
        yield add_case(rng, rows, channels, per_channel=True)
        yield add_case(rng, rows, channels, per_channel=False)


def deit_case(operator: str, rng: np.random.Generator, batch: int) -> Case:
    """A call with the dimensions of DeiT-tiny at 224 pixels, larger than any block or tile of the kernels."""
    tokens, channels, hidden, heads = 197, 192, 768, 3
    if operator == "IntLinear":
        x = integers(rng, (batch, tokens, channels), np.int8, False)
        return Case(operator, {"x": x, **linear_inputs(rng, "", channels, 3 * channels)}, {})
    if operator == "IntLinearAdd":
        x = integers(rng, (batch, tokens, channels), np.int8, False)
        stream = integers(rng, (batch, tokens, channels), np.int16, False)
        linear = linear_inputs(rng, "", channels, channels, target=32768)
        return Case(operator, {"x": x, "residual": stream, **linear, **residual_inputs(rng)}, {})
    if operator == "IntLayerNorm":
        return norm_case(rng, batch, tokens, channels)
    if operator == "IntAttention":
        return attention_case(rng, batch, tokens, heads, channels // heads, 15, **exp_attributes(rng, False))
    if operator == "IntMlpAdd":
        return mlp_case(rng, batch, tokens, channels, hidden)
    tm, te = dyadic(rng, (), 128, False, negative=False)
    inputs = {
        "image": integers(rng, (batch, 3, 224, 224), np.int8, False),
        **linear_inputs(rng, "", 3 * 16 * 16, channels, target=32768),
        "token_multiplier": tm,
        "token_shift": te,
        "position": rng.integers(-(2**15), 2**15, (196, channels)).astype(np.int32),
        "prefix_tokens": integers(rng, (1, channels), np.int16, False),
    }
    return Case("IntPatchEmbed", inputs, {"patch_size": 16})


#: The operators with tables by those with shifts.
TABLES = {
    "Shiftmax": "TableSoftmax",
    "IntAttention": "IntTableAttention",
    "IntWindowAttention": "IntTableWindowAttention",
    "IntMlpAdd": "IntTableMlpAdd",
}


def with_table(rng: np.random.Generator, case: Case, *, extreme: bool = False) -> Case:
    """The same call by tables."""
    attributes = {name: value for name, value in case.attributes.items() if name not in ("x0", "n")}
    inputs = {name: array for name, array in case.inputs.items() if not name.startswith("gelu_")}
    if "frac_bits" in attributes:
        inputs["exponentials"] = exponentials(rng, extreme)
    else:
        inputs["gelu_table"] = integers(rng, (256,), np.int8, extreme)
    return Case(TABLES[case.operator], inputs, attributes)


def odd_cases(rng: np.random.Generator) -> Iterator[Case]:
    """Every operator at odd shapes; many with shifts also with tables."""
    others = np.random.default_rng(2)
    for index, case in enumerate(shift_cases(rng)):
        yield case
        if case.operator in TABLES and (index % 3 == 0 or case.inputs.get("qkv", np.zeros((1, 2))).shape[1] == 1):
            yield with_table(others, case, extreme=index % 2 == 1)
    for rows, channels in ((1, 1), (3, 130), (70, 1000), (2, 9000)):
        x = integers(others, (rows, channels), np.int8, False)
        yield Case("TableGELU", {"x": x, "table": integers(others, (256,), np.int8, False)}, {})


def shift_cases(rng: np.random.Generator) -> Iterator[Case]:
    """Every operator without tables at shapes that are no multiples of tiles, and at the token counts and head sizes of
    models."""
    # Exponentials of a published model, of one whose distances all matter, and two whose sums saturate.
    exponentials = cycle([(-20, 15), (-90, 12), (-200, 23), (-1000, 23), (-3, 8)])
    heads = cycle([*range(1, 17)])
    head_dims = cycle([32, 5, 64, 33])
    for tokens in (1, 5, 49, 197, 257, 577):
        for head_dim in (32, 64, 80):
            for frac_bits in (7, 8, 15):
                count = next(heads) if tokens < 577 else 2
                yield attention_case(rng, 1, tokens, count, head_dim, frac_bits, *next(exponentials))
    for tokens, head_dim in ((2, 1), (63, 3), (64, 17), (65, 66), (66, 128), (129, 130)):
        yield attention_case(rng, 2, tokens, 2, head_dim, 15, *next(exponentials))
    # Wide heads, one key alone with exponentials that are powers of two, and many blocks.
    for tokens, head_dim, frac_bits in ((70, 130, 8), (33, 192, 15), (40, 200, 7), (65, 256, 15)):
        yield attention_case(rng, 1, tokens, 2, head_dim, frac_bits, *next(exponentials))
    for x0, n in ((-64, 15), (-1, 1), (-(2**29), 31)):
        for frac_bits in (7, 8, 15):
            yield attention_case(rng, 2, 1, 1, 33, frac_bits, x0, n)
            yield window_case(rng, (3, 2), 1, 0, 2, 20, frac_bits=frac_bits, x0=x0, n=n)
    yield attention_case(rng, 3, 198, 12, 32, 15, *next(exponentials))
    # Windows larger than the grid, and such that have more than one block of queries.
    for grid, window in (((3, 3), 7), ((9, 11), 16), ((24, 20), 12)):
        yield window_case(rng, grid, window, window // 2, 2, 40, frac_bits=15, x0=-20, n=15)
    # Windows of 7 and 12 as models have them, on grids that they divide and do not, whole and cut by a shift.
    for grid, window in (((14, 14), 7), ((7, 7), 7), ((21, 10), 7), ((24, 12), 12), ((13, 30), 12), ((5, 9), 4)):
        for shift in (0, window // 2) if min(grid) > window else (0,):
            for frac_bits in (7, 8, 15):
                x0, n = next(exponentials)
                heads_, head_dim = next(heads) % 5 + 1, 32 if frac_bits == 8 else next(head_dims)
                yield window_case(rng, grid, window, shift, heads_, head_dim, frac_bits=frac_bits, x0=x0, n=n)
    shapes = ((1, 1, 1), (5, 3, 65), (6, 64, 64), (7, 63, 130), (13, 100, 31), (97, 66, 129), (197, 192, 200))
    # More rows than a block has.
    for m, k, n in (*shapes, (1030, 4, 130), (520, 1000, 70)):
        for operator in ("IntLinear", "IntLinear16", "IntLinear32", "IntLinearAdd"):
            yield linear_case(rng, operator, m, k, n)
        yield mlp_case(rng, 1, m, k, n)
    yield from residual_scale_cases(rng)
    for tokens, channels in ((1, 1), (7, 7), (8, 8), (9, 31), (12, 33), (197, 192), (5, 385), (3, 1024)):
        case = norm_case(rng, 1, tokens, channels)
        yield from (case, replace(case, operator="IntLayerNorm16"))
    for channels, spike in ((384, 128), (768, 256), (2048, 1024), (70000, 32767)):
        yield spike_case(channels, spike)
    yield from row_cases(rng)
    for operator, dtype in (("IntTokenMean", np.int8), ("IntTokenMean16", np.int16)):
        for images, tokens, channels in ((1, 1, 1), (2, 49, 768), (3, 196, 129), (1, 1369, 127), (2, 7, 128)):
            yield mean_case(rng, operator, integers(rng, (images, tokens, channels), dtype, False))
        yield mean_case(rng, operator, np.full((1, 65535, 3), np.iinfo(dtype).min, dtype))
    for height, width, channels, bits in ((1, 1, 5, 16), (8, 6, 96, 16), (7, 9, 33, 8), (14, 14, 48, 8)):
        yield merge_case(rng, height, width, channels, bits)
    for count, size, patch, channels, bits in ((1, 224, 4, 96, 16), (2, 32, 4, 128, 8), (3, 14, 7, 33, 8)):
        yield embed_norm_case(rng, count, size, patch, channels, bits)
    for width in (1, 63, 64, 65, 224):
        yield image_case(rng, 2, 3, 5, width)
    yield image_case(rng, 1, 3, 96, 112)
    yield image_case(rng, 1, 2, 99, 101)


def random_cases(rng: np.random.Generator, count: int) -> Iterator[Case]:
    """`count` normal and as many extreme calls of every operator."""
    for operator in OPERATORS:
        for i in range(2 * count):
            yield random_case(operator, rng, extreme=i % 2 == 1, size=3)
