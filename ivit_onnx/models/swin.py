"""The integer twin of a timm SwinTransformer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ivit_onnx.architectures import Preprocess, SwinArchitecture
from ivit_onnx.architectures.swin import Stage
from ivit_onnx.models.twin import Twin
from ivit_onnx.quant.modules import Activation, Classifier, LayerNorm, Linear, LinearAdd, MlpAdd, TokenMean
from ivit_onnx.quant.swin import PatchEmbedNorm, PatchMerge, WindowAttention
from ivit_onnx.quant.tensors import QuantTensor

__all__ = ["SwinBlock", "SwinStage", "SwinTransformer", "WindowSelfAttention"]


class WindowSelfAttention(nn.Module):
    """qkv, attention in windows, output projection with residual."""

    def __init__(self, stage: Stage, shift: int, softmax_bits: int) -> None:
        super().__init__()
        self.padded = stage.padded
        self.qkv = Linear(stage.width, 3 * stage.width).named("Queries, keys and values.")
        self.core = WindowAttention(
            stage.heads, stage.width // stage.heads, stage.grid, stage.window, shift, softmax_bits
        )
        self.proj = LinearAdd(stage.width, stage.width).named("Output projection of attention.")

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


class SwinBlock(nn.Module):
    """One pre-norm block on the int16 residual stream, with windows shifted by `shift` tokens."""

    def __init__(self, stage: Stage, shift: int, mlp_ratio: int, softmax_bits: int) -> None:
        super().__init__()
        self.norm1 = LayerNorm(stage.width, eps=1e-5).named("Normalisation before attention.")
        self.attn = WindowSelfAttention(stage, shift, softmax_bits)
        self.norm2 = LayerNorm(stage.width, eps=1e-5).named("Normalisation before the feed-forward half.")
        self.mlp = MlpAdd(stage.width, mlp_ratio * stage.width)

    def forward(self, x: QuantTensor) -> QuantTensor:
        x = self.attn(self.norm1(x), x)
        y: QuantTensor = self.mlp(self.norm2(x), x)
        return y


class SwinStage(nn.Module):
    """Patch merging, but for the first stage, and blocks that take turns in shifting their windows."""

    def __init__(self, stage: Stage, previous: Stage | None, mlp_ratio: int, softmax_bits: int) -> None:
        super().__init__()
        self.downsample = None if previous is None else PatchMerge(previous.width, previous.grid)
        self.blocks = nn.ModuleList(
            SwinBlock(stage, stage.shift if index % 2 else 0, mlp_ratio, softmax_bits) for index in range(stage.depth)
        )

    def forward(self, x: QuantTensor) -> QuantTensor:
        if self.downsample is not None:
            x = self.downsample(x)
        for block in self.blocks:
            x = block(x)
        return x

    def block_list(self) -> list[SwinBlock]:
        """The blocks in order, as what they are."""
        return [block for block in self.blocks if isinstance(block, SwinBlock)]


class SwinTransformer(Twin):
    """Swin twin.

    Parameter names follow timm, except that a relative position table is part of `attn.core` and `head.fc` is `head`.
    """

    arch: SwinArchitecture

    def __init__(self, arch: SwinArchitecture, preprocess: Preprocess, softmax_bits: int = 15) -> None:
        super().__init__(arch, preprocess, softmax_bits)
        self.patch_embed = PatchEmbedNorm(arch.in_channels, arch.patch_size, arch.width)
        before = (None, *arch.stages)
        self.layers = nn.ModuleList(
            SwinStage(stage, previous, arch.mlp_ratio, softmax_bits)
            for stage, previous in zip(arch.stages, before, strict=False)
        )
        # Features that no head reads leave the graph with 16 bits.
        bits = 8 if arch.classes else 16
        self.norm = LayerNorm(arch.features, eps=1e-5, bits=bits).named("Final normalisation.")
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

    def features(self, image: Tensor) -> QuantTensor:
        """Normalised features of the last stage, averaged over tokens, [N, channels]."""
        x = self.patch_embed(self.image(QuantTensor(image, torch.ones(()))))
        for stage in self.layers:
            x = stage(x)
        features: QuantTensor = self.pool(self.norm(x))
        return features

    @property
    def feature_activation(self) -> Activation:
        return self.pool.output

    def stage_list(self) -> list[SwinStage]:
        """The stages in order, as what they are."""
        return [stage for stage in self.layers if isinstance(stage, SwinStage)]


def _timm_name(name: str) -> str:
    return name.replace(".core.relative_position", ".relative_position").replace("head.", "head.fc.")
