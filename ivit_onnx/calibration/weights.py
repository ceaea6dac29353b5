"""Ranges of weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["clip_codes"]

Array = np.ndarray[Any, Any]

#: Parts of a row's largest weight, in 256ths, that are cut off in trying.
_CLIPS = (0, 12, 24, 36, 52, 72, 100)


def clip_codes(weight: Tensor, mean_square: Array) -> Array:
    """uint8 codes [out]: of each row's ranges the one with the least error sum_c E[x_c^2] (w_c - quantised w_c)^2."""
    with torch.no_grad():
        importance = torch.from_numpy(mean_square).float()
        largest = weight.abs().amax(1, keepdim=True).clamp(min=1e-12)
        best = torch.zeros(len(weight), dtype=torch.uint8)
        best_error = torch.full((len(weight),), torch.inf)
        for code in _CLIPS:
            scale = largest * ((1 - code / 256) / 127)
            error = torch.round(weight / scale).clamp_(-127, 127).mul_(scale).sub_(weight).square_() @ importance
            better = error < best_error
            best[better], best_error[better] = code, error[better]
    return best.numpy()
