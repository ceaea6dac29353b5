"""Compensated rounding: integer weights whose errors make up for each other on the inputs that the layer has.

After GPTQ (Frantar et al., 2022): the weights of a row are rounded one after the other, and what rounding one of them
does to the layer's output is made up for, as far as possible, by those that are not rounded yet. With G the mean of
x x^T over the layer's inputs x, and U the upper Cholesky factor of the inverse of G, rounding weight i with the error d
moves the weights j > i by -d U[i, j] / U[i, i]. Inputs are those of the quantised network, layers before it rounded
already, so that what activations lose counts too.

Where a bias is corrected afterwards, only the differences of inputs from their mean count. Sums are exact and the
factor is computed by one thread: the same images give the same integers, whatever the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ivit_onnx.calibration.adjustments import COMPENSATED, is_free, round_weights, weight_scales
from ivit_onnx.calibration.simulation import check_finite, simulate
from ivit_onnx.models import Twin
from ivit_onnx.quant.modules import WeightedModule

__all__ = ["compensate_rounding", "compensated"]

Array = np.ndarray[Any, Any]

#: Inputs of a layer that are taken at most, evenly spaced.
MOST_ROWS = 2**14
#: Bits of an input: sums of MOST_ROWS products are exact in float64.
_INPUT_BITS = 19
#: What is added to the diagonal of G, in parts of its mean: at least this, and so much for inputs that are as many as
#: their elements. Few inputs say little about what others are like.
LEAST_DAMPING, DAMPING = 1e-3, 1e-2
#: Columns after which the moves of all later ones are made at once.
_BLOCK = 128
#: Rows of G that are computed at once, from the diagonal on: the rest is the same.
_PIECE = 512


def compensate_rounding(model: Twin, images: Tensor) -> dict[str, Array]:
    """Round the weights of every linear layer on normalised float32 images [N, C, H, W], in one run of the quantised
    network. The head keeps its own: an image shows it no more than one token.

    The weights of the model change. Returns what they are off the nearest integers: int8 [out, in] by name of the
    layer. Raises CalibrationError where values leave float32, as with weights of 1e30.
    """
    sites = {id(site.weight): site for site in model.sites().linear if site.target}
    offsets: dict[str, Array] = {}

    def read(weight: Tensor, x: Tensor) -> None:
        site = sites.get(id(weight))
        # A layer runs again for the zeros around a grid of Swin; tokens come first.
        if site is None or site.name in offsets:
            return
        check_finite(site.name, x)
        moments = _moments(x)
        with _one_thread():
            offsets[site.name] = compensated(weight.detach(), *moments, centred=site.bias is not None)
        round_weights(site, offsets[site.name])

    with ExitStack() as readers:
        for module in model.modules():
            if isinstance(module, WeightedModule):
                readers.enter_context(module.reading(read))
        simulate(model, images, ())
    return offsets


def compensated(weight: Tensor, gram: Tensor, mean: Tensor, rows: int, *, centred: bool = True) -> Array:
    """Offsets int8 [out, in] of weights [out, in] from the nearest integers, as `round_weights` takes them.

    `gram` [in, in] float64 is the mean of x x^T over so many `rows` x, `mean` [in] that of x; in any unit.
    """
    scale = weight_scales(weight)[:, None]
    nearest = torch.round(weight / scale).clamp(-127, 127).double()
    errors = gram - torch.outer(mean, mean) if centred else gram.clone()
    inner = len(errors)
    diagonal = errors.diagonal()
    level = float(diagonal.mean())
    if not level > 0:
        return np.zeros(tuple(weight.shape), np.int8)
    diagonal.add_(level * max(LEAST_DAMPING, DAMPING * inner / rows))
    # Those that matter most come first, while there are others to make up for them.
    order = torch.argsort(diagonal, descending=True, stable=True)
    factor = _factor(errors[order][:, order])
    # A row keeps its scale, so that its largest weights have to stay.
    ends = nearest.abs() >= 127
    span = torch.where(ends | ~is_free(scale), 0.0, COMPENSATED)
    # Columns of weights are rows here: they stand together in memory.
    low, high = (nearest - span).clamp(min=-127).T[order], (nearest + span).clamp(max=127).T[order]
    left = (weight.double() / scale.double()).T[order]
    rounded = torch.empty_like(left)
    for first in range(0, inner, _BLOCK):
        last = min(first + _BLOCK, inner)
        scaled = torch.empty(last - first, left.shape[1], dtype=torch.float64)
        for i in range(first, last):
            value = torch.minimum(torch.maximum(left[i].round(), low[i]), high[i])
            rounded[i] = value
            error = torch.div(left[i] - value, factor[i, i], out=scaled[i - first])
            left[i:last].addr_(factor[i, i:last], error, alpha=-1)
        left[last:].addmm_(factor[first:last, last:].T, scaled, alpha=-1)
    moved = torch.empty_like(rounded)
    moved[order] = rounded
    offsets: Array = np.ascontiguousarray((moved.T - nearest).to(torch.int8).numpy())
    return offsets


def _factor(errors: Tensor) -> Tensor:
    """The upper Cholesky factor of the inverse of a positive definite matrix: its rows and columns in reverse order,
    that is the inverse of the lower factor."""
    lower = torch.linalg.cholesky(errors.flip(0, 1))
    inverse: Tensor = torch.linalg.solve_triangular(lower, torch.eye(len(errors), dtype=errors.dtype), upper=False)
    return inverse.flip(0, 1)


def _moments(x: Tensor) -> tuple[Tensor, Tensor, int]:
    """The mean of x x^T and of x over rows of inputs [.., in], in float64 and a unit of their own; how many there are.

    Additions are exact, in any order.
    """
    rows = x.reshape(-1, x.shape[-1])
    if len(rows) > MOST_ROWS:
        rows = rows[torch.linspace(0, len(rows) - 1, MOST_ROWS, dtype=torch.float64).round().long()]
    _, exponent = np.frexp(max(float(rows.abs().max()), 1e-30))
    integers = torch.ldexp(rows.double(), torch.tensor(_INPUT_BITS - 1 - int(exponent))).round_()
    gram = torch.empty(integers.shape[1], integers.shape[1], dtype=torch.float64)
    for first in range(0, len(gram), _PIECE):
        piece = slice(first, first + _PIECE)
        products = integers[:, piece].T @ integers[:, first:]
        gram[piece, first:], gram[first:, piece] = products, products.T
    return gram.div_(len(rows)), integers.sum(0) / len(rows), len(rows)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
