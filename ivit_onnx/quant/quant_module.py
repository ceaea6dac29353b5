"""What quantised modules have in common: the three modes, weights, and the residual stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ivit_onnx.errors import ExportError
from ivit_onnx.opset import OPERATORS as SPECS
from ivit_onnx.opset.arithmetic import Array
from ivit_onnx.options.choices import Nonlinear
from ivit_onnx.quant import fake_quant
from ivit_onnx.quant.activation_quantizer import ActivationQuantizer
from ivit_onnx.quant.dyadic import dyadic
from ivit_onnx.quant.operators import operator
from ivit_onnx.quant.step import Step
from ivit_onnx.quant.tensors import Lowered, QuantTensor

__all__ = ["QuantModule", "ResidualMixin", "WeightedModule"]


class QuantModule(Step):
    """Base: integer mode runs the lowered operator, the other modes run `simulate`."""

    #: True for the weights of the reference I-ViT code: its definitions, where others would be more accurate.
    reference_ivit = False
    #: How softmax and GELU are computed.
    nonlinear: Nonlinear = "ivit"
    #: n of a shift exponential in the reference I-ViT code.
    reference_ivit_n: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.quantized = True
        self._cache: tuple[tuple[object, ...], Lowered, dict[str, Tensor]] | None = None

    def set_nonlinear(self, nonlinear: Nonlinear) -> None:
        """Choose how softmax and GELU are computed; before calibration."""
        self.nonlinear = nonlinear

    def simulate(self, *inputs: QuantTensor) -> QuantTensor:
        """The module on real values: floating point, or fake-quantised for training."""
        raise NotImplementedError

    def choose_exponent(self) -> None:
        """Choose n of a shift exponential, if the module has one, from the calibrated scales."""

    def reference_ivit_bytes(self) -> list[ActivationQuantizer]:
        """Points that have 8 bits in the reference I-ViT code, and 16 here."""
        return []

    def forward(self, *inputs: QuantTensor) -> QuantTensor:
        if self.training or not self.quantized:
            return self.simulate(*inputs)
        values = [x.value for x in inputs]
        lowered, constants = self._lowered([np.float32(x.scale.item()) for x in inputs], values[0].device)

        def compute(*values: Tensor) -> Tensor:
            data = iter(values)
            ordered = [constants[t.name] if t.name in constants else next(data) for t in SPECS[lowered.operator].inputs]
            result: Tensor = operator(lowered.operator)(*ordered, **lowered.attributes)
            return result

        return QuantTensor(self.run(lowered, values, compute), torch.tensor(lowered.scale))

    def _lowered(self, scales: list[np.float32], device: torch.device) -> tuple[Lowered, dict[str, Tensor]]:
        state = [*self.parameters(), *self.buffers()]
        # Tensors made in inference mode do not count their versions: nothing tells whether they changed.
        cacheable = not any(t.is_inference() for t in state)
        chosen = (self.nonlinear, self.reference_ivit, device)
        key = (*chosen, *map(float, scales), *((t.data_ptr(), t._version) for t in state)) if cacheable else ()
        if self._cache is None or self._cache[0] != key or not cacheable:
            lowered = self.lower(*scales)
            constants = {k: torch.from_numpy(np.asarray(v, order="C")).to(device) for k, v in lowered.constants.items()}
            self._cache = (key, lowered, constants)
        return self._cache[1], self._cache[2]

    def _dyadic(self, ratio: Array | np.float64, prefix: str = "") -> dict[str, Array]:
        """The two constants of a ratio of scales, named by the operator's inputs."""
        m, e = dyadic(ratio, f"{self.path} ({prefix.rstrip('_') or 'output'})")
        return {f"{prefix}multiplier": m, f"{prefix}shift": e}


class WeightedModule(QuantModule):
    """A module with linear weights [out, in] and their 8-bit quantisation, one scale per output channel."""

    def __init__(self) -> None:
        super().__init__()
        self._reader: Callable[[Tensor, Tensor], None] | None = None
        self._exact: list[tuple[Tensor, Tensor]] = []

    @contextmanager
    def reading(self, reader: Callable[[Tensor, Tensor], None]) -> Iterator[None]:
        """Have `reader` see weights [out, in] and inputs [.., in] of every product of `simulate`, before it is made.

        It may change the weights.
        """
        self._reader = reader
        try:
            yield
        finally:
            self._reader = None

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """The linear layer on real values: floating point, or with quantised weights."""
        if self._reader is not None:
            self._reader(weight, x)
        return F.linear(x, self.simulated_weight(weight), bias)

    def keep_exact(self, weight: Tensor) -> None:
        """Have floating-point mode use the weights as they are now, whatever they are rounded to."""
        if not any(known is weight for known, _ in self._exact):
            self._exact.append((weight, weight.detach().clone()))

    def exact_weight(self, weight: Tensor) -> Tensor:
        """The weight before it was rounded to integers of the calibration's choice; the weight itself if it was not."""
        return next((exact.to(weight) for known, exact in self._exact if known is weight), weight)

    def simulated_weight(self, weight: Tensor) -> Tensor:
        """The weight itself in floating-point mode, fake-quantised for training."""
        if not self.quantized:
            return self.exact_weight(weight)
        scale = weight.detach().abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
        return fake_quant.quantize(weight, scale, -128, 127)

    def lower_linear(
        self, weight: Tensor, bias: Tensor, s_x: np.float32, s_y: np.float32, prefix: str = "", zero: int = 0
    ) -> dict[str, Array]:
        """Constants of one linear layer: int8 weight [in, out], int32 bias, requantisation s_x * s_w -> s_y.

        `zero`: the zero point of the inputs, which the bias absorbs.

        Raises:
            ExportError: an accumulator could leave int32.
        """
        weight_int, bias_int, s_acc = self.quantize_linear(weight, bias, s_x, zero)
        ratio = s_acc.astype(np.float64) / np.float64(s_y)
        return {
            f"{prefix}weight": weight_int,
            f"{prefix}bias": bias_int,
            **self._dyadic(ratio, prefix),
        }

    def quantize_linear(
        self, weight: Tensor, bias: Tensor, s_x: np.float32, zero: int = 0
    ) -> tuple[Array, Array, Array]:
        """int8 weight [in, out], int32 bias [out], and the scale of the accumulator per output channel."""
        weight_int, s_w = self.quantize_weight(weight, bias, s_x)
        return weight_int, self.quantize_bias(weight_int, bias, s_x, s_w, zero), (s_w * s_x).astype(np.float32)

    def quantize_weight(self, weight: Tensor, bias: Tensor, s_x: np.float32) -> tuple[Array, Array]:
        """int8 weight [in, out] and its scales [out], float32, with which inputs of scale s_x or more leave room for
        the bias."""
        w, b = weight.detach().float().cpu().numpy(), bias.detach().float().cpu().numpy()
        largest = np.maximum(-w.min(axis=1), w.max(axis=1))
        # A channel of (nearly) zero weights would leave no headroom for its bias: 2^30 is the largest bias allowed.
        smallest = np.maximum(np.abs(b) / (s_x * np.float32(2**30)), np.float32(1e-12))
        if self.reference_ivit:
            smallest = np.maximum(smallest, np.finfo(np.float32).eps)
        s_w = np.maximum(largest / np.float32(127), smallest).astype(np.float32)
        weight_int = np.clip(np.rint((np.float32(1) / s_w)[:, None] * w), -128, 127)
        return np.ascontiguousarray(weight_int.astype(np.int8).T), s_w

    def quantize_bias(self, weight: Array, bias: Tensor, s_x: np.float32, s_w: Array, zero: int = 0) -> Array:
        """int32 bias [out] of inputs of scale s_x and that zero point, for weights of `quantize_weight`.

        Raises:
            ExportError: an accumulator could leave int32.
        """
        b, wide = bias.detach().float().cpu().numpy(), weight.astype(np.float64)
        s_acc = (s_w * s_x).astype(np.float32)
        bias_int = np.rint((np.float32(1) / s_acc) * b).astype(np.float64) - zero * wide.sum(0)
        bound = np.abs(wide).sum(0) * 128 + np.abs(bias_int)
        if (bound >= 2**31).any():
            channel = int(np.argmax(bound))
            raise ExportError(
                f"{self.path}: the accumulator of output channel {channel} can reach {bound[channel]:.3g}, "
                f"expected less than 2^31; {len(weight)} inputs with these weights are too many for int32"
            )
        return np.asarray(bias_int.astype(np.int32))


class ResidualMixin(WeightedModule):
    """The int16 branch of a linear layer and its addition to the residual stream."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = ActivationQuantizer(16)
        self.output = ActivationQuantizer(16)

    def lower_residual(self, s_residual: np.float32) -> dict[str, Array]:
        s_branch, s_y = (np.float64(a.number(self.path)) for a in (self.branch, self.output))
        return {
            **self._dyadic(s_branch / s_y, "branch_"),
            **self._dyadic(np.float64(s_residual) / s_y, "residual_"),
        }

    def simulate_residual(self, branch: Tensor, residual: Tensor) -> QuantTensor:
        return QuantTensor(self.output.add(self.branch(branch), residual), self.output.scale)
