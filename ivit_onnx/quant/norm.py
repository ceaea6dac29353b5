"""Layer normalisation."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ivit_onnx.opset import OUTPUT_PARTS, variant
from ivit_onnx.opset.arithmetic import Array
from ivit_onnx.quant import fake_quant
from ivit_onnx.quant.activation_quantizer import ActivationQuantizer
from ivit_onnx.quant.arithmetic import integer_root, rounded_divide, saturate
from ivit_onnx.quant.dyadic import dyadic, dyadic_affine
from ivit_onnx.quant.operators import Implementations
from ivit_onnx.quant.quant_module import QuantModule
from ivit_onnx.quant.tensors import Lowered, QuantTensor

__all__ = ["IMPLEMENTATIONS", "LayerNorm", "layer_norm"]


def layer_norm(x: Tensor, multiplier: Tensor, offset: Tensor, shift: Tensor, *, bits: int = 8) -> Tensor:
    x = x.long()
    y = x - rounded_divide(x.sum(-1, keepdim=True), x.shape[-1])
    k = integer_root((y * y).sum(-1, keepdim=True))
    z = (y * torch.div(2**31, k, rounding_mode="floor")) >> 1
    return saturate((z * multiplier.long() + offset.long()) >> shift.long(), bits)


class LayerNorm(QuantModule):
    """IntLayerNorm: int16 to int8, or with `bits` 16 IntLayerNorm16: int16 to int16. Parameters weight, bias [C].

    The reference divides by sqrt(sum of squares); epsilon, far below one integer step, plays no part in integers.
    """

    def __init__(self, channels: int, eps: float = 1e-6, bits: int = 8) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps
        self.output = ActivationQuantizer(bits)

    def lower(self, *scales: np.float32) -> Lowered:
        scale = self.output.number(self.path)
        gamma, beta = (p.detach().float().cpu().numpy() for p in (self.weight, self.bias))
        unit = np.sqrt(np.float32(len(gamma))) / np.float32(2**30)
        ratio = (unit * gamma).astype(np.float64) / np.float64(scale)
        (m, e), b = dyadic_affine(ratio, beta.astype(np.float64) / np.float64(scale), self.path)
        if self.reference_ivit:
            m, b, e = self._reference_ivit_affine(ratio, unit, m, b, e)
        operator = variant("IntLayerNorm", OUTPUT_PARTS[self.output.bits])
        return Lowered(operator, {"multiplier": m, "offset": b, "shift": e}, scale)

    def _reference_ivit_affine(self, ratio: Array, unit: np.float32, m: Array, b: Array, e: Array) -> tuple[Array, ...]:
        """The bias as the reference code has it: floor(beta / gamma / unit), added before the multiplication.

        Channels where that is no number or does not fit, since gamma is (nearly) zero, keep the given affine map.
        """
        gamma, beta = (p.detach().float().cpu().numpy() for p in (self.weight, self.bias))
        exact_m, exact_e = dyadic(ratio, self.path)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            bias = np.floor(beta / gamma / unit).astype(np.float64)
            fits = (np.abs(exact_m.astype(np.float64)) >= 2.0**20) & (np.abs(bias * exact_m) < 2.0**61)
        offset = np.where(fits, bias, 0).astype(np.int64) * exact_m + (np.int64(1) << (exact_e.astype(np.int64) - 1))
        return np.where(fits, exact_m, m), np.where(fits, offset, b), np.where(fits, exact_e, e)

    def simulate(self, *inputs: QuantTensor) -> QuantTensor:
        x = inputs[0]
        if not self.quantized or self.output.momentum > 0:
            y = F.layer_norm(x.value, (len(self.weight),), self.weight, self.bias, self.eps)
            if not self.quantized:
                return QuantTensor(self.output(y), self.output.scale)
            self.output.follow(y)
        self.output.settle()
        constants = self.lower(np.float32(x.scale.item())).constants
        m, b, e = (torch.from_numpy(constants[name]).to(x.value.device) for name in ("multiplier", "offset", "shift"))
        out = self.output
        y = fake_quant.layer_norm(
            x.value, self.weight, self.bias, x.scale, (m, b, e), out.scale, out.levels, out.log_scale
        )
        return QuantTensor(y, out.scale)


IMPLEMENTATIONS: Implementations = {
    "IntLayerNorm": partial(layer_norm, bits=8),
    "IntLayerNorm16": partial(layer_norm, bits=16),
}
