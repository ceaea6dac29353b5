"""IntLinear, its variants, and IntLinearAdd with and without normalisation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cases.case import Arguments, Case, linear_inputs, residual_inputs
from drawing import Draw, integers
from ivit_onnx.opset import OPERATORS, Part

#: Rows, inputs and outputs; the last have more rows than a block.
LINEAR_SHAPES = (
    *((1, 1, 1), (5, 3, 65), (6, 64, 64), (7, 63, 130), (13, 100, 31), (97, 66, 129), (197, 192, 200)),
    *((1030, 4, 130), (520, 1000, 70)),
)


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


CALLS = {
    "IntLinear": int_linear,
    "IntLinear16": int_linear,
    "IntLinear32": int_linear,
    "IntLinearAdd": int_linear_add,
    "IntLinearAddNorm": int_linear_add,
}


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


def shaped(rng: np.random.Generator) -> Iterator[Case]:
    for shape in LINEAR_SHAPES:
        for operator in ("IntLinear", "IntLinear16", "IntLinear32", "IntLinearAdd"):
            yield linear_case(rng, operator, *shape)
    yield from residual_scale_cases(rng)
