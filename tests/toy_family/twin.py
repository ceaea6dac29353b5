"""The twin of the toy family, and the floating-point network that it is the twin of."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from ivit_onnx.architectures.toy import ToyArchitecture
from torch import Tensor, nn

from ivit_onnx.architectures import Preprocess
from ivit_onnx.models.block import Block, SelfAttention
from ivit_onnx.models.twin import Twin
from ivit_onnx.quant.modules import ActivationQuantizer, Attention, Classifier, LayerNorm, MlpAdd, PatchEmbed, TokenMean
from ivit_onnx.quant.sites import Sites, mlp_sites
from ivit_onnx.quant.tensors import QuantTensor

__all__ = ["FloatToy", "ToyTransformer"]

_RENAMED = {"patch_embed.weight": "patch_embed.proj.weight", "patch_embed.bias": "patch_embed.proj.bias"}


class ToyBlock(Block):
    """Attention and feed-forward network read the same normalised tokens."""

    def __init__(self, arch: ToyArchitecture, softmax_bits: int) -> None:
        super().__init__()
        self.norm = LayerNorm(arch.width).named("The only normalisation of the block.")
        self.attn = SelfAttention(arch.width, Attention(arch.heads, 16, arch.tokens, softmax_bits))
        self.mlp = MlpAdd(arch.width, arch.mlp_width)

    def forward(self, x: QuantTensor) -> QuantTensor:
        normalised = self.norm(x)
        y: QuantTensor = self.mlp(normalised, self.attn(normalised, x))
        return y

    def sites(self) -> Sites:
        return Sites.of([self.attn.sites_after(self.norm), mlp_sites(self.norm, self.mlp)])


class ToyTransformer(Twin):
    """Parameter names are those of the checkpoint, but for the patch embedding."""

    def __init__(self, arch: ToyArchitecture, preprocess: Preprocess, softmax_bits: int = 15) -> None:
        super().__init__(arch, preprocess, softmax_bits)
        self.patch_embed = PatchEmbed(arch.in_channels, arch.patch_size, arch.width, 0, arch.tokens)
        self.blocks = nn.ModuleList(ToyBlock(arch, softmax_bits) for _ in range(arch.depth))
        self.norm = LayerNorm(arch.width).named("Final normalisation.")
        self.pool = TokenMean()
        self.head = Classifier(arch.width, arch.classes)
        self.name_modules()

    def load_weights(self, state_dict: Mapping[str, Tensor]) -> None:
        own = {"patch_embed.prefix_tokens": torch.zeros(0), "patch_embed.pos_embed": state_dict["pos_embed"][0]}
        for name, parameter in self.named_parameters():
            source = own[name] if name in own else state_dict[_RENAMED.get(name, name)]
            parameter.copy_(source.view_as(parameter))

    def timm_weights(self) -> dict[str, Tensor]:
        own = {name: p.detach() for name, p in self.named_parameters() if not name.endswith("log_scale")}
        del own["patch_embed.prefix_tokens"]
        position = own.pop("patch_embed.pos_embed")
        return {"pos_embed": position[None], **{_RENAMED.get(name, name): tensor for name, tensor in own.items()}}

    def stream(self) -> list[nn.Module]:
        return [self.patch_embed, *self.blocks]

    def features(self, image: Tensor) -> QuantTensor:
        features: QuantTensor = self.pool(self.norm(self.tokens(image)))
        return features

    @property
    def feature_activation(self) -> ActivationQuantizer:
        return self.pool.output


class FloatToy(nn.Module):
    """The network in plain PyTorch."""

    def __init__(self, arch: ToyArchitecture) -> None:
        super().__init__()
        width = arch.width
        self.heads = arch.heads
        self.pos_embed = nn.Parameter(torch.randn(1, arch.tokens, width) * 0.2)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, arch.patch_size, arch.patch_size)})
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm": nn.LayerNorm(width, 1e-6),
                    "attn": nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)}),
                    "mlp": nn.ModuleDict(
                        {"fc1": nn.Linear(width, arch.mlp_width), "fc2": nn.Linear(arch.mlp_width, width)}
                    ),
                }
            )
            for _ in range(arch.depth)
        )
        self.norm, self.head = nn.LayerNorm(width, 1e-6), nn.Linear(width, arch.classes)

    def forward(self, image: Tensor) -> Tensor:
        x = self.patch_embed["proj"](image).flatten(2).transpose(1, 2) + self.pos_embed
        batch, tokens, width = x.shape
        for block in self.blocks:
            normalised = block["norm"](x)
            qkv = block["attn"]["qkv"](normalised).reshape(batch, tokens, 3, self.heads, 16).permute(2, 0, 3, 1, 4)
            context = F.scaled_dot_product_attention(*qkv).transpose(1, 2).reshape(batch, tokens, width)
            hidden = F.gelu(block["mlp"]["fc1"](normalised))
            x = x + block["attn"]["proj"](context) + block["mlp"]["fc2"](hidden)
        logits: Tensor = self.head(self.norm(x).mean(1))
        return logits
