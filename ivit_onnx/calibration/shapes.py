"""Whether statistics have the shapes of a network: those from a file may say anything."""

from __future__ import annotations

from ivit_onnx.calibration.collect import Calibration
from ivit_onnx.errors import CalibrationError
from ivit_onnx.models import Twin

__all__ = ["check_shapes"]


def check_shapes(model: Twin, calibration: Calibration) -> None:
    """Raise CalibrationError unless names, channels, rows, centers and images fit the network."""
    missing = sorted(set(model.activations()) - {"image.output"} ^ set(calibration.histograms))
    if missing:
        raise CalibrationError(f"the calibration is of another architecture: first difference at {missing[0]}")
    widths = _widths(model)
    for name, channels in calibration.channels.items():
        found = len(channels.minimum)
        if found != widths.get(name, found) or name not in calibration.rows:
            raise _misfit(name, f"rows of {widths.get(name, found)} channels", f"statistics of {found}")
    for name, rows in calibration.rows.items():
        if rows.shape[1] != widths.get(name, rows.shape[1]):
            raise _misfit(name, f"rows of {widths[name]} channels", f"rows of {rows.shape[1]}")
    keys = {
        site.qkv.name: site.qkv.weight.shape[0] // 3 for site in model.sites().attention if site.qkv.bias is not None
    }
    for name, center in calibration.centers.items():
        if len(center) != keys.get(name):
            raise _misfit(name, f"centers of {keys.get(name, 0)} keys", f"{len(center)}")
    size = (model.arch.in_channels, *model.arch.image_size)
    for images in (calibration.sample, calibration.held):
        if images.size and images.shape[1:] != size:
            raise _misfit("images", f"images of shape {size}", f"{images.shape[1:]}")


def _widths(model: Twin) -> dict[str, int]:
    """Channels of the activations around the matrix products, by name."""
    widths = {}
    for site in model.sites().linear:
        widths[site.source] = site.weight.shape[1]
        if site.norm is not None:
            widths[f"{site.norm_name}.output"] = site.weight.shape[1]
        if site.target:
            widths[site.target] = site.weight.shape[0]
    return widths


def _misfit(name: str, expected: str, found: str) -> CalibrationError:
    return CalibrationError(f"the calibration does not fit this network: {name}: expected {expected}, found {found}")
