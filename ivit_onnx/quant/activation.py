"""Points of a network where values are quantised."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ivit_onnx.errors import ExportError
from ivit_onnx.quant import training
from ivit_onnx.quant.statistics import Statistics

__all__ = ["Activation", "ROUND_ONLY"]

#: Levels that nothing is clipped to.
ROUND_ONLY = 2**24


class Activation(nn.Module):
    """A point of the network where values are quantised. Buffer `scale`: 0-dim float32, 0 until calibrated."""

    scale: Tensor
    #: The logarithm of the scale where that is trained.
    log_scale: nn.Parameter | None

    def __init__(self, bits: int = 8, least_scale: float = 0.0) -> None:
        """`least_scale`: what calibration and training take for smaller scales."""
        super().__init__()
        self.bits = bits
        self.least_scale = least_scale
        self.levels = 2 ** (bits - 1) - 1
        self.quantized = True
        #: In training, follow the largest absolute value with this momentum; 0 keeps the calibrated scale.
        self.momentum = 0.0
        self.observer: Statistics | None = None
        self.register_buffer("scale", torch.zeros(()))
        self.register_parameter("log_scale", None)

    def learn(self) -> None:
        """Make the scale a trained parameter: its logarithm, so that steps of an optimizer are relative."""
        self.log_scale = nn.Parameter(self.scale.log())

    def settle(self) -> None:
        """Take the trained scale, if there is one, for `scale`."""
        if self.log_scale is not None:
            with torch.no_grad():
                self.scale.copy_(self.log_scale.exp().clamp(min=self.least_scale))

    def set_range(self, maximum: float) -> None:
        """Take a scale that represents [-maximum, maximum]; a range of zero becomes a tiny one."""
        self.set_scale(max(maximum, 1e-8) / self.levels)

    def set_scale(self, scale: float) -> None:
        """Take a scale, or the least one."""
        self.scale.fill_(max(scale, self.least_scale))

    def forward(self, x: Tensor) -> Tensor:
        """Observe in floating-point mode, fake-quantise in training mode."""
        if not self.quantized:
            if self.observer is not None:
                self.observer.update(x)
            return x
        self.follow(x)
        return training.quantize(x, self.scale, self.levels, self.log_scale)

    def add(self, *terms: Tensor) -> Tensor:
        """The sum of quantised terms: each is rounded to this scale first, as integers are."""
        if self.quantized:
            terms = tuple(training.quantize(term, self.scale, ROUND_ONLY) for term in terms)
        y: Tensor = self(sum(terms[1:], start=terms[0]))
        return y

    def follow(self, x: Tensor) -> None:
        """In training, take a trained scale, or with a momentum move the scale towards the range of x."""
        if self.training and self.log_scale is not None:
            self.settle()
        elif self.training and self.momentum > 0:
            current = x.detach().abs().amax() / self.levels
            self.scale.mul_(1 - self.momentum).add_(current, alpha=self.momentum).clamp_(min=self.least_scale)

    def number(self, layer: str) -> np.float32:
        """The scale as a number.

        Raises:
            ExportError: the activation was never calibrated.
        """
        value = np.float32(self.scale.item())
        if not (np.isfinite(value) and value > 0):
            raise ExportError(
                f"{layer}: expected a calibrated activation scale, found {value}; calibrate the model first"
            )
        return value
