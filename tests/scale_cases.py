"""Attention whose scales need a shift to the left in 32-bit lanes, with headroom for it and without."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from cases import Case
from cases.int_attention import attention_case
from cases.int_window_attention import window_case

__all__ = ["attention_scale_cases"]


def attention_scale_cases(rng: np.random.Generator) -> Iterator[Case]:
    """Both attentions with each scale in turn at shifts below 33."""
    for frac_bits in (7, 8, 15):
        for case in (
            attention_case(rng, 1, 50, 2, 20, frac_bits, -20, 15),
            window_case(rng, (9, 10), 7, 3, 2, 20, frac_bits=frac_bits, x0=-20, n=15),
        ):
            for name, bits in (("score", 14), ("context", frac_bits)):
                for shift in (1, 8, 17, 20, 24, 32):
                    scale = {
                        f"{name}_multiplier": np.full_like(
                            case.inputs[f"{name}_multiplier"], 2 ** max(0, shift - bits)
                        ),
                        f"{name}_shift": np.full_like(case.inputs[f"{name}_shift"], shift),
                    }
                    yield replace(case, inputs={**case.inputs, **scale})
