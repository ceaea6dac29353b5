"""Calibration of floating-point checkpoints: what example images show, and the integers that follow from it."""

from __future__ import annotations

from ivit_onnx.calibration.adjustments import (
    Adjustments,
    adjustments_from_text,
    adjustments_to_text,
    is_rounded,
    replay,
)
from ivit_onnx.calibration.apply import apply_calibration
from ivit_onnx.calibration.bits import BitsOfLayer, Branches, choose_softmax_bits
from ivit_onnx.calibration.cache import load_calibration, save_calibration
from ivit_onnx.calibration.collect import DEAD_LEAVES, IMAGES, Calibration, collect_statistics
from ivit_onnx.calibration.presets import Recipe, recipe
from ivit_onnx.calibration.quality import LOW_DB, Quality, Reference

__all__ = [
    "DEAD_LEAVES",
    "IMAGES",
    "LOW_DB",
    "Adjustments",
    "BitsOfLayer",
    "Branches",
    "Calibration",
    "Quality",
    "Recipe",
    "Reference",
    "adjustments_from_text",
    "adjustments_to_text",
    "apply_calibration",
    "choose_softmax_bits",
    "collect_statistics",
    "is_rounded",
    "load_calibration",
    "recipe",
    "replay",
    "save_calibration",
]
