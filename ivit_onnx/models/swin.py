"""The integer twin of a timm SwinTransformer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ivit_onnx.architectures import Preprocess, SwinArchitecture
from ivit_onnx.architectures.swin import Stage
from ivit_onnx.models.block import PreNormBlock, SelfAttention
from ivit_onnx.models.twin import Twin
from ivit_onnx.quant.modules import ActivationQuantizer, Classifier, LayerNorm, MlpAdd, TokenMean
from ivit_onnx.quant.swin import PatchEmbedNorm, PatchMerge, WindowAttention
from ivit_onnx.quant.tensors import QuantTensor

__all__ = ["SwinTransformer"]

#: That of every normalisation.
_EPSILON = 1e-5


class WindowSelfAttention(SelfAttention):
    """qkv, attention in windows shifted by `shift` tokens, output projection with residual."""

    def __init__(self, stage: Stage, shift: int, softmax_bits: int) -> None:
        size = stage.heads, stage.width // stage.heads
        super().__init__(stage.width, WindowAttention(*size, stage.grid, stage.window, shift, softmax_bits))
        self.padded = stage.padded

    def padding(self, scale: Tensor) -> QuantTensor:
        """Queries, keys and values of the zeros around the grid, [3 * width]: the bias; not needed without padding.

        `scale` is that of the tokens. The result depends on none of them: it is a constant of the graph.
        """
        packed, width = self.qkv.weight.shape
        if self.padded:
            qkv: QuantTensor = self.qkv(QuantTensor(self.qkv.weight.new_zeros(1, 1, width), scale))
            return QuantTensor(qkv.value[0, 0], qkv.scale)
        return QuantTensor(self.qkv.weight.new_zeros(packed), self.qkv.output.scale)

    def forward(self, x: QuantTensor, residual: QuantTensor) -> QuantTensor:
        y: QuantTensor = self.proj(self.core(self.qkv(x), self.padding(x.scale)), residual)
        return y


class SwinStage(nn.Module):
    """Patch merging, but for the first stage, and blocks that take turns in shifting their windows."""

    def __init__(self, stage: Stage, previous: Stage | None, mlp_ratio: int, softmax_bits: int) -> None:
        super().__init__()
        self.downsample = None if previous is None else PatchMerge(previous.width, previous.grid)
        self.blocks = nn.ModuleList(
            PreNormBlock(
                stage.width,
                _EPSILON,
                WindowSelfAttention(stage, stage.shift if index % 2 else 0, softmax_bits),
                MlpAdd(stage.width, mlp_ratio * stage.width),
            )
            for index in range(stage.depth)
        )

    def steps(self) -> list[nn.Module]:
        """The modules that the residual stream passes."""
        return [*([] if self.downsample is None else [self.downsample]), *self.blocks]


class SwinTransformer(Twin):
    """Swin twin.

    Parameter names follow timm, except that a relative position table is part of `attn.core` and `head.fc` is `head`.
    """

    arch: SwinArchitecture

    def __init__(self, arch: SwinArchitecture, preprocess: Preprocess, softmax_bits: int = 15) -> None:
        super().__init__(arch, preprocess, softmax_bits)
        self.patch_embed = PatchEmbedNorm(arch.in_channels, arch.patch_size, arch.width)
        before = (None, *arch.stages)
        self._stages = tuple(
            SwinStage(stage, previous, arch.mlp_ratio, softmax_bits)
            for stage, previous in zip(arch.stages, before, strict=False)
        )
        self.layers = nn.ModuleList(self._stages)
        # Features that no head reads leave the graph with 16 bits.
        bits = 8 if arch.classes else 16
        self.norm = LayerNorm(arch.features, _EPSILON, bits=bits).named("Final normalisation.")
        self.pool = TokenMean(bits)
        if arch.classes:
            self.pool.named(self.pool.role, "features")
        self.head = Classifier(arch.features, arch.classes) if arch.classes else None
        self.name_modules()

    def load_weights(self, state_dict: Mapping[str, Tensor]) -> None:
        for name, parameter in self.named_parameters():
            source = _timm_name(name)
            # Biases of queries, keys and values may be absent.
            parameter.copy_(state_dict.get(source, torch.zeros_like(parameter)))

    def timm_weights(self) -> dict[str, Tensor]:
        return {_timm_name(name): p.detach() for name, p in self.named_parameters() if not name.endswith("log_scale")}

    def stream(self) -> list[nn.Module]:
        return [self.patch_embed, *(step for stage in self._stages for step in stage.steps())]

    def features(self, image: Tensor) -> QuantTensor:
        """Normalised features of the last stage, averaged over tokens, [N, channels]."""
        features: QuantTensor = self.pool(self.norm(self.tokens(image)))
        return features

    @property
    def feature_activation(self) -> ActivationQuantizer:
        return self.pool.output


def _timm_name(name: str) -> str:
    return name.replace(".core.relative_position", ".relative_position").replace("head.", "head.fc.")
