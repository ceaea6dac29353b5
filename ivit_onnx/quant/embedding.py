"""From images to tokens."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ivit_onnx.opset import arithmetic
from ivit_onnx.opset.arithmetic import Array
from ivit_onnx.opset.int_patch_embed import patches
from ivit_onnx.quant import fake_quant
from ivit_onnx.quant.activation_quantizer import ActivationQuantizer
from ivit_onnx.quant.arithmetic import saturate, scale_round
from ivit_onnx.quant.dyadic import dyadic, dyadic_affine
from ivit_onnx.quant.operators import Implementations
from ivit_onnx.quant.quant_module import QuantModule, WeightedModule
from ivit_onnx.quant.tensors import Lowered, QuantTensor

__all__ = ["EMBED_ROLE", "IMPLEMENTATIONS", "ImageInput", "PatchEmbed"]

#: What every patch embedding does in a network.
EMBED_ROLE = "Image to tokens: the start of the int16 residual stream."


def quantize_image(image: Tensor, multiplier: Tensor, offset: Tensor, shift: Tensor) -> Tensor:
    m, b, e = (v.long()[:, None, None] for v in (multiplier, offset, shift))
    return saturate((image.long() * m + b) >> e, 8)


def patch_embed(
    linear: Callable[..., Tensor],
    image: Tensor,
    weight: Tensor,
    bias: Tensor,
    multiplier: Tensor,
    shift: Tensor,
    token_multiplier: Tensor,
    token_shift: Tensor,
    position: Tensor,
    prefix_tokens: Tensor,
    *,
    patch_size: int,
) -> Tensor:
    projected = linear(patches(image, patch_size), weight, bias, multiplier, shift)
    tokens = saturate(scale_round(projected, token_multiplier, token_shift) + position.long(), 16)
    return torch.cat([prefix_tokens.long().expand(len(image), *prefix_tokens.shape), tokens], dim=1)


class ImageInput(QuantModule):
    """QuantizeImage: pixels to the normalised, quantised input. `mean` and `std` per colour, of pixels in 0..1."""

    role = "Boundary of the integer network:"
    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.output = ActivationQuantizer(8)
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
        scale = self.output.number(self.path)
        if image.dtype == torch.int8:
            return QuantTensor(image.long(), torch.tensor(scale))
        constants: dict[str, Array] = {"scale": np.array(scale), "zero_point": np.zeros((), np.int8)}

        def quantize(image: Tensor) -> Tensor:
            return torch.round(image / torch.tensor(scale, device=image.device)).clamp(-128, 127).long()

        value = self.run(Lowered("QuantizeLinear", constants, scale), [image], quantize)
        return QuantTensor(value, torch.tensor(scale))

    def _normalize(self, image: Tensor) -> Tensor:
        if image.dtype != torch.uint8:
            return image
        mean, std = (v[:, None, None] for v in (self.mean, self.std))
        return ((image / 255.0 - mean) / std).float()


class PatchEmbed(WeightedModule):
    """IntPatchEmbed. Parameters weight [D, C, P, P], bias [D], prefix_tokens [K, D], pos_embed [K + patches, D].

    Without `prefix_positions`, the position table has no rows for the prefix tokens: [patches, D].
    """

    role = EMBED_ROLE

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
        self.projection = ActivationQuantizer(16)
        self.position = ActivationQuantizer(16)
        self.output = ActivationQuantizer(16)

    def lower(self, *scales: np.float32) -> Lowered:
        s_proj, s_pos, s_y = (a.number(self.path) for a in (self.projection, self.position, self.output))
        token = self._dyadic(np.float64(s_proj) / np.float64(s_y), "token_")
        position_dyadic = dyadic(np.float64(s_pos) / np.float64(s_y), f"{self.path} (position)")
        position_int = self.position_integers()
        prefix_int = np.rint(self.prefix_tokens.detach().float().cpu().numpy() / s_proj).astype(np.int64)
        position = arithmetic.scale_round(position_int, *position_dyadic)
        prefix = arithmetic.scale_round(prefix_int, *token.values())
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
            prefix = fake_quant.round_to(prefix, self.projection.scale)
        tokens = torch.cat([prefix.expand(len(image), *prefix.shape), self.projection(patches)], dim=1)
        position = F.pad(self.position(self.pos_embed), (0, 0, tokens.shape[1] - len(self.pos_embed), 0))
        return QuantTensor(self.output.add(tokens, position), self.output.scale)


IMPLEMENTATIONS: Implementations = {"QuantizeImage": quantize_image, "IntPatchEmbed": patch_embed}
