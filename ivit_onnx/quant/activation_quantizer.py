"""Points of a network where values are quantised.

Real value = (integer - zero point) * scale. The zero point is 0 but where values are one-sided and tables and biases
can absorb it: at the arguments and the results of a GELU by table.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ivit_onnx.errors import ExportError
from ivit_onnx.quant import fake_quant
from ivit_onnx.quant.recorders import Statistics

__all__ = ["ActivationQuantizer"]


class ActivationQuantizer(nn.Module):
    """A point of the network where values are quantised.

    Buffers: `scale`, 0-dim float32, 0 until calibrated; `zero_point`, 0-dim int64, where there is one.
    """

    scale: Tensor
    zero_point: Tensor | None
    #: The logarithm of the scale where that is trained.
    log_scale: nn.Parameter | None

    def __init__(
        self,
        bits: int = 8,
        least_scale: float = 0.0,
        *,
        one_sided: bool = False,
        channels: bool = True,
        rows: bool = True,
    ) -> None:
        """`least_scale`: what calibration and training take for smaller scales. `one_sided`: with a zero point.

        `channels`: the last axis is that of channels, which a linear layer may read. `rows`: other images have other
        values; not so in a table of parameters.
        """
        super().__init__()
        self.channels, self.rows = channels, rows
        self.bits = bits
        self.least_scale = least_scale
        self.levels = 2 ** (bits - 1) - 1
        self.quantized = True
        #: In training, follow the largest absolute value with this momentum; 0 keeps the calibrated scale.
        self.momentum = 0.0
        self.observer: Statistics | None = None
        self.register_buffer("scale", torch.zeros(()))
        self.register_buffer("zero_point", torch.zeros((), dtype=torch.int64) if one_sided else None)
        self.register_parameter("log_scale", None)

    def learn(self) -> None:
        """Make the scale a trained parameter: its logarithm, so that steps of an optimizer are relative."""
        self.log_scale = nn.Parameter(self.scale.log())

    def settle(self) -> None:
        """Take the trained scale, if there is one, for `scale`."""
        if self.log_scale is not None:
            with torch.no_grad():
                self.scale.copy_(self.log_scale.exp().clamp(min=self.least_scale))

    @property
    def zero(self) -> int:
        """The integer that stands for 0."""
        return 0 if self.zero_point is None else int(self.zero_point)

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the largest value in steps of the scale."""
        return -self.levels - 1 - self.zero, self.levels - self.zero

    def set_range(self, maximum: float) -> None:
        """Take a scale that represents [-maximum, maximum]; a range of zero becomes a tiny one."""
        self.set_scale(max(maximum, 1e-8) / self.levels)

    def set_bounds(self, low: float, high: float) -> None:
        """Take the scale and zero point that represent [low, high] and 0; only where there is a zero point."""
        assert self.zero_point is not None
        low, high = min(low, 0.0), max(high, 0.0)
        self.set_scale(max(high - low, 1e-8) / (2 * self.levels + 1))
        zero = round(-self.levels - 1 - low / float(self.scale))
        self.zero_point.fill_(min(max(zero, -self.levels - 1), self.levels))

    def set_scale(self, scale: float) -> None:
        """Take a scale, or the least one, and 0 for the zero point."""
        self.scale.fill_(max(scale, self.least_scale))
        if self.zero_point is not None:
            self.zero_point.zero_()

    def forward(self, x: Tensor, *, tokens: tuple[Tensor, Tensor, Tensor] | None = None) -> Tensor:
        """Observe in floating-point mode, fake-quantise in training mode.

        `tokens`: scale, least and largest integer of each token, [.., 1], which have followed already.
        """
        if not self.quantized:
            if self.observer is not None:
                self.observer.update(x)
            return x
        if tokens is not None:
            return fake_quant.quantize_tokens(x, *tokens, self.log_scale)
        self.follow(x)
        return self.rounded(x)

    def rounded(self, x: Tensor) -> Tensor:
        """x as its integers have it, on real values."""
        return fake_quant.quantize(x, self.scale, *self.bounds, self.log_scale)

    def add(self, *terms: Tensor) -> Tensor:
        """The sum of quantised terms: each is rounded to this scale first, as integers are."""
        if self.quantized:
            terms = tuple(fake_quant.round_to(term, self.scale) for term in terms)
        y: Tensor = self(sum(terms[1:], start=terms[0]))
        return y

    def follow(self, x: Tensor) -> None:
        """In training, take a trained scale, or with a momentum move the scale towards the range of x."""
        if self.training and self.log_scale is not None:
            self.settle()
        elif self.training and self.momentum > 0:
            # What lies below the range of one-sided values does not matter.
            largest = x.detach().amax() if self.zero else x.detach().abs().amax()
            current = largest.clamp(min=0) / max(self.bounds[1], 1)
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
