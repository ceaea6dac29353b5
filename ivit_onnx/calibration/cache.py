"""The cache file of a calibration: its statistics in a safetensors file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ivit_onnx.budgets import WEIGHT_BYTES
from ivit_onnx.calibration.collect import DEAD_LEAVES, IMAGES, Calibration
from ivit_onnx.errors import CalibrationError
from ivit_onnx.files import atomic_write, parse_json
from ivit_onnx.inputs import open_input, reason_of
from ivit_onnx.quant.observers import BINS, Histogram
from ivit_onnx.quant.recorders import Channels
from ivit_onnx.safetensors_header import header_length

__all__ = ["load_calibration", "save_calibration"]

Array = np.ndarray[Any, Any]

_VERSION = 3


def save_calibration(path: str | os.PathLike[str], calibration: Calibration) -> None:
    """Write the statistics as a safetensors file, atomically, replacing an older one."""
    from safetensors.numpy import save

    names = sorted(calibration.histograms)
    tensors = {
        "counts": np.stack([calibration.histograms[name].counts for name in names]),
        "limits": np.array([calibration.histograms[name].limit for name in names], np.float64),
        "lows": np.array([calibration.histograms[name].low for name in names], np.float64),
        "highs": np.array([calibration.histograms[name].high for name in names], np.float64),
        "sample": calibration.sample,
        "held": calibration.held,
        **{f"{name}.channels": channels.to_array() for name, channels in calibration.channels.items()},
        **{f"{name}.rows": rows for name, rows in calibration.rows.items()},
        **{f"{name}.center": center for name, center in calibration.centers.items()},
    }
    metadata = {
        "format": f"ivit-calibration {_VERSION}",
        "fingerprint": calibration.fingerprint,
        "images": str(calibration.images),
        "source": calibration.source,
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
        with open_input(path, WEIGHT_BYTES) as opened:
            header_length(opened)
        with safe_open(str(path), framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError, TypeError, ValueError) as error:
        message = f"cannot read calibration cache {path}: {reason_of(error)}; delete it to calibrate again"
        raise CalibrationError(message) from None
    damaged = CalibrationError(f"{path} is not a calibration cache of this version; delete it to calibrate again")
    if metadata.get("format") != f"ivit-calibration {_VERSION}":
        raise damaged
    if metadata.get("fingerprint") != fingerprint:
        raise CalibrationError(
            f"calibration cache {path} was made for another checkpoint; delete it or name another file"
        )
    try:
        names, images = parse_json(metadata["names"]), int(metadata["images"])
        counts, limits, lows, highs = (tensors.pop(name) for name in ("counts", "limits", "lows", "highs"))
        sample, held = (tensors.pop(name) for name in ("sample", "held"))
    except (KeyError, ValueError):
        raise damaged from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or images < 1:
        raise damaged
    source = metadata.get("source", IMAGES)
    if source not in (IMAGES, DEAD_LEAVES):
        raise damaged
    if len(set(names)) != len(names) or not _are_histograms(counts, limits, lows, highs, len(names)):
        raise damaged
    if any(array.dtype not in (np.float16, np.float64) or not np.isfinite(array).all() for array in tensors.values()):
        raise damaged
    if not all(_is_statistic(name, array) for name, array in tensors.items()):
        raise damaged
    if not all(_are_images(array) for array in (sample, held)):
        raise damaged
    histograms = {
        name: Histogram(counts[i], float(limits[i]), float(lows[i]), float(highs[i])) for i, name in enumerate(names)
    }
    channels = {name: Channels.from_array(array) for name, array in _ending(tensors, ".channels").items()}
    rows, centers = _ending(tensors, ".rows"), _ending(tensors, ".center")
    return Calibration(fingerprint, images, histograms, channels, rows, centers, sample, held, source)


def _are_histograms(counts: Array, limits: Array, lows: Array, highs: Array, number: int) -> bool:
    """Whether the arrays are what `number` histograms can hold."""
    if counts.shape != (number, BINS) or counts.dtype != np.int64:
        return False
    if any(values.shape != (number,) or values.dtype != np.float64 for values in (limits, lows, highs)):
        return False
    sums = counts.sum(1, dtype=np.float64)
    filled = (limits == 0) | (sums > 0)
    most = float(np.finfo(np.float32).max)
    in_range = all(((values >= 0) & (values <= 2 * most)).all() for values in (limits, -lows, highs))
    return bool((counts >= 0).all() and (sums < 2**62).all() and filled.all() and in_range)


def _are_images(array: Array) -> bool:
    """Whether an array is normalised images, or nothing."""
    return bool(array.dtype == np.float16 and np.isfinite(array).all() and (not array.size or array.ndim == 4))


def _is_statistic(name: str, array: Array) -> bool:
    """Whether an array is what its name says, whatever the network."""
    if name.endswith(".channels"):
        if array.ndim != 2 or len(array) != 4 or array.dtype != np.float64 or not array.size:
            return False
        in_order = (array[0] <= array[1]).all() and (array[3] >= 0).all()
        return bool(in_order and (np.abs(array) < float(np.finfo(np.float32).max)).all())
    if name.endswith(".rows"):
        return array.ndim == 2 and array.size > 0 and array.dtype == np.float16
    return name.endswith(".center") and array.ndim == 1 and array.dtype == np.float16


def _ending(tensors: dict[str, Array], ending: str) -> dict[str, Array]:
    """The tensors of one kind by what is before the ending."""
    return {name.removesuffix(ending): array for name, array in tensors.items() if name.endswith(ending)}
