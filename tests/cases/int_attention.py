"""IntAttention and IntTableAttention."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

import numpy as np

from cases.attention import ALONE, EXPONENTIALS, also_by_table
from cases.case import Arguments, Case
from drawing import Draw, dyadic, integers


def int_attention(draw: Draw, operator: str) -> Arguments:
    heads, head_dim = draw.dim(1, 4), draw.dim(1, 20)
    score = draw.scale("score_", (), 5000 * head_dim**0.5)
    softmax, table = draw.softmax(operator)
    context = draw.scale("context_", draw.one_or_each(heads * head_dim, 0.5), 2 ** softmax["frac_bits"] * 40)
    x = {"qkv": draw.rows(3 * heads * head_dim, np.int8), **score, **context, **table}
    return x, {"heads": heads, **softmax}


CALLS = {"IntAttention": int_attention, "IntTableAttention": int_attention}


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


def _by_shifts(rng: np.random.Generator) -> Iterator[Case]:
    """At the token counts and head sizes of models too."""
    exponentials = cycle(EXPONENTIALS)
    heads = cycle(range(1, 17))
    for tokens in (1, 5, 49, 197, 257, 577):
        for head_dim in (32, 64, 80):
            for frac_bits in (7, 8, 15):
                count = next(heads) if tokens < 577 else 2
                yield attention_case(rng, 1, tokens, count, head_dim, frac_bits, *next(exponentials))
    for tokens, head_dim in ((2, 1), (63, 3), (64, 17), (65, 66), (66, 128), (129, 130)):
        yield attention_case(rng, 2, tokens, 2, head_dim, 15, *next(exponentials))
    # Wide heads, and many blocks.
    for tokens, head_dim, frac_bits in ((70, 130, 8), (33, 192, 15), (40, 200, 7), (65, 256, 15)):
        yield attention_case(rng, 1, tokens, 2, head_dim, frac_bits, *next(exponentials))
    for x0, n, frac_bits in ALONE:
        yield attention_case(rng, 2, 1, 1, 33, frac_bits, x0, n)
    yield attention_case(rng, 3, 198, 12, 32, 15, *next(exponentials))


def shaped(rng: np.random.Generator) -> Iterator[Case]:
    yield from also_by_table(rng, _by_shifts(rng), "IntTableAttention")
