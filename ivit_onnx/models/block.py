"""Blocks on the int16 residual stream, from which twins are built."""

from __future__ import annotations

from torch import nn

from ivit_onnx.quant.modules import AttentionCore, LayerNorm, Linear, LinearAdd, MlpAdd
from ivit_onnx.quant.sites import Sites, attention_sites, mlp_sites
from ivit_onnx.quant.tensors import QuantTensor

__all__ = ["Block", "PreNormBlock", "SelfAttention"]


class SelfAttention(nn.Module):
    """qkv, attention, output projection with residual."""

    #: Whether zeros stand around the grid of tokens.
    padded = False

    def __init__(self, width: int, core: AttentionCore) -> None:
        super().__init__()
        self.qkv = Linear(width, 3 * width).named("Queries, keys and values.")
        self.core = core
        self.proj = LinearAdd(width, width).named("Output projection of attention.")

    def forward(self, x: QuantTensor, residual: QuantTensor) -> QuantTensor:
        y: QuantTensor = self.proj(self.core(self.qkv(x)), residual)
        return y

    def sites_after(self, norm: LayerNorm) -> Sites:
        """Those of the attention on what `norm` makes."""
        return attention_sites(norm, self.qkv, self.core, self.proj, padded=self.padded)


class Block(nn.Module):
    """Base of the blocks: the residual stream in, the residual stream out."""

    def forward(self, x: QuantTensor) -> QuantTensor:
        raise NotImplementedError

    def sites(self) -> Sites:
        """The sites of the block, in the order in which they run."""
        raise NotImplementedError


class PreNormBlock(Block):
    """Attention and a feed-forward network, each on normalised tokens and added to the stream."""

    def __init__(self, width: int, eps: float, attn: SelfAttention, mlp: MlpAdd) -> None:
        super().__init__()
        self.norm1 = LayerNorm(width, eps).named("Normalisation before attention.")
        self.attn = attn
        self.norm2 = LayerNorm(width, eps).named("Normalisation before the feed-forward half.")
        self.mlp = mlp

    def forward(self, x: QuantTensor) -> QuantTensor:
        x = self.attn(self.norm1(x), x)
        y: QuantTensor = self.mlp(self.norm2(x), x)
        return y

    def sites(self) -> Sites:
        return Sites.of([self.attn.sites_after(self.norm1), mlp_sites(self.norm2, self.mlp)])
