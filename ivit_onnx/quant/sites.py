"""Where a network has linear layers, attention and feed-forward networks, and what feeds them.

A module that knows says so itself, by `sites`; whoever changes weights or ranges needs to know of no family.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from torch import Tensor

from ivit_onnx.quant.attention import AttentionCore
from ivit_onnx.quant.linear import Linear, LinearAdd
from ivit_onnx.quant.mlp import MlpAdd
from ivit_onnx.quant.norm import LayerNorm
from ivit_onnx.quant.quant_module import WeightedModule

__all__ = ["AttentionSite", "HasSites", "LinearSite", "MlpSite", "Sites", "attention_sites", "mlp_sites"]


@dataclass(frozen=True)
class LinearSite:
    """One matrix product of `layer`: parameters `weight` [out, in], `bias` [out], names of the activations around it.

    `source` is its input, `target` its output, "" for the head, whose logits are not quantised. `norm` is the
    normalisation that makes the input for this layer alone, if one does. `padded`: zeros stand beside its inputs,
    around a grid. `weight_constant`: the name of the integer weights [in, out] in an exported model, where these are
    not those of a node of the layer's own.
    """

    name: str
    layer: WeightedModule
    weight: Tensor
    bias: Tensor | None
    source: str
    target: str
    norm: LayerNorm | None = None
    padded: bool = False
    weight_constant: str = ""

    @property
    def constant(self) -> str:
        """The name of the integer weights in an exported model."""
        return self.weight_constant or f"{self.name}.weight"

    @property
    def norm_name(self) -> str:
        """The name of the normalisation in the network, "" without one."""
        return "" if self.norm is None else self.norm.path

    def bias_parameter(self) -> Tensor:
        """The bias of a layer that has one."""
        assert self.bias is not None
        return self.bias


@dataclass(frozen=True)
class AttentionSite:
    """One attention: the layers that make queries, keys and values [3 * C, in] and that read the context [out, C].

    `core` is what lies between them.
    """

    core: AttentionCore
    qkv: LinearSite
    proj: LinearSite


@dataclass(frozen=True)
class MlpSite:
    """One feed-forward network: the layers before and after its activation function."""

    module: MlpAdd
    fc1: LinearSite
    fc2: LinearSite

    @property
    def name(self) -> str:
        return self.module.path


@dataclass(frozen=True)
class Sites:
    """All sites of a part of a network, in network order."""

    linear: tuple[LinearSite, ...] = ()
    attention: tuple[AttentionSite, ...] = ()
    mlp: tuple[MlpSite, ...] = ()

    @classmethod
    def of(cls, parts: Iterable[Sites]) -> Sites:
        """Those of several parts. A normalisation that several layers read is that of none of them alone."""
        found = list(parts)
        readers = Counter(site.source for part in found for site in part.linear)

        def own(site: LinearSite) -> LinearSite:
            return site if readers[site.source] == 1 else replace(site, norm=None)

        return cls(
            tuple(own(site) for part in found for site in part.linear),
            tuple(replace(site, qkv=own(site.qkv)) for part in found for site in part.attention),
            tuple(replace(site, fc1=own(site.fc1)) for part in found for site in part.mlp),
        )


@runtime_checkable
class HasSites(Protocol):
    """A module with linear layers that calibration may change."""

    def sites(self) -> Sites:
        """Its sites, in the order in which they run."""


def attention_sites(
    norm: LayerNorm, qkv: Linear, core: AttentionCore, proj: LinearAdd, *, padded: bool = False
) -> Sites:
    """Those of an attention on what `norm` makes. `padded`: as in LinearSite."""
    first = LinearSite(qkv.path, qkv, qkv.weight, qkv.bias, f"{norm.path}.output", f"{qkv.path}.output", norm, padded)
    last = LinearSite(proj.path, proj, proj.weight, proj.bias, f"{core.path}.output", f"{proj.path}.branch")
    return Sites((first, last), (AttentionSite(core, first, last),))


def mlp_sites(norm: LayerNorm, mlp: MlpAdd) -> Sites:
    """Those of a feed-forward network on what `norm` makes."""
    name, source = mlp.path, f"{norm.path}.output"
    first, last = (f"{name}.{layer}_weight" for layer in ("fc1", "fc2"))
    fc1 = LinearSite(
        f"{name}.fc1", mlp, mlp.fc1.weight, mlp.fc1.bias, source, f"{name}.hidden", norm, weight_constant=first
    )
    fc2 = LinearSite(
        f"{name}.fc2", mlp, mlp.fc2.weight, mlp.fc2.bias, f"{name}.activated", f"{name}.branch", weight_constant=last
    )
    return Sites((fc1, fc2), (), (MlpSite(mlp, fc1, fc2),))
