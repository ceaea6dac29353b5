"""Statistics of a floating-point checkpoint: what its activations are on example images."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ivit_onnx.calibration.adjustments import center
from ivit_onnx.errors import CalibrationError
from ivit_onnx.models import Twin
from ivit_onnx.quant.modules import ActivationQuantizer
from ivit_onnx.quant.observers import Histogram
from ivit_onnx.quant.recorders import MAX_ROWS, Channels, EvenSample, Statistics
from ivit_onnx.quant.sites import LinearSite

__all__ = ["DEAD_LEAVES", "IMAGES", "Calibration", "collect_statistics"]

Array = np.ndarray[Any, Any]

#: Where images come from: given, or drawn by `ivit_onnx.datasets.dead_leaves`.
IMAGES, DEAD_LEAVES = "images", "dead leaves"

BATCH = 8
#: Images that show the mean of the keys.
CENTERING = 4
#: Images kept for the recipes that run the quantised network.
SAMPLE = 32
#: One image of so many is held back, and at most so many.
HOLD_EVERY, MOST_HELD = 16, 8


@dataclass(frozen=True)
class Calibration:
    """Statistics of every activation of one checkpoint, independent of the recipe that later turns them into integers.

    `fingerprint` identifies the checkpoint, `images` is how many images were seen. By name of the activation:
    `histograms`, and for those of 8 bits `channels` and `rows` (float16 [R, C]). `centers`, by name of the layer that
    makes queries, keys and values: what its keys were less than those of the checkpoint (float16 [C]). `sample`: some
    of the images themselves, normalised, for the recipes that run the quantised network (float16 [N, C, H, W]). `held`:
    images that are in none of these, to show how good the result is (float16 [N, C, H, W]; none of less than 8 images).
    `images` counts both. `source`: IMAGES or DEAD_LEAVES.
    """

    fingerprint: str
    images: int
    histograms: dict[str, Histogram]
    channels: dict[str, Channels] = field(default_factory=dict)
    rows: dict[str, Array] = field(default_factory=dict)
    centers: dict[str, Array] = field(default_factory=dict)
    sample: Array = field(default_factory=lambda: np.zeros((0, 0), np.float16))
    held: Array = field(default_factory=lambda: np.zeros((0, 0), np.float16))
    source: str = IMAGES


def collect_statistics(
    model: Twin,
    images: Iterable[Array],
    fingerprint: str,
    *,
    progress: bool = False,
    total: int | None = None,
) -> Calibration:
    """Run normalised float32 images [C, H, W] once through the network in floating point and record its activations.

    Before that, the first of them show the mean of each key channel, which is subtracted: no softmax can see what all
    keys have in common. The model is afterwards as it was.

    Raises:
        CalibrationError: no image came, or an activation became infinite or NaN.
    """
    activations = {name: module for name, module in model.activations().items() if name != "image.output"}
    statistics = {name: _statistics(activation) for name, activation in activations.items()}
    qkv = [site.qkv for site in model.sites().attention]
    original = {site.name: site.bias_parameter().detach().clone() for site in qkv}
    centers: dict[str, Array] = {}
    sample, held = EvenSample(SAMPLE), EvenSample(MOST_HELD)
    model.eval()
    model.set_quantized(False)
    count = 0
    try:
        with torch.inference_mode(), _progress(progress, total) as advance:
            for batch in _batches(_hold_back(images, held)):
                tensor = torch.from_numpy(np.stack(batch))
                if count == 0:
                    centers = _center_keys(model, qkv, tensor[:CENTERING])
                    for name, activation in activations.items():
                        activation.observer = statistics[name]
                model(tensor)
                sample.update(tensor)
                count += len(batch)
                advance(len(batch))
            advance(held.seen)
    finally:
        model.set_quantized(True)
        for activation in activations.values():
            activation.observer = None
        with torch.no_grad():
            for site in qkv:
                site.bias_parameter().copy_(original[site.name])
    if count == 0:
        raise CalibrationError("expected at least one calibration image, found none")
    for name, found in statistics.items():
        if not np.isfinite(found.histogram.maximum):
            raise CalibrationError(f"{name}: found infinite or NaN activations; check the checkpoint and the images")
    return Calibration(
        fingerprint,
        count + held.seen,
        {name: found.histogram for name, found in statistics.items()},
        {name: found.channels for name, found in statistics.items() if found.channels is not None},
        {name: found.rows.to_array() for name, found in statistics.items() if found.rows is not None},
        centers,
        sample.to_array(),
        held.to_array(),
    )


def _statistics(activation: ActivationQuantizer) -> Statistics:
    if activation.bits == 16:
        return Statistics()
    rows = EvenSample(MAX_ROWS) if activation.rows else None
    return Statistics(channels=Channels() if activation.channels else None, rows=rows)


def _center_keys(model: Twin, layers: list[LinearSite], images: Tensor) -> dict[str, Array]:
    """The mean of each key channel, by layer; it is subtracted from the biases of the keys."""
    means = {site.name: Channels() for site in layers}
    activations = model.activations()
    for site in layers:
        activations[f"{site.name}.output"].observer = Statistics(channels=means[site.name])
    model(images)
    centers = {}
    for site in layers:
        activations[f"{site.name}.output"].observer = None
        limit = float(np.finfo(np.float16).max)
        keys = np.split(means[site.name].mean, 3)[1]
        centers[site.name] = np.nan_to_num(keys, posinf=0, neginf=0).clip(-limit, limit).astype(np.float16)
        center(site, centers[site.name])
    return centers


def _hold_back(images: Iterable[Array], held: EvenSample) -> Iterator[Array]:
    """The images but for those in the middle of each HOLD_EVERY, which are kept in `held`."""
    for index, image in enumerate(images):
        if index % HOLD_EVERY == HOLD_EVERY // 2 - 1:
            held.update(torch.from_numpy(image)[None])
        else:
            yield image


def _batches(images: Iterable[np.ndarray[Any, Any]]) -> Iterable[list[np.ndarray[Any, Any]]]:
    iterator = iter(images)
    while batch := list(itertools.islice(iterator, BATCH)):
        yield batch


@contextmanager
def _progress(show: bool, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, or nothing; yields what to call with the number of images done."""
    if not show:
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("calibrating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("calibrating", total=total)
        yield lambda count: bar.advance(task, count)
