"""Quantised modules of Swin: attention in windows, patch merging, patch embedding with normalisation.

They follow ivit_onnx.quant.modules. The reference I-ViT code clamps the results of two linear layers to 8 bits that
are 16 bits wide here: those before the normalisation of the patch embedding, and those of patch merging.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ivit_onnx.architectures.size import Size
from ivit_onnx.opset.arithmetic import Array, saturate, scale_round
from ivit_onnx.quant import fake_quant
from ivit_onnx.quant.deferred import DeferredSoftmax
from ivit_onnx.quant.dyadic import dyadic
from ivit_onnx.quant.embedding import EMBED_ROLE
from ivit_onnx.quant.exponents import least_softmax_scale
from ivit_onnx.quant.modules import ActivationQuantizer, AttentionCore, LayerNorm, WeightedModule
from ivit_onnx.quant.sites import LinearSite, Sites
from ivit_onnx.quant.tensors import Lowered, QuantTensor
from ivit_onnx.quant.windows import cut_windows, join_windows, merge_squares, pair_bias, windows

__all__ = ["PatchEmbedNorm", "PatchMerge", "WindowAttention"]

#: What timm and the original code add to the scores that a shifted window masks, in real units.
_MASK = -100.0


class WindowAttention(AttentionCore):
    """IntWindowAttention, or with a table IntTableWindowAttention or IntDeferredWindowAttention: packed qkv
    [N, L, 3 * heads * head_dim] and the qkv of a padding token to merged heads.

    Parameter relative_position_bias_table [(2 * window - 1)^2, heads].
    """

    role = "Attention inside windows."

    def __init__(self, heads: int, head_dim: int, grid: Size, window: int, shift: int, softmax_bits: int) -> None:
        super().__init__(heads, head_dim, window**2, softmax_bits)
        self.grid, self.window, self.shift = grid, window, shift
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.score = ActivationQuantizer(8, channels=False)
        self.table = ActivationQuantizer(8, channels=False, rows=False)
        self.placed = ActivationQuantizer(8, least_softmax_scale(window**2), channels=False)
        self.output = ActivationQuantizer(8)

    def scaled_scores(self) -> list[ActivationQuantizer]:
        return [self.score, self.placed]

    def lower(self, *scales: np.float32) -> Lowered:
        s_x = scales[0]
        grid = {"height": self.grid.height, "width": self.grid.width, "window": self.window, "shift": self.shift}
        if self.deferred:
            softmax = self.deferred_softmax(s_x)
            table = self.relative_position_bias_table.detach().float().cpu().numpy()
            own = {"relative_position": softmax.biases(table)}
            return self.lower_deferred("IntWindowAttention", softmax, s_x, own, {"heads": self.heads, **grid})
        s_score, s_biased = self.score.number(self.path), self.placed.number(self.path)
        s_table, s_y = self.table.number(self.path), self.output.number(self.path)
        ratio = dyadic(np.float64(s_table) / np.float64(s_biased), f"{self.path} (relative position)")
        constants = {
            "relative_position": saturate(scale_round(self.table_integers(), *ratio), np.int16),
            **self._dyadic(self.product_scale(s_x) / np.float64(s_score), "score_"),
            **self._dyadic(np.float64(s_score) / np.float64(s_biased), "placed_"),
            **self._dyadic(2.0**-self.softmax_bits * np.float64(s_x) / np.float64(s_y), "context_"),
        }
        by_table = self.softmax()
        attributes = {"heads": self.heads, **grid, **by_table.attributes()}
        return Lowered(by_table.operator("IntWindowAttention"), {**constants, **by_table.constants()}, s_y, attributes)

    def deferred_softmax(self, s_x: np.float32) -> DeferredSoftmax:
        largest = float(self.relative_position_bias_table.detach().abs().max())
        return replace(super().deferred_softmax(s_x), largest_bias=largest)

    def table_integers(self) -> Array:
        """The relative position table at its own scale, int64."""
        table = self.relative_position_bias_table.detach().float().cpu().numpy()
        integers: Array = np.clip(np.rint(np.float32(1) / self.table.number(self.path) * table), -128, 127)
        return integers.astype(np.int64)

    def simulate(self, *inputs: QuantTensor) -> QuantTensor:
        x, padding = inputs
        grid = windows(*self.grid, self.window, self.shift)
        q, k, v = cut_windows(x.value, padding.value, grid, self.heads)
        score = q @ k.transpose(-1, -2) * self.head_dim**-0.5
        visible = grid.visible.to(score.device)
        if self.quantized and self.deferred:
            softmax = self.deferred_softmax(np.float32(x.scale.item()))
            scale, bias_scale = torch.tensor(softmax.product_scale), torch.tensor(softmax.scale)
            table = fake_quant.quantize(self.relative_position_bias_table, bias_scale, -(2**15), 2**15 - 1)
            biased = score + pair_bias(table, self.window)
            probability = fake_quant.softmax(biased, scale, visible, softmax.simulate)
            return QuantTensor(self.output(join_windows(probability @ v, grid)), self.output.scale)
        bias = pair_bias(self.table(self.relative_position_bias_table), self.window)
        biased = self.placed.add(self.score(score), bias)
        if self.quantized:
            probability = fake_quant.softmax(biased, self.placed.scale, visible, self.softmax().simulate)
        else:
            probability = torch.where(visible, biased, biased + _MASK).softmax(-1)
        return QuantTensor(self.output(join_windows(probability @ v, grid)), self.output.scale)


class PatchMerge(WeightedModule):
    """IntPatchMerge: the int16 stream [N, L, C] of one stage to that of the next, [N, L / 4, 2 * C]."""

    role = "Half the grid, twice the channels."

    def __init__(self, channels: int, grid: Size) -> None:
        super().__init__()
        self.grid = grid
        self.norm = LayerNorm(4 * channels, eps=1e-5)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)
        self.output = ActivationQuantizer(16)

    def sites(self) -> Sites:
        """The matrix product, on what the normalisation makes."""
        name, source, target = f"{self.path}.reduction", f"{self.norm.path}.output", f"{self.path}.output"
        constant = f"{self.path}.weight"
        site = LinearSite(name, self, self.reduction.weight, None, source, target, self.norm, weight_constant=constant)
        return Sites((site,))

    def reference_ivit_bytes(self) -> list[ActivationQuantizer]:
        return [self.output]

    def lower(self, *scales: np.float32) -> Lowered:
        scale, norm = self.output.number(self.path), self.norm.lower(scales[0])
        weight = self.reduction.weight
        constants = {
            **{f"norm_{name}": array for name, array in norm.constants.items()},
            **self.lower_linear(weight, torch.zeros(len(weight)), norm.scale, scale),
        }
        attributes = {"height": self.grid.height, "width": self.grid.width, "bits": 8 if self.reference_ivit else 16}
        return Lowered("IntPatchMerge", constants, scale, attributes)

    def simulate(self, *inputs: QuantTensor) -> QuantTensor:
        merged = QuantTensor(merge_squares(inputs[0].value, *self.grid), inputs[0].scale)
        y = self.product(self.norm.simulate(merged).value, self.reduction.weight)
        return QuantTensor(self.output(y), self.output.scale)


class PatchEmbedNorm(WeightedModule):
    """IntPatchEmbedNorm16: image [N, colours, H, W] to normalised tokens [N, patches, width], the int16 stream."""

    role = EMBED_ROLE

    def __init__(self, colours: int, patch_size: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(colours, width, patch_size, patch_size)
        self.projection = ActivationQuantizer(16)
        self.norm = LayerNorm(width, eps=1e-5, bits=16)
        self.output = ActivationQuantizer(16)

    def reference_ivit_bytes(self) -> list[ActivationQuantizer]:
        return [self.projection]

    def lower(self, *scales: np.float32) -> Lowered:
        s_proj, s_y = self.projection.number(self.path), self.output.number(self.path)
        norm = self.norm.lower(s_proj)
        bias = self.proj.bias if self.proj.bias is not None else torch.zeros(len(self.proj.weight))
        constants = {
            **self.lower_linear(self.proj.weight.flatten(1), bias, scales[0], s_proj),
            **{f"norm_{name}": array for name, array in norm.constants.items()},
            **self._dyadic(np.float64(norm.scale) / np.float64(s_y), "token_"),
        }
        attributes = {"patch_size": self.proj.kernel_size[0], "bits": 8 if self.reference_ivit else 16}
        return Lowered("IntPatchEmbedNorm16", constants, s_y, attributes)

    def simulate(self, *inputs: QuantTensor) -> QuantTensor:
        weight = self.simulated_weight(self.proj.weight.flatten(1)).view_as(self.proj.weight)
        projected = F.conv2d(inputs[0].value, weight, self.proj.bias, stride=self.proj.stride)
        patches = QuantTensor(self.projection(projected.flatten(2).transpose(1, 2)), self.projection.scale)
        return QuantTensor(self.output(self.norm.simulate(patches).value), self.output.scale)
