"""Accuracy of an exported model on labelled images, beside the floating-point network it came from."""

from __future__ import annotations

from ivit_onnx.evaluation.counts import Counts
from ivit_onnx.evaluation.evaluate import Evaluation, evaluate

__all__ = ["Counts", "Evaluation", "evaluate"]
