"""The mean of all tokens."""

from __future__ import annotations

from functools import partial

import numpy as np
from torch import Tensor

from ivit_onnx.opset import OUTPUT_PARTS, variant
from ivit_onnx.quant.activation_quantizer import ActivationQuantizer
from ivit_onnx.quant.arithmetic import rounded_divide
from ivit_onnx.quant.operators import Implementations
from ivit_onnx.quant.quant_module import QuantModule
from ivit_onnx.quant.requantize import requantize
from ivit_onnx.quant.tensors import Lowered, QuantTensor

__all__ = ["IMPLEMENTATIONS", "TokenMean"]


def token_mean(x: Tensor, multiplier: Tensor, shift: Tensor, *, bits: int) -> Tensor:
    return requantize(rounded_divide(x.long().sum(1), x.shape[1]), multiplier, shift, bits=bits)


class TokenMean(QuantModule):
    """IntTokenMean: int8 [N, T, C] to int8 [N, C], or with `bits` 16 IntTokenMean16: int16 to int16."""

    role = "Average pooling."

    def __init__(self, bits: int = 8) -> None:
        super().__init__()
        self.output = ActivationQuantizer(bits)

    def lower(self, *scales: np.float32) -> Lowered:
        scale = self.output.number(self.path)
        operator = variant("IntTokenMean", OUTPUT_PARTS[self.output.bits])
        return Lowered(operator, self._dyadic(np.float64(scales[0]) / np.float64(scale)), scale)

    def simulate(self, *inputs: QuantTensor) -> QuantTensor:
        return QuantTensor(self.output(inputs[0].value.mean(1)), self.output.scale)


IMPLEMENTATIONS: Implementations = {
    "IntTokenMean": partial(token_mean, bits=8),
    "IntTokenMean16": partial(token_mean, bits=16),
}
