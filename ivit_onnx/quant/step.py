"""Modules that are one operator of the exported graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
from torch import Tensor, nn

from ivit_onnx.quant.symbolic import SymbolicTensor, symbolic
from ivit_onnx.quant.tensors import Lowered, QuantTensor

__all__ = ["Flatten", "Step", "TakeTokens"]


class Step(nn.Module):
    """A module that is one operator of the exported graph: `lower` says which, with which constants."""

    #: Name in the network, for messages; set by the network.
    path = ""
    #: What it does in a network, for the documentation of its node.
    role = ""
    #: Name of its node; that in the network if empty.
    node = ""

    def named(self, role: str, node: str = "") -> Self:
        """The module itself, with another role and name of its node."""
        self.role, self.node = role, node
        return self

    def lower(self, *scales: np.float32) -> Lowered:
        """The operator call that this module stands for, given the scales of its inputs.

        Raises ExportError where it cannot be expressed in integers.
        """
        raise NotImplementedError

    def run(self, lowered: Lowered, values: Sequence[Tensor], compute: Callable[..., Tensor]) -> Tensor:
        """What `compute` makes of the values; while a graph is traced, the result of the node of `lowered`."""
        traced = symbolic(values)
        if traced is None:
            return compute(*values)
        empty = [value.empty if isinstance(value, SymbolicTensor) else value.to(traced.device) for value in values]
        return traced.record(self.node or self.path, self.role, lowered, values, compute(*empty))


class TakeTokens(Step):
    """Tokens first .. end - 1 of [N, tokens, C], as they are in every mode: Slice of standard ONNX."""

    def __init__(self, first: int, end: int) -> None:
        super().__init__()
        self.first, self.end = first, end

    def lower(self, *scales: np.float32) -> Lowered:
        bounds = {"from": self.first, "to": self.end, "axis": 1}
        return Lowered("Slice", {name: np.array([value], np.int64) for name, value in bounds.items()}, scales[0])

    def forward(self, x: QuantTensor) -> QuantTensor:
        def take(value: Tensor) -> Tensor:
            return value[:, self.first : self.end]

        return QuantTensor(self.run(self.lower(np.float32(x.scale.item())), [x.value], take), x.scale)


class Flatten(Step):
    """[N, tokens, C] as [N, tokens * C], in every mode: Flatten of standard ONNX."""

    def lower(self, *scales: np.float32) -> Lowered:
        return Lowered("Flatten", {}, scales[0], {"axis": 1})

    def forward(self, x: QuantTensor) -> QuantTensor:
        def flatten(value: Tensor) -> Tensor:
            return value.flatten(1)

        return QuantTensor(self.run(self.lower(np.float32(x.scale.item())), [x.value], flatten), x.scale)
