"""The forward passes of training: exact integers, on real values, with the gradients of the real functions.

Each function returns integers times a scale, as the operator of the same name computes them, and passes gradients on as
if it were the function that the operator stands for (straight-through estimation). Where a scale is trained, its
gradient is that of learned step size quantisation (Esser et al., LSQ, equations 3 to 5), with respect to its logarithm.

8-bit arguments have 256 values, so that the exponential and ShiftGELU are tables here. float64 holds every integer that
occurs exactly, except for products beyond 2^53 in the last step of the normalisation, which may differ from the
operator's by one unit of the last place of a double before rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ivit_onnx.opset import MASKED
from ivit_onnx.opset.arithmetic import INT32_MAX
from ivit_onnx.quant.arithmetic import integer_root
from ivit_onnx.quant.nonlinear import shift_gelu_table, shiftmax_table

__all__ = ["layer_norm", "quantize", "quantize_tokens", "round_to", "shift_gelu", "shiftmax", "softmax"]

_BIAS = 128
#: Steps that nothing is clipped to.
_FAR = 2**24
#: Half the steps of an 8-bit range.
_TOKEN_LEVELS = 127


def quantize(x: Tensor, scale: Tensor, low: int, high: int, log_scale: Tensor | None = None) -> Tensor:
    """x rounded to multiples low .. high of `scale`; gradient 1 inside the range, 0 outside.

    `scale` broadcasts against x. `log_scale`, if the scale is trained, is its logarithm [].
    """
    y: Tensor = _Quantize.apply(x, scale, low, high, log_scale)  # type: ignore[no-untyped-call]
    return y


def quantize_tokens(x: Tensor, scale: Tensor, low: Tensor, high: Tensor, log_scale: Tensor | None = None) -> Tensor:
    """`quantize` with a scale and bounds for each token, [.., 1]; `log_scale` is that which the scales are multiples
    of."""
    y: Tensor = _QuantizeTokens.apply(x, scale, low, high, log_scale)  # type: ignore[no-untyped-call]
    return y


def round_to(x: Tensor, scale: Tensor) -> Tensor:
    """x rounded to multiples of `scale`, which nothing is clipped to."""
    return quantize(x, scale, -_FAR, _FAR)


def softmax(score: Tensor, scale: Tensor, visible: Tensor | None, probabilities: Callable[[Tensor], Tensor]) -> Tensor:
    """A softmax over the last axis of 8-bit scores (real values); gradient of softmax at its probabilities.

    `probabilities` maps integers, MASKED where they must not count, to real probabilities: `shiftmax`, for example.
    `visible` (bool, broadcasts against the scores), if given, is False for scores that must not count.
    """
    p: Tensor = _Softmax.apply(score, scale, visible, probabilities)  # type: ignore[no-untyped-call]
    return p


def shiftmax(x: Tensor, /, *, x0: int, n: int, frac_bits: int) -> Tensor:
    """Shiftmax over the last axis of 8-bit integers x, MASKED where they must not count: probabilities in float64."""
    index = (x.amax(-1, keepdim=True) - x).clamp_(max=256).to(torch.int32)
    table = shiftmax_table(x0, n).to(x.device).double()
    e = table.index_select(0, index.flatten()).view(index.shape)
    total = e.sum(-1, keepdim=True).clamp_(max=INT32_MAX)
    factor = torch.floor(2.0**31 / total).mul_(2.0 ** (frac_bits - 31))
    return e.mul_(factor).floor_().clamp_(max=2**frac_bits - 1).mul_(2.0**-frac_bits)


def shift_gelu(x: Tensor, scale: Tensor, act: Callable[[Tensor], Tensor], *, x0: int, n: int) -> Tensor:
    """ShiftGELU of 8-bit x (real values) over rows of the last axis; gradient of the activation function `act`."""
    y: Tensor = _ShiftGelu.apply(x, scale, act, x0, n)  # type: ignore[no-untyped-call]
    return y


def layer_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    x_scale: Tensor,
    constants: tuple[Tensor, Tensor, Tensor],
    scale: Tensor,
    levels: int,
    log_scale: Tensor | None = None,
) -> Tensor:
    """IntLayerNorm of 16-bit x (real values) with the constants multiplier, offset and shift that `weight` and `bias`
    lower to; gradients of normalisation, and as in `quantize`."""
    y: Tensor = _LayerNorm.apply(  # type: ignore[no-untyped-call]
        x, weight, bias, x_scale, constants, scale, levels, log_scale
    )
    return y


def _scale_gradient(grad: Tensor, slope: Tensor, scale: Tensor, levels: int) -> Tensor:
    """LSQ's gradient of the logarithm of a scale; `slope` is d(output / scale) / d(log scale)."""
    total: Tensor = torch.dot(grad.flatten(), slope.flatten()) * (scale / (grad.numel() * levels) ** 0.5)
    return total


def _inside(grad: Tensor, steps: Tensor, low: int, high: int) -> Tensor:
    """`grad` where `steps` round to an integer in [low, high], else 0, in one pass."""
    masked: Tensor = torch.ops.aten.hardtanh_backward(grad, steps, low - 0.5, high + 0.5)
    return masked


class _Quantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, low: int, high: int, log_scale: Tensor | None) -> Tensor:
        steps = x / scale
        ctx.bounds = low, high
        # A network may change its scale in place before it runs backwards.
        ctx.save_for_backward(steps, scale.clone())
        return steps.round().clamp_(low, high).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,) = grads
        steps, scale = ctx.saved_tensors
        low, high = ctx.bounds
        grad_log = None
        if ctx.needs_input_grad[4]:
            slope = steps.round().clamp_(low, high).sub_(_inside(steps, steps, low, high))
            grad_log = _scale_gradient(grad, slope, scale, (high - low) // 2)
        return (_inside(grad, steps, low, high) if ctx.needs_input_grad[0] else None), None, None, None, grad_log


class _QuantizeTokens(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, low: Tensor, high: Tensor, log_scale: Tensor | None) -> Tensor:
        steps = x / scale
        ctx.save_for_backward(steps, scale, low, high)
        return steps.round().clamp_(low, high).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,) = grads
        steps, scale, low, high = ctx.saved_tensors
        inside = (steps > low - 0.5) & (steps < high + 0.5)
        grad_log = None
        if ctx.needs_input_grad[4]:
            slope = steps.round().clamp_(low, high).sub_(steps * inside).mul_(scale)
            grad_log = _scale_gradient(grad, slope, scale.new_ones(()), _TOKEN_LEVELS)
        return (grad * inside if ctx.needs_input_grad[0] else None), None, None, None, grad_log


class _Softmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, score: Tensor, scale: Tensor, visible: Tensor | None, probabilities: Callable[[Tensor], Tensor]
    ) -> Tensor:
        steps = (score / scale).round_()
        if visible is not None:
            steps = torch.where(visible, steps, float(MASKED))
        p = probabilities(steps).to(score.dtype)
        ctx.save_for_backward(p)
        return p

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,), (p,) = grads, ctx.saved_tensors
        weighted = grad * p
        return weighted.sub_(p * weighted.sum(-1, keepdim=True)), None, None, None


class _ShiftGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, act: Callable[[Tensor], Tensor], x0: int, n: int) -> Tensor:
        column = (x / scale).round_().add_(_BIAS).clamp_(0, 255).to(torch.int32)
        index = column + 256 * column.amax(-1, keepdim=True)
        values = torch.arange(256, device=x.device) - _BIAS
        table = shift_gelu_table(x0, n).to(x.device, x.dtype) * (scale * 2.0**-7)
        with torch.inference_mode(False), torch.enable_grad():
            real = (values * scale).requires_grad_()
            (slopes,) = torch.autograd.grad(act(real).sum(), real)
        ctx.save_for_backward(column, slopes)
        return table.index_select(0, index.flatten()).view(x.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,), (column, slopes) = grads, ctx.saved_tensors
        return slopes.index_select(0, column.flatten()).view(grad.shape).mul_(grad), None, None, None, None


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        x_scale: Tensor,
        constants: tuple[Tensor, Tensor, Tensor],
        scale: Tensor,
        levels: int,
        log_scale: Tensor | None,
    ) -> Tensor:
        integers = (x / x_scale).round_()
        mean = integers.sum(-1, keepdim=True, dtype=torch.float64).div_(x.shape[-1]).round_()
        y = integers.double().sub_(mean)
        variance = (y * y).sum(-1, keepdim=True)
        root = integer_root(variance.long())
        z = y.mul_(torch.div(2**31, root, rounding_mode="floor")).mul_(0.5).floor_()
        multiplier, offset, shift = (constant.double() for constant in constants)
        unit = torch.exp2(-shift)
        steps = z.mul_(multiplier * unit).add_(offset * unit)
        ctx.levels = levels
        real_variance = variance.to(x.dtype) * (x_scale * x_scale / x.shape[-1])
        ctx.save_for_backward(
            *(x, weight, bias, mean.to(x.dtype) * x_scale, (real_variance + 1e-12).rsqrt()),
            # The offset has the half that rounds.
            *((steps - 0.5).to(x.dtype), scale.clone()),
        )
        return steps.floor_().clamp_(-levels - 1, levels).to(x.dtype).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,) = grads
        x, weight, bias, mean, inverse, steps, scale = ctx.saved_tensors
        low, high = -ctx.levels - 1, ctx.levels
        grad_log = None
        if ctx.needs_input_grad[7]:
            slope = steps.round().clamp_(low, high).sub_(_inside(steps, steps, low, high))
            grad_log = _scale_gradient(grad, slope, scale, high)
        grad_x, grad_weight, grad_bias = torch.ops.aten.native_layer_norm_backward(
            _inside(grad, steps, low, high),
            x,
            [x.shape[-1]],
            mean,
            inverse,
            weight,
            bias,
            list(ctx.needs_input_grad[:3]),
        )
        return grad_x, grad_weight, grad_bias, None, None, None, None, grad_log
