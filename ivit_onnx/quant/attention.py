"""Attention: what all kinds share, and that of all tokens to all tokens."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ivit_onnx.opset import variant
from ivit_onnx.opset.arithmetic import Array
from ivit_onnx.options.choices import Nonlinear
from ivit_onnx.quant import fake_quant
from ivit_onnx.quant.activation_quantizer import ActivationQuantizer
from ivit_onnx.quant.deferred import CONTEXT_RATIO, DEFERRED, DeferredSoftmax
from ivit_onnx.quant.exponents import choose_shiftmax_n, exp_x0, fitting_n, least_softmax_scale
from ivit_onnx.quant.quant_module import QuantModule
from ivit_onnx.quant.softmax import IntegerSoftmax
from ivit_onnx.quant.tensors import Lowered, QuantTensor

__all__ = ["Attention", "AttentionCore"]


class AttentionCore(QuantModule):
    """Base of the attentions: what lies between queries, keys and values and the merged heads.

    Buffer `n`: fractional bits of the exponential, 0 until calibrated; `deferred`: 1 where the sum of exponentials is
    divided by at the end, which scores need no scale for. `keys`: how many tokens one attends to.
    """

    n: Tensor
    deferred: Tensor
    reference_ivit_n = 15
    score: ActivationQuantizer
    output: ActivationQuantizer

    def __init__(self, heads: int, head_dim: int, keys: int, softmax_bits: int) -> None:
        super().__init__()
        self.heads, self.head_dim, self.keys, self.softmax_bits = heads, head_dim, keys, softmax_bits
        self.register_buffer("n", torch.zeros((), dtype=torch.int64))
        # States of trainings that began without it have none.
        self.register_buffer("deferred", torch.zeros((), dtype=torch.int64), persistent=False)

    def set_nonlinear(self, nonlinear: Nonlinear) -> None:
        super().set_nonlinear(nonlinear)
        self.deferred.fill_(nonlinear == "table")

    def set_softmax_bits(self, bits: int) -> None:
        """Take so many bits for exponentials, or probabilities. A calibrated module has to be deferred: n depends on
        them elsewhere."""
        self.softmax_bits, self._cache = bits, None

    def scores(self) -> list[ActivationQuantizer]:
        """Where scores have a scale, in order, the argument of softmax last; nowhere if attention is deferred."""
        return [] if self.deferred else self.scaled_scores()

    def idle(self) -> list[ActivationQuantizer]:
        """Points that the integers do not depend on."""
        points = [module for module in self.modules() if isinstance(module, ActivationQuantizer)]
        return [point for point in points if self.deferred and point is not self.output]

    def scaled_scores(self) -> list[ActivationQuantizer]:
        """Those of the operator that is not deferred."""
        raise NotImplementedError

    def choose_exponent(self) -> None:
        if self.nonlinear == "ivit":
            self.n.fill_(choose_shiftmax_n(float(self._softmax_scale()), self.keys, self.softmax_bits))

    def exponential(self) -> dict[str, int]:
        """Attributes x0 and n of Shiftmax."""
        x0 = exp_x0(self._softmax_scale())
        return {"x0": x0, "n": fitting_n(int(self.n), x0, self.keys, self.softmax_bits)}

    def product_scale(self, s_x: np.float32) -> np.float64:
        """That of q @ k^T, with the factor of attention."""
        return np.float64(np.float32(s_x * s_x) * np.float32(self.head_dim**-0.5))

    def deferred_softmax(self, s_x: np.float32) -> DeferredSoftmax:
        """The softmax of queries and keys of that scale, where it is deferred."""
        # In float64 the square of any scale is a number above 0.
        product_scale = np.float64(s_x) ** 2 * self.head_dim**-0.5
        return DeferredSoftmax(product_scale, self.head_dim, self.keys, self.softmax_bits)

    def lower_deferred(
        self,
        base: str,
        softmax: DeferredSoftmax,
        s_x: np.float32,
        constants: dict[str, Array],
        attributes: dict[str, int],
    ) -> Lowered:
        """The deferred variant of an operator, with constants and attributes of its own."""
        s_y = self.output.number(self.path)
        context = self._dyadic(CONTEXT_RATIO * np.float64(s_x) / np.float64(s_y), "context_")
        return Lowered(
            variant(base, DEFERRED),
            {**constants, **context, **softmax.constants()},
            s_y,
            {**attributes, **softmax.attributes()},
        )

    def softmax(self) -> IntegerSoftmax:
        """The softmax at the scale of its argument."""
        return IntegerSoftmax(self.nonlinear, self._softmax_scale(), self.exponential(), self.softmax_bits)

    def _softmax_scale(self) -> np.float32:
        return self.scores()[-1].number(self.path)


class Attention(AttentionCore):
    """IntAttention, IntTableAttention or IntDeferredAttention: packed qkv [.., tokens, 3 * heads * head_dim] to merged
    heads."""

    role = "Attention."

    def __init__(self, heads: int, head_dim: int, tokens: int, softmax_bits: int) -> None:
        super().__init__(heads, head_dim, tokens, softmax_bits)
        self.score = ActivationQuantizer(8, least_softmax_scale(tokens), channels=False)
        self.output = ActivationQuantizer(8)

    def scaled_scores(self) -> list[ActivationQuantizer]:
        return [self.score]

    def lower(self, *scales: np.float32) -> Lowered:
        s_x = scales[0]
        if self.deferred:
            return self.lower_deferred("IntAttention", self.deferred_softmax(s_x), s_x, {}, {"heads": self.heads})
        s_score, s_y = self.score.number(self.path), self.output.number(self.path)
        constants = {
            **self._dyadic(self.product_scale(s_x) / np.float64(s_score), "score_"),
            **self._dyadic(2.0**-self.softmax_bits * np.float64(s_x) / np.float64(s_y), "context_"),
        }
        softmax = self.softmax()
        attributes = {"heads": self.heads, **softmax.attributes()}
        return Lowered(softmax.operator("IntAttention"), {**constants, **softmax.constants()}, s_y, attributes)

    def simulate(self, *inputs: QuantTensor) -> QuantTensor:
        x = inputs[0].value
        batch, tokens, width = x.shape
        q, k, v = x.reshape(batch, tokens, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4)
        score = q @ k.transpose(-1, -2) * self.head_dim**-0.5
        if self.quantized and self.deferred:
            softmax = self.deferred_softmax(np.float32(inputs[0].scale.item()))
            probability = fake_quant.softmax(score, torch.tensor(softmax.product_scale), None, softmax.simulate)
        elif self.quantized:
            probability = fake_quant.softmax(self.score(score), self.score.scale, None, self.softmax().simulate)
        else:
            probability = self.score(score).softmax(-1)
        context = (probability @ v).transpose(1, 2).reshape(batch, tokens, width // 3)
        return QuantTensor(self.output(context), self.output.scale)
