"""The integer twin of timm's VisionTransformer: ViT, DeiT and their relatives."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ivit_onnx.architectures import Preprocess, VitArchitecture
from ivit_onnx.models.block import PreNormBlock, SelfAttention
from ivit_onnx.models.twin import Twin
from ivit_onnx.quant.modules import (
    ActivationQuantizer,
    Attention,
    Classifier,
    Flatten,
    LayerNorm,
    MlpAdd,
    PatchEmbed,
    TakeTokens,
    TokenMean,
)
from ivit_onnx.quant.tensors import QuantTensor

__all__ = ["VisionTransformer"]


class VisionTransformer(Twin):
    """Twin of timm's VisionTransformer and VisionTransformerDistilled.

    Parameter names follow timm, except that class, distillation and register tokens are `patch_embed.prefix_tokens`,
    the position table is `patch_embed.pos_embed`, a normalisation after pooling is `norm`, and a distillation head is
    `head.dist_weight` and `head.dist_bias`. LayerScale is part of the linear layer before it.
    """

    arch: VitArchitecture

    def __init__(self, arch: VitArchitecture, preprocess: Preprocess, softmax_bits: int = 15) -> None:
        super().__init__(arch, preprocess, softmax_bits)
        # Features that no head reads leave the graph with 16 bits.
        bits = 8 if arch.classes else 16
        self.patch_embed = PatchEmbed(
            arch.in_channels,
            arch.patch_size,
            arch.width,
            arch.prefix_tokens,
            arch.patches,
            prefix_positions=not arch.no_embed_class,
        )
        self.norm_pre = None
        if arch.pre_norm:
            self.norm_pre = LayerNorm(arch.width, arch.eps, bits=16).named("Normalisation before the first block.")
        self.blocks = nn.ModuleList(_block(arch, softmax_bits) for _ in range(arch.depth))
        self.patches = self.flatten = None
        if arch.pool == "avg":
            if arch.prefix_tokens:
                doc = "Keeps the patches, leaves out the tokens in front of them."
                self.patches = TakeTokens(arch.prefix_tokens, arch.tokens).named(doc)
            self.pool: TokenMean | TakeTokens = TokenMean(16 if arch.fc_norm else bits)
        else:
            what = "class and distillation tokens" if arch.distilled else "class token"
            self.pool = TakeTokens(0, arch.head_tokens).named(f"Keeps the {what}, which the head reads.")
            self.flatten = Flatten().named("Features.", "features" if arch.classes else "features.int16")
        self.norm = LayerNorm(arch.width, arch.eps, bits).named("Final normalisation.")
        self.head = Classifier(arch.width, arch.classes, distilled=arch.distilled) if arch.classes else None
        self.name_modules()

    def load_weights(self, state_dict: Mapping[str, Tensor]) -> None:
        tokens = [state_dict[name][0] for name in ("cls_token", "dist_token", "reg_token") if name in state_dict]
        own = {"patch_embed.prefix_tokens": torch.cat([*tokens, torch.zeros(0, self.arch.width)])}
        for name, tensor in state_dict.items():
            own[_RENAMED.get(name, name)] = tensor[0] if name == "pos_embed" else tensor
        for scale, linear in _SCALED.items() if self.arch.layer_scale else ():
            for block in (f"blocks.{index}." for index in range(self.arch.depth)):
                gamma = own[f"{block}{scale}"]
                own[f"{block}{linear}.weight"] = own[f"{block}{linear}.weight"] * gamma[:, None]
                own[f"{block}{linear}.bias"] = own[f"{block}{linear}.bias"] * gamma
        for name, parameter in self.named_parameters():
            # Only biases may be absent, and an absent one is zero.
            parameter.copy_(own.get(name, torch.zeros(())))

    def timm_weights(self) -> dict[str, Tensor]:
        """LayerScale is part of the linear layers, and 1."""
        arch = self.arch
        own = {name: p.detach() for name, p in self.named_parameters() if not name.endswith("log_scale")}
        tokens = own.pop("patch_embed.prefix_tokens")
        counts = {"cls_token": int(arch.class_token), "dist_token": int(arch.distilled), "reg_token": arch.reg_tokens}
        parts = zip(counts, torch.split(tokens, [*counts.values()]), strict=True)
        weights = {name: part[None] for name, part in parts if counts[name]}
        names = {ours: timm for timm, ours in _RENAMED.items() if arch.fc_norm or not timm.startswith("fc_norm.")}
        for name, tensor in own.items():
            weights[names.get(name, name)] = tensor[None] if name == "patch_embed.pos_embed" else tensor
        for scale in _SCALED if arch.layer_scale else ():
            weights |= {f"blocks.{index}.{scale}": torch.ones(arch.width) for index in range(arch.depth)}
        return weights

    def stream(self) -> list[nn.Module]:
        before = [] if self.norm_pre is None else [self.norm_pre]
        return [self.patch_embed, *before, *self.blocks]

    def features(self, image: Tensor) -> QuantTensor:
        """What the head reads: the normalised class and distillation tokens, or the mean of the patches."""
        x = self.tokens(image)
        if self.patches is not None:
            x = self.patches(x)
        x = self.pool(self.norm(x)) if self._pool_last else self.norm(self.pool(x))
        y: QuantTensor = x if self.flatten is None else self.flatten(x)
        return y

    @property
    def feature_activation(self) -> ActivationQuantizer:
        return self.pool.output if isinstance(self.pool, TokenMean) and self._pool_last else self.norm.output

    @property
    def _pool_last(self) -> bool:
        return self.arch.pool == "avg" and not self.arch.fc_norm


def _block(arch: VitArchitecture, softmax_bits: int) -> PreNormBlock:
    core = Attention(arch.heads, arch.head_dim, arch.tokens, softmax_bits)
    mlp = MlpAdd(arch.width, arch.mlp_width, arch.act)
    return PreNormBlock(arch.width, arch.eps, SelfAttention(arch.width, core), mlp)


_RENAMED = {
    "patch_embed.proj.weight": "patch_embed.weight",
    "patch_embed.proj.bias": "patch_embed.bias",
    "pos_embed": "patch_embed.pos_embed",
    "fc_norm.weight": "norm.weight",
    "fc_norm.bias": "norm.bias",
    "head_dist.weight": "head.dist_weight",
    "head_dist.bias": "head.dist_bias",
}

#: The linear layer whose outputs each vector of LayerScale multiplies.
_SCALED = {"ls1.gamma": "attn.proj", "ls2.gamma": "mlp.fc2"}
