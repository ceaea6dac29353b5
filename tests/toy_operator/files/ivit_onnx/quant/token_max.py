"""The largest of all tokens."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ivit_onnx.quant.activation_quantizer import ActivationQuantizer
from ivit_onnx.quant.operators import Implementations
from ivit_onnx.quant.quant_module import QuantModule
from ivit_onnx.quant.requantize import requantize
from ivit_onnx.quant.tensors import Lowered, QuantTensor

__all__ = ["IMPLEMENTATIONS", "TokenMax"]


def token_max(x: Tensor, multiplier: Tensor, shift: Tensor) -> Tensor:
    return requantize(x.long().amax(1), multiplier, shift, bits=8)


class TokenMax(QuantModule):
    """IntTokenMax: int8 [N, T, C] to int8 [N, C]."""

    role = "Maximum pooling."

    def __init__(self) -> None:
        super().__init__()
        self.output = ActivationQuantizer(8)

    def lower(self, *scales: np.float32) -> Lowered:
        scale = self.output.number(self.path)
        return Lowered("IntTokenMax", self._dyadic(np.float64(scales[0]) / np.float64(scale)), scale)

    def simulate(self, *inputs: QuantTensor) -> QuantTensor:
        return QuantTensor(self.output(inputs[0].value.amax(1)), self.output.scale)


IMPLEMENTATIONS: Implementations = {"IntTokenMax": token_max}
