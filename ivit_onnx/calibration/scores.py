"""The range of attention scores that are too large for 8 bits.

The largest scores are what attention attends to, and are not clipped as long as a step is fine enough. But a single
sharp head may reach 100 and more, for all heads of its layer: then a step changes a probability by a factor of two, and
most of such scores are so far above the rest that it does not matter how far. There the range is chosen by what the
attention makes of it, on images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ivit_onnx.quant.modules import AttentionCore
from ivit_onnx.quant.tensors import QuantTensor

__all__ = ["COARSE", "score_range"]

#: Steps of scores up to this are fine: a probability is off by an eighth at most.
COARSE = 0.25
#: Ranges that are tried, in parts of the largest score.
_PARTS = np.geomspace(1.0, 0.1, 12)


def score_range(module: AttentionCore, inputs: Sequence[QuantTensor], largest: float, outgoing: Tensor) -> float:
    """The range of scores with the least error of the attention's outputs on real `inputs`.

    `largest`: the largest absolute score, in real units; `outgoing` [C]: squared norms of the weights that read each
    output. The module's scales are left at the range returned.
    """
    points = module.scores()
    starts = [float(point.scale) * point.levels for point in points]
    best, best_error = largest, np.inf
    with torch.no_grad():
        exact = _outputs(module, inputs, quantized=False)
        for part in _PARTS:
            _set_ranges(module, starts, part * largest)
            error = float(((_outputs(module, inputs, quantized=True) - exact).square() * outgoing).sum())
            if error < best_error:
                best, best_error = part * largest, error
    _set_ranges(module, starts, best)
    return best


def _set_ranges(module: AttentionCore, starts: list[float], limit: float) -> None:
    for point, start in zip(module.scores(), starts, strict=True):
        point.set_range(min(start, limit))
    module.choose_exponent()


def _outputs(module: AttentionCore, inputs: Sequence[QuantTensor], *, quantized: bool) -> Tensor:
    """The real outputs of an attention of which nothing but scores and softmax may be quantised."""
    points = module.scores()
    before = module.quantized, module.output.quantized
    module.quantized, module.output.quantized = quantized, False
    for point in points:
        point.quantized = quantized
    try:
        return module.simulate(*inputs).value
    finally:
        module.quantized, module.output.quantized = before
        for point in points:
            point.quantized = True
