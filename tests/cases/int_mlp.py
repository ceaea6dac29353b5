"""IntMlpAdd and its variants."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cases.case import Arguments, Case, linear_inputs, residual_inputs, with_table
from cases.int_linear import LINEAR_SHAPES
from drawing import Draw, dyadic, exp_attributes, integers
from ivit_onnx.opset import OPERATORS, Part


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


CALLS = {
    "IntMlpAdd": int_mlp_add,
    "IntMlpAddNorm": int_mlp_add,
    "IntTableMlpAdd": int_mlp_add,
    "IntTableMlpAddNorm": int_mlp_add,
}


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


def shaped(rng: np.random.Generator) -> Iterator[Case]:
    for index, shape in enumerate(LINEAR_SHAPES):
        case = mlp_case(rng, 1, *shape)
        yield case
        if index % 3 == 0:
            yield with_table(rng, case, "IntTableMlpAdd", extreme=index % 2 == 1)
