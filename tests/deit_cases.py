"""Calls with the dimensions of DeiT-tiny."""

from __future__ import annotations

import numpy as np

from cases.case import Case, linear_inputs, residual_inputs
from cases.int_attention import attention_case
from cases.int_layer_norm import norm_case
from cases.int_mlp import mlp_case
from drawing import dyadic, exp_attributes, integers

__all__ = ["deit_case"]


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
