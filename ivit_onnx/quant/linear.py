"""Linear layers: inside the network, into the residual stream, and to the logits."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ivit_onnx.quant.activation_quantizer import ActivationQuantizer
from ivit_onnx.quant.quant_module import ResidualMixin, WeightedModule
from ivit_onnx.quant.tensors import Lowered, QuantTensor

__all__ = ["Classifier", "Linear", "LinearAdd"]

_LOGIT_BITS = 30


class Linear(WeightedModule):
    """IntLinear: int8 to int8. Parameters weight [out, in], bias [out]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.output = ActivationQuantizer(8)

    def lower(self, *scales: np.float32) -> Lowered:
        scale = self.output.number(self.path)
        return Lowered("IntLinear", self.lower_linear(self.weight, self.bias, scales[0], scale), scale)

    def simulate(self, *inputs: QuantTensor) -> QuantTensor:
        y = self.product(inputs[0].value, self.weight, self.bias)
        return QuantTensor(self.output(y), self.output.scale)


class LinearAdd(ResidualMixin):
    """IntLinearAdd: int8 and the int16 residual stream to int16."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def lower(self, *scales: np.float32) -> Lowered:
        s_x, s_residual = scales
        linear = self.lower_linear(self.weight, self.bias, s_x, self.branch.number(self.path))
        return Lowered("IntLinearAdd", {**linear, **self.lower_residual(s_residual)}, self.output.number(self.path))

    def simulate(self, *inputs: QuantTensor) -> QuantTensor:
        x, residual = inputs
        branch = self.product(x.value, self.weight, self.bias)
        return self.simulate_residual(branch, residual.value)


class Classifier(WeightedModule):
    """IntLinear32: int8 features to int32 logits of one common scale.

    With `distilled`, the input is the class token's features followed by the distillation token's, and the result the
    mean of both heads: one matrix product.
    """

    role = "Classification head."

    def __init__(self, inputs: int, classes: int, *, distilled: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(classes, inputs))
        self.bias = nn.Parameter(torch.zeros(classes))
        if distilled:
            self.role = "Mean of both classification heads."
        self.dist_weight = nn.Parameter(torch.zeros(classes, inputs)) if distilled else None
        self.dist_bias = nn.Parameter(torch.zeros(classes)) if distilled else None

    def combined(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the single linear layer that both heads amount to."""
        if self.dist_weight is None or self.dist_bias is None:
            return self.weight, self.bias
        return torch.cat([self.weight, self.dist_weight], dim=1) / 2, (self.bias + self.dist_bias) / 2

    def lower(self, *scales: np.float32) -> Lowered:
        weight, bias = self.combined()
        weight_int, bias_int, s_acc = self.quantize_linear(weight, bias, scales[0])
        bound = np.abs(weight_int.astype(np.int64)).sum(0) * 128 + np.abs(bias_int.astype(np.int64))
        # The finest power-of-two fraction of the coarsest accumulator scale that keeps logits below 2^30.
        spare_bits = max(0, _LOGIT_BITS - int(bound.max()).bit_length())
        scale = np.float32(s_acc.max() / np.float32(2**spare_bits))
        constants = {
            "weight": weight_int,
            "bias": bias_int,
            **self._dyadic(s_acc.astype(np.float64) / np.float64(scale)),
        }
        return Lowered("IntLinear32", constants, scale)

    def simulate(self, *inputs: QuantTensor) -> QuantTensor:
        weight, bias = self.combined()
        return QuantTensor(self.product(inputs[0].value, weight, bias), torch.ones(()))
