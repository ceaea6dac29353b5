"""Calibration: activation ranges of a floating-point checkpoint from example images, and their cache file."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ivit_onnx.errors import CalibrationError
from ivit_onnx.files import atomic_write
from ivit_onnx.models import Twin
from ivit_onnx.quant.observers import BINS, METHODS, Histogram, Method

__all__ = ["Calibration", "apply_calibration", "collect_statistics", "load_calibration", "save_calibration"]

BATCH = 8
#: Unseen images go beyond the calibrated ones. 16-bit values have the resolution to leave room for them.
HEADROOM_16_BIT = 1.25
_CACHE_VERSION = 1


@dataclass(frozen=True)
class Calibration:
    """Statistics of every activation of one checkpoint, independent of the method that later turns them into ranges.

    `fingerprint` identifies the checkpoint, `images` is how many images were seen.
    """

    fingerprint: str
    images: int
    histograms: dict[str, Histogram]


def collect_statistics(
    model: Twin,
    images: Iterable[np.ndarray[Any, Any]],
    fingerprint: str,
    *,
    progress: bool = False,
    total: int | None = None,
) -> Calibration:
    """Run normalised float32 images [C, H, W] once through the network in floating point and record its activations.

    Raises:
        CalibrationError: no image came, or an activation became infinite or NaN.
    """
    histograms = {name: Histogram() for name in model.activations() if name != "image.output"}
    for name, activation in model.activations().items():
        activation.observer = histograms.get(name)
    model.eval()
    model.set_quantized(False)
    count = 0
    try:
        with torch.inference_mode(), _progress(progress, total) as advance:
            for batch in _batches(images):
                model(torch.from_numpy(np.stack(batch)))
                count += len(batch)
                advance(len(batch))
    finally:
        model.set_quantized(True)
        for activation in model.activations().values():
            activation.observer = None
    if count == 0:
        raise CalibrationError("expected at least one calibration image, found none")
    for name, histogram in histograms.items():
        if not np.isfinite(histogram.maximum):
            raise CalibrationError(f"{name}: found infinite or NaN activations; check the checkpoint and the images")
    return Calibration(fingerprint, count, histograms)


def apply_calibration(model: Twin, calibration: Calibration, method: Method) -> None:
    """Set every activation scale and every n of the model.

    8-bit activations take the range of `method`; 16-bit ones always min-max, with headroom for unseen images; the
    input's range follows from mean and std.

    Raises:
        CalibrationError: the statistics are of another architecture, or the method is unknown.
    """
    if method not in METHODS:
        raise CalibrationError(f"expected a calibration method of {', '.join(METHODS)}, found {method!r}")
    activations = model.activations()
    missing = sorted(set(activations) - {"image.output"} ^ set(calibration.histograms))
    if missing:
        raise CalibrationError(f"the calibration is of another architecture: first difference at {missing[0]}")
    model.image.set_range()
    for name, histogram in calibration.histograms.items():
        activation = activations[name]
        if activation.bits == 16:
            activation.set_range(HEADROOM_16_BIT * histogram.maximum)
        else:
            activation.set_range(histogram.range(method, activation.levels))
    model.choose_exponents()


def save_calibration(path: str | os.PathLike[str], calibration: Calibration) -> None:
    """Write the statistics as a safetensors file, atomically, replacing an older one."""
    from safetensors.numpy import save

    names = sorted(calibration.histograms)
    tensors = {
        "counts": np.stack([calibration.histograms[name].counts for name in names]),
        "limits": np.array([calibration.histograms[name].limit for name in names], np.float64),
        "maxima": np.array([calibration.histograms[name].maximum for name in names], np.float64),
    }
    metadata = {
        "format": f"ivit-calibration {_CACHE_VERSION}",
        "fingerprint": calibration.fingerprint,
        "images": str(calibration.images),
        "names": json.dumps(names),
    }
    with atomic_write(path, force=True) as temporary:
        Path(temporary).write_bytes(save(tensors, metadata))


def load_calibration(path: str | os.PathLike[str], fingerprint: str) -> Calibration:
    """Read statistics that `save_calibration` wrote for the checkpoint with this fingerprint.

    Raises:
        CalibrationError: the file is unreadable, not a calibration cache, or of another checkpoint.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        message = f"cannot read calibration cache {path}: {reason}; delete it to calibrate again"
        raise CalibrationError(message) from None
    damaged = CalibrationError(f"{path} is not a calibration cache of this version; delete it to calibrate again")
    if metadata.get("format") != f"ivit-calibration {_CACHE_VERSION}":
        raise damaged
    if metadata.get("fingerprint") != fingerprint:
        raise CalibrationError(
            f"calibration cache {path} was made for another checkpoint; delete it or name another file"
        )
    try:
        names, images = json.loads(metadata["names"]), int(metadata["images"])
        counts, limits, maxima = tensors["counts"], tensors["limits"], tensors["maxima"]
    except (KeyError, RecursionError, ValueError):
        raise damaged from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or images < 1:
        raise damaged
    if len(set(names)) != len(names) or not _are_histograms(counts, limits, maxima, len(names)):
        raise damaged
    histograms = {name: Histogram(counts[i], float(limits[i]), float(maxima[i])) for i, name in enumerate(names)}
    return Calibration(fingerprint, images, histograms)


def _are_histograms(
    counts: np.ndarray[Any, Any], limits: np.ndarray[Any, Any], maxima: np.ndarray[Any, Any], number: int
) -> bool:
    """Whether the arrays are what `number` histograms can hold."""
    if counts.shape != (number, BINS) or counts.dtype != np.int64:
        return False
    if any(values.shape != (number,) or values.dtype != np.float64 for values in (limits, maxima)):
        return False
    sums = counts.sum(1, dtype=np.float64)
    filled = (limits == 0) | (sums > 0)
    most = float(np.finfo(np.float32).max)
    in_range = all(((values >= 0) & (values <= 2 * most)).all() for values in (limits, maxima))
    return bool((counts >= 0).all() and (sums < 2**62).all() and filled.all() and in_range)


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
