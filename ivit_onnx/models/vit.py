"""The integer twin of a timm VisionTransformer (ViT and DeiT, distilled included)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ivit_onnx.architectures import Preprocess, VitArchitecture
from ivit_onnx.models.twin import Twin
from ivit_onnx.quant.modules import (
    Activation,
    Attention,
    Classifier,
    LayerNorm,
    Linear,
    LinearAdd,
    MlpAdd,
    PatchEmbed,
)
from ivit_onnx.quant.tensors import QuantTensor

__all__ = ["Block", "SelfAttention", "VisionTransformer"]


class SelfAttention(nn.Module):
    """qkv, attention, output projection with residual."""

    def __init__(self, arch: VitArchitecture, softmax_bits: int) -> None:
        super().__init__()
        self.qkv = Linear(arch.width, 3 * arch.width)
        self.core = Attention(arch.heads, arch.head_dim, arch.tokens, softmax_bits)
        self.proj = LinearAdd(arch.width, arch.width)

    def forward(self, x: QuantTensor, residual: QuantTensor) -> QuantTensor:
        y: QuantTensor = self.proj(self.core(self.qkv(x)), residual)
        return y


class Block(nn.Module):
    """One pre-norm transformer block on the int16 residual stream."""

    def __init__(self, arch: VitArchitecture, softmax_bits: int) -> None:
        super().__init__()
        self.norm1 = LayerNorm(arch.width)
        self.attn = SelfAttention(arch, softmax_bits)
        self.norm2 = LayerNorm(arch.width)
        self.mlp = MlpAdd(arch.width, arch.mlp_width)

    def forward(self, x: QuantTensor) -> QuantTensor:
        x = self.attn(self.norm1(x), x)
        y: QuantTensor = self.mlp(self.norm2(x), x)
        return y


class VisionTransformer(Twin):
    """ViT/DeiT twin.

    Parameter names follow timm, except that the class and distillation tokens are `patch_embed.prefix_tokens`, the
    position table is `patch_embed.pos_embed`, and a distillation head is `head.dist_weight` and `head.dist_bias`.
    """

    arch: VitArchitecture

    def __init__(self, arch: VitArchitecture, preprocess: Preprocess, softmax_bits: int = 15) -> None:
        super().__init__(arch, preprocess, softmax_bits)
        self.patch_embed = PatchEmbed(arch.in_channels, arch.patch_size, arch.width, arch.prefix_tokens, arch.patches)
        self.blocks = nn.ModuleList(Block(arch, softmax_bits) for _ in range(arch.depth))
        self.norm = LayerNorm(arch.width)
        self.head = Classifier(arch.width, arch.classes, distilled=arch.distilled)
        self.name_modules()

    def load_weights(self, state_dict: Mapping[str, Tensor]) -> None:
        own = {name for name, _ in self.named_parameters()}
        renamed = {"patch_embed.prefix_tokens": _prefix_tokens(state_dict)}
        for name, tensor in state_dict.items():
            target = _RENAMED.get(name, name)
            if target in own:
                renamed[target] = tensor[0] if name == "pos_embed" else tensor
        for index in range(self.arch.depth):
            renamed.setdefault(f"blocks.{index}.attn.qkv.bias", torch.zeros(3 * self.arch.width))
        for name, parameter in self.named_parameters():
            parameter.copy_(renamed[name])

    def features(self, image: Tensor) -> QuantTensor:
        """Normalised features of the prefix tokens, [N, prefix * width]."""
        x = self.patch_embed(self.image(QuantTensor(image, torch.ones(()))))
        for block in self.blocks:
            x = block(x)
        features = self.norm(QuantTensor(x.value[:, : self.arch.prefix_tokens], x.scale))
        return QuantTensor(features.value.flatten(1), features.scale)

    @property
    def feature_activation(self) -> Activation:
        return self.norm.output

    def block_list(self) -> list[Block]:
        """The transformer blocks in order, as what they are."""
        return [block for block in self.blocks if isinstance(block, Block)]


_RENAMED = {
    "patch_embed.proj.weight": "patch_embed.weight",
    "patch_embed.proj.bias": "patch_embed.bias",
    "pos_embed": "patch_embed.pos_embed",
    "head_dist.weight": "head.dist_weight",
    "head_dist.bias": "head.dist_bias",
}


def _prefix_tokens(state_dict: Mapping[str, Tensor]) -> Tensor:
    """Class token and, when there is one, distillation token: [K, width]."""
    return torch.cat([state_dict[name][0] for name in ("cls_token", "dist_token") if name in state_dict])
