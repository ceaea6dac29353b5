"""Training: the twin on fake-quantised values, or the floating-point network it starts from."""

from ivit_onnx.options.training import Options
from ivit_onnx.training.loop import train
from ivit_onnx.training.report import TrainReport

__all__ = ["Options", "TrainReport", "train"]
