"""Where a twin has linear layers and attention, and what feeds them; the same for every family."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ivit_onnx.models import Twin
from ivit_onnx.models.swin import SwinBlock
from ivit_onnx.models.vit import Block
from ivit_onnx.quant.modules import Activation, Attention, LayerNorm, MlpAdd
from ivit_onnx.quant.swin import PatchMerge, WindowAttention

__all__ = ["AttentionSite", "LinearSite", "MlpSite", "attention_sites", "blocks", "linear_sites", "mlp_sites"]


@dataclass(frozen=True)
class LinearSite:
    """One matrix product: parameters `weight` [out, in] and `bias` [out], the names of the activations around it.

    `source` is its input, `target` its output, "" for the head, whose logits are not quantised. `norm` is the
    normalisation that makes the input, if one does; `norm_name` its name in the network. `padded`: zeros stand beside
    its inputs, around a grid. `constant`: the name of the integer weights [in, out] in an exported model, where these
    are not those of a node of the layer's own.
    """

    name: str
    weight: Tensor
    bias: Tensor | None
    source: str
    target: str
    norm: LayerNorm | None = None
    norm_name: str = ""
    padded: bool = False
    constant: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "constant", self.constant or f"{self.name}.weight")

    def bias_parameter(self) -> Tensor:
        """The bias of a layer that has one."""
        assert self.bias is not None
        return self.bias


@dataclass(frozen=True)
class AttentionSite:
    """One attention: the layers that make queries, keys and values [3 * C, in] and that read the context [out, C].

    `core` is what lies between them.
    """

    name: str
    core: Attention | WindowAttention
    heads: int
    qkv: LinearSite
    proj: LinearSite

    @property
    def core_name(self) -> str:
        return f"{self.name}.core"


@dataclass(frozen=True)
class MlpSite:
    """One feed-forward network: the layers before and after its activation function."""

    name: str
    module: MlpAdd
    fc1: LinearSite
    fc2: LinearSite


def blocks(model: Twin) -> dict[str, Block | SwinBlock]:
    """The transformer blocks by name, in network order."""
    return {name: module for name, module in model.named_modules() if isinstance(module, Block | SwinBlock)}


def linear_sites(model: Twin) -> list[LinearSite]:
    """The matrix products of blocks, patch mergings and the head, in network order.

    The patch embedding, whose inputs are pixels, and a head of two tokens are not among them.
    """
    sites: list[LinearSite] = []
    for name, module in model.named_modules():
        if isinstance(module, PatchMerge):
            norm, weight = f"{name}.norm", module.reduction.weight
            inside = (f"{norm}.output", f"{name}.output", module.norm, norm)
            sites.append(LinearSite(f"{name}.reduction", weight, None, *inside))
        elif isinstance(module, Block | SwinBlock):
            sites += _block(name, module)
    head = model.head
    if head is not None and head.dist_weight is None:
        source = _name(model, model.feature_activation)
        sites.append(LinearSite("head", head.weight, head.bias, source, "", _norm(model), "norm"))
    return sites


def attention_sites(model: Twin) -> list[AttentionSite]:
    """Every attention, in network order."""
    linear = {site.name: site for site in linear_sites(model)}
    return [
        AttentionSite(
            f"{name}.attn",
            block.attn.core,
            block.attn.core.heads,
            linear[f"{name}.attn.qkv"],
            linear[f"{name}.attn.proj"],
        )
        for name, block in blocks(model).items()
    ]


def mlp_sites(model: Twin) -> list[MlpSite]:
    """Every feed-forward network, in network order."""
    linear = {site.name: site for site in linear_sites(model)}
    return [
        MlpSite(f"{name}.mlp", block.mlp, linear[f"{name}.mlp.fc1"], linear[f"{name}.mlp.fc2"])
        for name, block in blocks(model).items()
    ]


def _block(name: str, block: Block | SwinBlock) -> list[LinearSite]:
    attn, mlp, norm1, norm2 = f"{name}.attn", f"{name}.mlp", f"{name}.norm1", f"{name}.norm2"
    qkv, proj, fc1, fc2 = block.attn.qkv, block.attn.proj, block.mlp.fc1, block.mlp.fc2
    padded = isinstance(block, SwinBlock) and block.attn.padded
    inside = (f"{norm1}.output", f"{attn}.qkv.output", block.norm1, norm1, padded)
    return [
        LinearSite(f"{attn}.qkv", qkv.weight, qkv.bias, *inside),
        LinearSite(f"{attn}.proj", proj.weight, proj.bias, f"{attn}.core.output", f"{attn}.proj.branch"),
        LinearSite(
            f"{mlp}.fc1",
            fc1.weight,
            fc1.bias,
            f"{norm2}.output",
            f"{mlp}.hidden",
            block.norm2,
            norm2,
            constant=f"{mlp}.fc1_weight",
        ),
        LinearSite(
            f"{mlp}.fc2", fc2.weight, fc2.bias, f"{mlp}.activated", f"{mlp}.branch", constant=f"{mlp}.fc2_weight"
        ),
    ]


def _norm(model: Twin) -> LayerNorm:
    norm = model.get_submodule("norm")
    assert isinstance(norm, LayerNorm)
    return norm


def _name(model: Twin, activation: Activation) -> str:
    return next(name for name, module in model.activations().items() if module is activation)
