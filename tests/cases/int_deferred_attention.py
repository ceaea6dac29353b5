"""IntDeferredAttention and IntDeferredWindowAttention."""

from __future__ import annotations

import numpy as np

from cases.case import Arguments
from drawing import Array, Draw

_LEVELS = (128, 256, 1024, 16384, 32768)


def softmax(rng: np.random.Generator, keys: int, extreme: bool) -> tuple[dict[str, int], dict[str, Array]]:
    """Attributes and the table of a deferred softmax over rows of that many keys."""
    attributes = {
        "score_shift": int(rng.integers(0, 6)),
        "distance_multiplier": int(rng.choice([1, 255, 3000, 32767])),
        "levels": int(rng.choice([levels for levels in _LEVELS if keys * levels <= 2**24])),
    }
    if extreme:
        table = rng.choice([0, 1, 127, 128, 255, 256, 32639, 32640, 32767], 256)
    else:
        table = np.rint(32767 * np.exp(-np.arange(256) * rng.uniform(0.001, 0.2)))
    return attributes, {"exponentials": table.astype(np.int16)}


def int_deferred_attention(draw: Draw, operator: str) -> Arguments:
    heads, head_dim = draw.dim(1, 4), draw.dim(1, 20)
    qkv = draw.rows(3 * heads * head_dim, np.int8)
    attributes, table = softmax(draw.rng, qkv.shape[1], draw.extreme)
    context = draw.scale("context_", draw.one_or_each(heads * head_dim, 0.5), 2**15 * 40)
    return {"qkv": qkv, **context, **table}, {"heads": heads, **attributes}


def int_deferred_window_attention(draw: Draw, operator: str) -> Arguments:
    heads, head_dim = draw.dim(1, 4), draw.dim(1, 20)
    height, width, window = draw.dim(1, 5), draw.dim(1, 5), draw.dim(1, 3)
    channels = heads * head_dim
    attributes, table = softmax(draw.rng, window**2, draw.extreme)
    limit = 2**15 if draw.extreme else 3000
    x = {
        "qkv": draw.integers((draw.n, height * width, 3 * channels), np.int8),
        "padding": draw.integers((3 * channels,), np.int8),
        "relative_position": draw.rng.integers(-limit, limit, ((2 * window - 1) ** 2, heads)).astype(np.int16),
        **draw.scale("context_", draw.one_or_each(channels, 0.5), 2**15 * 40),
        **table,
    }
    shift = int(draw.rng.integers(0, window))
    return x, {"heads": heads, "height": height, "width": width, "window": window, "shift": shift, **attributes}


CALLS = {
    "IntDeferredAttention": int_deferred_attention,
    "IntDeferredWindowAttention": int_deferred_window_attention,
}
