"""The measurements of an error report: everything quantised, each layer alone, and its parts one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise
from statistics import mean

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ivit_onnx.models import Twin
from ivit_onnx.quant.modules import QuantModule
from ivit_onnx.quant.tensors import QuantTensor
from ivit_onnx.report.costs import Costs
from ivit_onnx.report.distributions import Distribution, Error, Span, decibels
from ivit_onnx.report.parts import only_layer, only_parts, parts_of, rounded
from ivit_onnx.report.results import ErrorReport, LayerError, PartError, PointError
from ivit_onnx.report.taps import (
    layers_called,
    take_reference_ivit_widths,
    watch_layers,
    watch_points,
)

__all__ = ["measure"]

#: Images in a pass: all layers' values of that many are in memory at a time.
BATCH = 4


def measure(twin: Twin, images: Tensor, on_progress: Callable[[int, int], None] | None = None) -> ErrorReport:
    """Compare the integers of a calibrated twin with its floating-point network on normalised images [N, 3, H, W].

    Everything quantised: the integers of each layer, scaled, against the float values there. One at a time: each
    layer is quantised alone in the float network, and the noise in the output is its cost; then its parts one after
    another, and what the noise grows by is theirs. `on_progress` is told the runs done and the number of all.

    The twin is left in integer mode; points that have 8 bits in a reference I-ViT checkpoint are marked so.
    """
    try:
        with torch.inference_mode():
            return _measure(twin.eval(), images, on_progress or (lambda done, total: None))
    finally:
        twin.set_quantized(True)


def _measure(twin: Twin, images: Tensor, on_progress: Callable[[int, int], None]) -> ErrorReport:
    batches = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
    activations = twin.used_activations()
    twin.set_quantized(False)
    layers = layers_called(twin, images[:1])
    take_reference_ivit_widths(layers.values())
    parts = {name: parts_of(layer) for name, layer in layers.items()}
    total = 4 + sum(map(len, parts.values()))
    done = iter(range(1, total + 1))

    def advance() -> None:
        on_progress(next(done), total)

    on_progress(0, total)
    spans, rounding = _spans(twin, batches)
    advance()
    distributions = _distributions(twin, batches, spans)
    advance()
    operators, errors, output, same, cosines = _integers(twin, batches)
    advance()
    costs = Costs(twin, batches)
    advance()

    def cost(layer: str, change: AbstractContextManager[None]) -> tuple[Error, Error]:
        result = costs.of(layers[layer], change)
        advance()
        return result

    by_layer = {name: cost(name, only_layer(layer)) for name, layer in layers.items()}
    noise = sum(error.relative for error, _ in by_layer.values())

    def share(error: Error) -> float:
        return error.relative / noise if noise > 0 else 0.0

    found: list[PartError] = []
    part_at: dict[str, PartError] = {}
    names = {point: name for name, point in activations.items()}
    for name, layer in layers.items():
        few = [cost(name, only_parts(layer, parts[name][:count]))[0] for count in range(1, len(parts[name]))]
        levels = [0.0, *map(share, few), share(by_layer[name][0])]
        for part, (before, after) in zip(parts[name], pairwise(levels), strict=True):
            found.append(PartError(name, part.name, [names[point] for point in part.activations], after - before))
            part_at |= dict.fromkeys(found[-1].points, found[-1])

    return ErrorReport(
        images=len(images),
        sqnr=output.sqnr,
        cosine=output.cosine,
        agreement=None if twin.head is None else float(mean(same)),
        mean_cosine=mean(cosines) if twin.head is None else None,
        worst_cosine=min(cosines) if twin.head is None else None,
        sum_sqnr=decibels(1.0, noise),
        layers=[
            LayerError(
                name, operators[name], errors[name].sqnr, errors[name].cosine, own.sqnr, whole.sqnr, share(whole)
            )
            for name, (whole, own) in by_layer.items()
        ],
        points=[
            PointError(
                name=name,
                layer=part_at[name].layer,
                bits=point.bits,
                scale=spans[name].scale,
                low=spans[name].low,
                high=spans[name].high,
                minimum=spans[name].minimum,
                maximum=spans[name].maximum,
                clipped=spans[name].clipped,
                saturated=distributions[name].saturated,
                own_sqnr=rounding[name].sqnr,
                share=part_at[name].share,
            )
            for name, point in activations.items()
        ],
        parts=found,
        distributions=distributions,
    )


def _spans(twin: Twin, batches: list[Tensor]) -> tuple[dict[str, Span], dict[str, Error]]:
    """Extremes of the float values of each point, and their error when they are rounded."""
    activations = twin.used_activations()
    ends = torch.tensor([-torch.inf, torch.inf])
    spans = {name: Span(float(a.number(name)), *rounded(a, ends).tolist()) for name, a in activations.items()}
    rounding = {name: Error() for name in activations}

    def see(name: str, x: Tensor) -> None:
        spans[name].add(x)
        rounding[name].add(x, rounded(activations[name], x))

    with watch_points(twin, see):
        for batch in batches:
            twin(batch)
    return spans, rounding


def _distributions(twin: Twin, batches: list[Tensor], spans: dict[str, Span]) -> dict[str, Distribution]:
    """Histograms of each point in the float network, and in the one that is quantised everywhere."""
    distributions = {name: Distribution(span) for name, span in spans.items()}
    with watch_points(twin, lambda name, x: distributions[name].add_before(x)):
        for batch in batches:
            twin(batch)
    with _simulated(twin), watch_points(twin, lambda name, x: distributions[name].add_after(x)):
        for batch in batches:
            twin(batch)
    return distributions


def _integers(
    twin: Twin, batches: list[Tensor]
) -> tuple[dict[str, str], dict[str, Error], Error, list[bool], list[float]]:
    """Operator and error of each layer in the integer network; error of the output, and for each image whether its
    largest value is the same, and the cosine."""
    exact: dict[str, Tensor] = {}
    operators: dict[str, str] = {}
    errors: dict[str, Error] = {}
    whole = Error()
    same: list[bool] = []
    cosines: list[float] = []

    def compare(layer: QuantModule, inputs: tuple[QuantTensor, ...], output: QuantTensor) -> None:
        if layer.path not in operators:
            operators[layer.path] = layer.lower(*(np.float32(x.scale.item()) for x in inputs)).operator
        errors.setdefault(layer.path, Error()).add(exact.pop(layer.path), output.value.double() * output.scale)

    for batch in batches:
        with watch_layers(twin, lambda layer, inputs, output: exact.update({layer.path: output.value})):
            expected = twin(batch)
        twin.set_quantized(True)
        try:
            with watch_layers(twin, compare):
                found = twin(batch) * twin.output_scale
        finally:
            twin.set_quantized(False)
        whole.add(expected, found)
        same += (expected.argmax(1) == found.argmax(1)).tolist()
        cosines += F.cosine_similarity(expected.double(), found.double()).clamp(max=1).tolist()
    return operators, errors, whole, same, cosines


@contextmanager
def _simulated(twin: Twin) -> Iterator[None]:
    """Quantised everywhere, on real values: the twin as it is in training."""
    twin.set_quantized(True)
    twin.train()
    try:
        yield
    finally:
        twin.eval()
        twin.set_quantized(False)
