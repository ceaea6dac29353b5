"""Quantised modules, one an operator of the domain: real parameters and activation scales that lower to its integers.

Every module works in three modes:

* integer: `eval()`; computes the operator exactly, on int64 tensors.
* training: `train()`; fake quantisation with straight-through gradients, on real values. The non-linear functions
  take their exact integer result in the forward pass and the gradient of the real function in the backward pass.
* floating point: `quantized = False`; the original network, through which observers see its activations.

Scales are float32 and combined in the order of the published I-ViT code, so that its checkpoints give its integers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ivit_onnx.errors import ExportError
from ivit_onnx.opset import OPERATORS as SPECS
from ivit_onnx.opset.arithmetic import Array, scale_round
from ivit_onnx.quant import operators, training
from ivit_onnx.quant.dyadic import dyadic, dyadic_affine
from ivit_onnx.quant.exponents import choose_gelu_n, choose_shiftmax_n, exp_x0, fitting_n, gelu_x0
from ivit_onnx.quant.softmax import IntegerSoftmax
from ivit_onnx.quant.statistics import Statistics
from ivit_onnx.quant.tables import Nonlinear, gelu_table
from ivit_onnx.quant.tensors import Lowered, QuantTensor

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Attention",
    "Classifier",
    "ImageInput",
    "LayerNorm",
    "Linear",
    "LinearAdd",
    "MlpAdd",
    "PatchEmbed",
    "QuantModule",
    "TokenMean",
]

#: Activation functions of feed-forward networks by timm's name. ShiftGELU computes quick_gelu, near to the others.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
}

_GELU_SCALE = np.float32(2.0**-7)
_LOGIT_BITS = 30
#: Levels that nothing is clipped to.
ROUND_ONLY = 2**24


class Activation(nn.Module):
    """A point of the network where values are quantised. Buffer `scale`: 0-dim float32, 0 until calibrated."""

    scale: Tensor
    #: The logarithm of the scale where that is trained.
    log_scale: nn.Parameter | None

    def __init__(self, bits: int = 8) -> None:
        super().__init__()
        self.bits = bits
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
                self.scale.copy_(self.log_scale.exp())

    def set_range(self, maximum: float) -> None:
        """Take a scale that represents [-maximum, maximum]; a range of zero becomes a tiny one."""
        self.scale.fill_(max(maximum, 1e-8) / self.levels)

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
            self.scale.mul_(1 - self.momentum).add_(current, alpha=self.momentum)

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


class QuantModule(nn.Module):
    """Base: integer mode runs the lowered operator, the other modes run `simulate`."""

    #: Name in the network, for messages; set by the network.
    path = ""
    #: True for the weights of the published I-ViT code: its definitions, where others would be more accurate.
    published = False
    #: How softmax and GELU are computed.
    nonlinear: Nonlinear = "ivit"
    #: n of a shift exponential in the published I-ViT code.
    published_n: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.quantized = True
        self._cache: tuple[tuple[object, ...], Lowered, dict[str, Tensor]] | None = None

    def lower(self, *scales: np.float32) -> Lowered:
        """The operator call that this module stands for, given the scales of its inputs."""
        raise NotImplementedError

    def simulate(self, *inputs: QuantTensor) -> QuantTensor:
        """The module on real values: floating point, or fake-quantised for training."""
        raise NotImplementedError

    def choose_exponent(self) -> None:
        """Choose n of a shift exponential, if the module has one, from the calibrated scales."""

    def forward(self, *inputs: QuantTensor) -> QuantTensor:
        if self.training or not self.quantized:
            return self.simulate(*inputs)
        lowered, constants = self._lowered([np.float32(x.scale.item()) for x in inputs], inputs[0].value.device)
        data = iter(x.value for x in inputs)
        ordered = [constants[t.name] if t.name in constants else next(data) for t in SPECS[lowered.operator].inputs]
        value = operators.OPERATORS[lowered.operator](*ordered, **lowered.attributes)
        return QuantTensor(value, torch.tensor(lowered.scale))

    def _lowered(self, scales: list[np.float32], device: torch.device) -> tuple[Lowered, dict[str, Tensor]]:
        state = [*self.parameters(), *self.buffers()]
        # Tensors made in inference mode do not count their versions: nothing tells whether they changed.
        cacheable = not any(t.is_inference() for t in state)
        key = (device, *map(float, scales), *((t.data_ptr(), t._version) for t in state)) if cacheable else ()
        if self._cache is None or self._cache[0] != key or not cacheable:
            lowered = self.lower(*scales)
            constants = {k: torch.from_numpy(np.asarray(v, order="C")).to(device) for k, v in lowered.constants.items()}
            self._cache = (key, lowered, constants)
        return self._cache[1], self._cache[2]

    def _dyadic(self, ratio: Array | np.float64, prefix: str = "") -> dict[str, Array]:
        """The two constants of a ratio of scales, named by the operator's inputs."""
        m, e = dyadic(ratio, f"{self.path} ({prefix.rstrip('_') or 'output'})")
        return {f"{prefix}multiplier": m, f"{prefix}shift": e}


class ImageInput(QuantModule):
    """QuantizeImage: pixels to the normalised, quantised input. `mean` and `std` per colour, of pixels in 0..1."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.output = Activation(8)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float64), persistent=False)

    def set_range(self) -> None:
        """Represent every pixel value: the range follows from mean and std alone."""
        ends = torch.stack([-self.mean / self.std, (1 - self.mean) / self.std])
        self.output.set_range(float(ends.abs().max()))

    def lower(self, *scales: np.float32) -> Lowered:
        scale = self.output.number(self.path)
        step = self.std.cpu().numpy() * np.float64(scale)
        (m, e), b = dyadic_affine(1 / (255 * step), -self.mean.cpu().numpy() / step, self.path)
        return Lowered("QuantizeImage", {"multiplier": m, "offset": b, "shift": e}, scale)

    def forward(self, *inputs: QuantTensor) -> QuantTensor:
        """uint8 pixels, normalised float32 or (integer mode) already quantised int8 images; [N, C, H, W]."""
        image = inputs[0].value
        if self.training or not self.quantized:
            return QuantTensor(self.output(self._normalize(image)), self.output.scale)
        if image.dtype == torch.uint8:
            return super().forward(*inputs)
        scale = torch.tensor(self.output.number(self.path))
        if image.dtype == torch.int8:
            return QuantTensor(image.long(), scale)
        quantized = torch.round(image / scale.to(image.device)).clamp(-128, 127).long()
        return QuantTensor(quantized, scale)

    def _normalize(self, image: Tensor) -> Tensor:
        if image.dtype != torch.uint8:
            return image
        mean, std = (v[:, None, None] for v in (self.mean, self.std))
        return ((image / 255.0 - mean) / std).float()


class WeightedModule(QuantModule):
    """A module with linear weights [out, in] and their 8-bit quantisation, one scale an output channel."""

    def simulated_weight(self, weight: Tensor) -> Tensor:
        """The weight itself in floating-point mode, fake-quantised for training."""
        if not self.quantized:
            return weight
        scale = weight.detach().abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
        return training.quantize(weight, scale, 127)

    def lower_linear(
        self, weight: Tensor, bias: Tensor, s_x: np.float32, s_y: np.float32, prefix: str = ""
    ) -> dict[str, Array]:
        """Constants of one linear layer: int8 weight [in, out], int32 bias, requantisation s_x * s_w -> s_y.

        Raises:
            ExportError: an accumulator could leave int32.
        """
        weight_int, bias_int, s_acc = self.quantize_linear(weight, bias, s_x)
        ratio = s_acc.astype(np.float64) / np.float64(s_y)
        return {
            f"{prefix}weight": weight_int,
            f"{prefix}bias": bias_int,
            **self._dyadic(ratio, prefix),
        }

    def quantize_linear(self, weight: Tensor, bias: Tensor, s_x: np.float32) -> tuple[Array, Array, Array]:
        """int8 weight [in, out], int32 bias [out], and the scale of the accumulator per output channel."""
        w, b = weight.detach().float().cpu().numpy(), bias.detach().float().cpu().numpy()
        largest = np.maximum(-w.min(axis=1), w.max(axis=1))
        # A channel of (nearly) zero weights would leave no room for its bias: 2^30 is the largest bias allowed.
        smallest = np.maximum(np.abs(b) / (s_x * np.float32(2**30)), np.float32(1e-12))
        if self.published:
            smallest = np.maximum(smallest, np.finfo(np.float32).eps)
        s_w = np.maximum(largest / np.float32(127), smallest).astype(np.float32)
        s_acc = (s_w * s_x).astype(np.float32)
        weight_int = np.rint((np.float32(1) / s_w)[:, None] * w)
        bias_int = np.rint((np.float32(1) / s_acc) * b).astype(np.float64)
        bound = np.abs(weight_int).sum(1) * 128 + np.abs(bias_int)
        if (bound >= 2**31).any():
            channel = int(np.argmax(bound))
            raise ExportError(
                f"{self.path}: the accumulator of output channel {channel} can reach {bound[channel]:.3g}, "
                f"expected less than 2^31; {w.shape[1]} inputs with these weights are too many for int32"
            )
        clipped = np.clip(weight_int, -128, 127).astype(np.int8)
        return np.ascontiguousarray(clipped.T), bias_int.astype(np.int32), s_acc


class ResidualMixin(WeightedModule):
    """The int16 branch of a linear layer and its addition to the residual stream."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = Activation(16)
        self.output = Activation(16)

    def lower_residual(self, s_residual: np.float32) -> dict[str, Array]:
        s_branch, s_y = (np.float64(a.number(self.path)) for a in (self.branch, self.output))
        return {
            **self._dyadic(s_branch / s_y, "branch_"),
            **self._dyadic(np.float64(s_residual) / s_y, "residual_"),
        }

    def simulate_residual(self, branch: Tensor, residual: Tensor) -> QuantTensor:
        return QuantTensor(self.output.add(self.branch(branch), residual), self.output.scale)


class Linear(WeightedModule):
    """IntLinear: int8 to int8. Parameters weight [out, in], bias [out]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.output = Activation(8)

    def lower(self, *scales: np.float32) -> Lowered:
        scale = self.output.number(self.path)
        return Lowered("IntLinear", self.lower_linear(self.weight, self.bias, scales[0], scale), scale)

    def simulate(self, *inputs: QuantTensor) -> QuantTensor:
        y = F.linear(inputs[0].value, self.simulated_weight(self.weight), self.bias)
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
        branch = F.linear(x.value, self.simulated_weight(self.weight), self.bias)
        return self.simulate_residual(branch, residual.value)


class Classifier(WeightedModule):
    """IntLinear32: int8 features to int32 logits of one common scale.

    With `distilled`, the input is the class token's features followed by the distillation token's, and the result the
    mean of both heads: one matrix product.
    """

    def __init__(self, inputs: int, classes: int, *, distilled: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(classes, inputs))
        self.bias = nn.Parameter(torch.zeros(classes))
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
        return QuantTensor(F.linear(inputs[0].value, self.simulated_weight(weight), bias), torch.ones(()))


class LayerNorm(QuantModule):
    """IntLayerNorm: int16 to int8, or with `bits` 16 IntLayerNorm16: int16 to int16. Parameters weight, bias [C].

    The reference divides by sqrt(sum of squares); epsilon, far below one integer step, plays no part in integers.
    """

    def __init__(self, channels: int, eps: float = 1e-6, bits: int = 8) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps
        self.output = Activation(bits)

    def lower(self, *scales: np.float32) -> Lowered:
        scale = self.output.number(self.path)
        gamma, beta = (p.detach().float().cpu().numpy() for p in (self.weight, self.bias))
        unit = np.sqrt(np.float32(len(gamma))) / np.float32(2**30)
        ratio = (unit * gamma).astype(np.float64) / np.float64(scale)
        (m, e), b = dyadic_affine(ratio, beta.astype(np.float64) / np.float64(scale), self.path)
        if self.published:
            m, b, e = self._published_affine(ratio, unit, m, b, e)
        operator = "IntLayerNorm" if self.output.bits == 8 else "IntLayerNorm16"
        return Lowered(operator, {"multiplier": m, "offset": b, "shift": e}, scale)

    def _published_affine(self, ratio: Array, unit: np.float32, m: Array, b: Array, e: Array) -> tuple[Array, ...]:
        """The bias as the published code has it: floor(beta / gamma / unit), added before the multiplication.

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
        y = training.layer_norm(
            x.value, self.weight, self.bias, x.scale, (m, b, e), out.scale, out.levels, out.log_scale
        )
        return QuantTensor(y, out.scale)


class TokenMean(QuantModule):
    """IntTokenMean: int8 [N, T, C] to int8 [N, C], or with `bits` 16 IntTokenMean16: int16 to int16."""

    def __init__(self, bits: int = 8) -> None:
        super().__init__()
        self.output = Activation(bits)

    def lower(self, *scales: np.float32) -> Lowered:
        scale = self.output.number(self.path)
        operator = "IntTokenMean" if self.output.bits == 8 else "IntTokenMean16"
        return Lowered(operator, self._dyadic(np.float64(scales[0]) / np.float64(scale)), scale)

    def simulate(self, *inputs: QuantTensor) -> QuantTensor:
        return QuantTensor(self.output(inputs[0].value.mean(1)), self.output.scale)


class Attention(QuantModule):
    """IntAttention or IntTableAttention: packed qkv [.., tokens, 3 * heads * head_dim] to merged heads.

    Buffer `n`: fractional bits of the exponential, 0 until calibrated.
    """

    n: Tensor
    published_n = 15

    def __init__(self, heads: int, head_dim: int, tokens: int, softmax_bits: int) -> None:
        super().__init__()
        self.heads, self.head_dim, self.tokens, self.softmax_bits = heads, head_dim, tokens, softmax_bits
        self.score = Activation(8)
        self.output = Activation(8)
        self.register_buffer("n", torch.zeros((), dtype=torch.int64))

    def lower(self, *scales: np.float32) -> Lowered:
        s_x, s_score, s_y = scales[0], self.score.number(self.path), self.output.number(self.path)
        s_product = np.float32(s_x * s_x) * np.float32(self.head_dim**-0.5)
        constants = {
            **self._dyadic(np.float64(s_product) / np.float64(s_score), "score_"),
            **self._dyadic(2.0**-self.softmax_bits * np.float64(s_x) / np.float64(s_y), "context_"),
        }
        softmax = self.softmax()
        attributes = {"heads": self.heads, **softmax.attributes()}
        return Lowered(softmax.operator("Attention"), {**constants, **softmax.constants()}, s_y, attributes)

    def choose_exponent(self) -> None:
        if self.nonlinear == "ivit":
            self.n.fill_(choose_shiftmax_n(float(self.score.number(self.path)), self.tokens, self.softmax_bits))

    def exponential(self) -> dict[str, int]:
        """Attributes x0 and n of Shiftmax."""
        x0 = exp_x0(self.score.number(self.path))
        return {"x0": x0, "n": fitting_n(int(self.n), x0, self.tokens, self.softmax_bits)}

    def softmax(self) -> IntegerSoftmax:
        """The softmax at the scale of the scores."""
        return IntegerSoftmax(self.nonlinear, self.score.number(self.path), self.exponential(), self.softmax_bits)

    def simulate(self, *inputs: QuantTensor) -> QuantTensor:
        x = inputs[0].value
        batch, tokens, width = x.shape
        q, k, v = x.reshape(batch, tokens, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4)
        score = self.score(q @ k.transpose(-1, -2) * self.head_dim**-0.5)
        if self.quantized:
            probability = training.softmax(score, self.score.scale, None, self.softmax().simulate)
        else:
            probability = score.softmax(-1)
        context = (probability @ v).transpose(1, 2).reshape(batch, tokens, width // 3)
        return QuantTensor(self.output(context), self.output.scale)


class MlpAdd(ResidualMixin):
    """IntMlpAdd or IntTableMlpAdd: fc1, GELU, fc2, residual. Buffer `n` as in Attention.

    `act` names the activation function of the floating-point network: that of the table, and what ShiftGELU stands for.
    """

    n: Tensor
    published_n = 23

    def __init__(self, width: int, hidden: int, act: str = "gelu") -> None:
        super().__init__()
        self.act_name = act
        self.act = ACTIVATIONS[act]
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.hidden = Activation(8)
        self.activated = Activation(8)
        self.register_buffer("n", torch.zeros((), dtype=torch.int64))

    def lower(self, *scales: np.float32) -> Lowered:
        s_x, s_residual = scales
        s_hidden, s_act, s_branch = (a.number(self.path) for a in (self.hidden, self.activated, self.branch))
        table = self.nonlinear == "table"
        constants = {
            **self.lower_linear(self.fc1.weight, self.fc1.bias, s_x, s_hidden, "fc1_"),
            **(
                {"gelu_table": gelu_table(self.act_name, s_hidden, s_act)}
                if table
                else self._dyadic(np.float64(s_hidden * _GELU_SCALE) / np.float64(s_act), "gelu_")
            ),
            **self.lower_linear(self.fc2.weight, self.fc2.bias, s_act, s_branch, "fc2_"),
            **self.lower_residual(s_residual),
        }
        scale = self.output.number(self.path)
        if table:
            return Lowered("IntTableMlpAdd", constants, scale)
        return Lowered("IntMlpAdd", constants, scale, self.exponential())

    def choose_exponent(self) -> None:
        if self.nonlinear == "ivit":
            self.n.fill_(choose_gelu_n(float(self.hidden.number(self.path))))

    def exponential(self) -> dict[str, int]:
        """Attributes x0 and n of ShiftGELU."""
        return {"x0": gelu_x0(self.hidden.number(self.path)), "n": int(self.n)}

    def simulate(self, *inputs: QuantTensor) -> QuantTensor:
        x, residual = inputs
        hidden = self.hidden(F.linear(x.value, self.simulated_weight(self.fc1.weight), self.fc1.bias))
        # With a table, what is left is the rounding of the result, below.
        if self.quantized and self.nonlinear == "ivit":
            activated = training.shift_gelu(hidden, self.hidden.scale, self.act, **self.exponential())
        else:
            activated = self.act(hidden)
        branch = F.linear(self.activated(activated), self.simulated_weight(self.fc2.weight), self.fc2.bias)
        return self.simulate_residual(branch, residual.value)


class PatchEmbed(WeightedModule):
    """IntPatchEmbed. Parameters weight [D, C, P, P], bias [D], prefix_tokens [K, D], pos_embed [K + patches, D].

    Without `prefix_positions`, the position table has no rows for the prefix tokens: [patches, D].
    """

    def __init__(
        self, colours: int, patch_size: int, width: int, prefix: int, patches: int, *, prefix_positions: bool = True
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        #: Rows of the position table that belong to prefix tokens.
        self.placed = prefix if prefix_positions else 0
        self.weight = nn.Parameter(torch.zeros(width, colours, patch_size, patch_size))
        self.bias = nn.Parameter(torch.zeros(width))
        self.prefix_tokens = nn.Parameter(torch.zeros(prefix, width))
        self.pos_embed = nn.Parameter(torch.zeros(self.placed + patches, width))
        self.projection = Activation(16)
        self.position = Activation(16)
        self.output = Activation(16)

    def lower(self, *scales: np.float32) -> Lowered:
        s_proj, s_pos, s_y = (a.number(self.path) for a in (self.projection, self.position, self.output))
        token = self._dyadic(np.float64(s_proj) / np.float64(s_y), "token_")
        position_dyadic = dyadic(np.float64(s_pos) / np.float64(s_y), f"{self.path} (position)")
        position_int = self.position_integers()
        prefix_int = np.rint(self.prefix_tokens.detach().float().cpu().numpy() / s_proj).astype(np.int64)
        position = scale_round(position_int, *position_dyadic)
        prefix = scale_round(prefix_int, *token.values())
        prefix[: self.placed] += position[: self.placed]
        constants = {
            **self.lower_linear(self.weight.flatten(1), self.bias, scales[0], s_proj),
            **token,
            "position": np.clip(position[self.placed :], -(2**31), 2**31 - 1).astype(np.int32),
            "prefix_tokens": np.clip(prefix, -(2**15), 2**15 - 1).astype(np.int16),
        }
        return Lowered("IntPatchEmbed", constants, s_y, {"patch_size": self.patch_size})

    def position_integers(self) -> Array:
        """The position table as int64 of the scale of `position`."""
        inverse = np.float32(1) / self.position.number(self.path)
        table = np.rint(inverse * self.pos_embed.detach().float().cpu().numpy()).astype(np.int64)
        return np.clip(table, -(2**15), 2**15 - 1)

    def simulate(self, *inputs: QuantTensor) -> QuantTensor:
        image = inputs[0].value
        weight = self.simulated_weight(self.weight.flatten(1)).view_as(self.weight)
        patches = F.conv2d(image, weight, self.bias, stride=self.patch_size).flatten(2).transpose(1, 2)
        prefix: Tensor = self.prefix_tokens
        if self.quantized:
            prefix = training.quantize(prefix, self.projection.scale, ROUND_ONLY)
        tokens = torch.cat([prefix.expand(len(image), *prefix.shape), self.projection(patches)], dim=1)
        position = F.pad(self.position(self.pos_embed), (0, 0, tokens.shape[1] - len(self.pos_embed), 0))
        return QuantTensor(self.output.add(tokens, position), self.output.scale)
