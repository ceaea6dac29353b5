"""IntTokenMlpAdd and IntTokenMlpAddNorm."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cases.case import Arguments, Case
from cases.int_linear import LINEAR_SHAPES
from cases.int_mlp import mlp_case
from drawing import Array, Draw, dyadic
from ivit_onnx.opset import OPERATORS, Part
from ivit_onnx.opset.int_token_mlp import MOST_SCALES


def _scales(rng: np.random.Generator, scales: int, channels: int, extreme: bool) -> dict[str, Array]:
    """What depends on the scale of a token. Entries may choose a scale beyond the last one."""
    multiplier, shift = dyadic(rng, (scales,), 128, extreme, False)
    return {
        "token_scale": rng.integers(0, min(MOST_SCALES, scales + 3), 256).astype(np.int8),
        "gelu_tables": rng.integers(-128, 128, (scales, 256)).astype(np.int8),
        "fc2_bias": rng.integers(-(2**20), 2**20, (scales, channels)).astype(np.int32),
        "branch_multiplier": multiplier,
        "branch_shift": shift,
    }


def _of_many_sizes(rng: np.random.Generator, x: Array, fc1_bias: Array) -> dict[str, Array]:
    """Small and large tokens, whose largest hidden values differ: they follow x, and not the bias."""
    size = rng.random((*x.shape[:-1], 1)) ** 2
    return {"x": np.rint(x * size).astype(np.int8), "fc1_bias": fc1_bias // 2**12}


def int_token_mlp_add(draw: Draw, operator: str) -> Arguments:
    h = draw.dim(1, 70)
    of_scales = _scales(draw.rng, draw.dim(1, 5), draw.c, draw.extreme)
    given = {
        "x": draw.rows(draw.c, np.int8),
        "residual": draw.rows(draw.c, np.int16),
        **draw.linear("fc1_", draw.c, h),
        **draw.linear("fc2_", h, draw.c, target=32768),
        **draw.residual(),
        **of_scales,
        **(draw.norm("norm_", draw.c) if Part.NORM in OPERATORS[operator].parts else {}),
    }
    if not draw.extreme:
        given |= _of_many_sizes(draw.rng, given["x"], given["fc1_bias"])
    return {tensor.name: given[tensor.name] for tensor in OPERATORS[operator].inputs}, {}


CALLS = {"IntTokenMlpAdd": int_token_mlp_add, "IntTokenMlpAddNorm": int_token_mlp_add}


def token_mlp_case(
    rng: np.random.Generator, batch: int, tokens: int, channels: int, hidden: int, scales: int, *, extreme: bool = False
) -> Case:
    case = mlp_case(rng, batch, tokens, channels, hidden)
    sizes = _of_many_sizes(rng, case.inputs["x"], case.inputs["fc1_bias"])
    given = {**case.inputs, **sizes, **_scales(rng, scales, channels, extreme)}
    return Case(
        "IntTokenMlpAdd", {tensor.name: given[tensor.name] for tensor in OPERATORS["IntTokenMlpAdd"].inputs}, {}
    )


def shaped(rng: np.random.Generator) -> Iterator[Case]:
    for index, shape in enumerate(LINEAR_SHAPES):
        yield token_mlp_case(rng, 1, *shape, (1, 7, 32, MOST_SCALES)[index % 4], extreme=index % 3 == 2)
    # The bias of one scale needs 64 bits when it is shifted, that of the others does not; sums fit int32.
    case = token_mlp_case(rng, 2, 9, 40, 70, 3)
    case.inputs["fc2_bias"][1] = 2**31 - 1 - 70 * 128**2
    yield case
    # The branch of one scale needs 64 bits.
    case = token_mlp_case(rng, 2, 9, 40, 70, 3)
    case.inputs["branch_multiplier"][2], case.inputs["branch_shift"][2] = 2**30, 5
    yield case
    # No token, and tokens that all have the largest or the least value.
    for value in (-128, 127):
        case = token_mlp_case(rng, 1, 13, 33, 65, 4)
        case.inputs["fc1_bias"][...] = np.int32(np.sign(value) * 2**30)
        yield case
