"""What a proof says: findings, and how much headroom each node leaves."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import onnx

__all__ = ["Finding", "NodeHeadroom", "ProofReport"]


@dataclass(frozen=True)
class Finding:
    """Something that is not proven: `node` is the node of the main graph, `value` where inside it, `message` what was
    found and what is allowed."""

    node: str
    value: str
    message: str

    def __str__(self) -> str:
        return f"{self.node}: {self.value}: {self.message}"

    @classmethod
    def of(cls, node: onnx.NodeProto, message: str) -> Finding:
        """About a node, wherever it stands."""
        place = node.output[0] if node.output else node.op_type
        return cls(node.name or place, place, f"{node.op_type}: {message}")


@dataclass(frozen=True)
class NodeHeadroom:
    """The tightest intermediate of a node of the main graph, for one type: `value` can reach `magnitude`, and `bits`
    more bits are free. `output` is the node's first output, which names it whatever the node is called."""

    node: str
    output: str
    operator: str
    dtype: str
    value: str
    magnitude: int
    bits: int


@dataclass(frozen=True)
class ProofReport:
    """The result of `prove`: `proven` when there are no findings. `checks` counts the ranges that were compared with
    the limits of a type, of shifts and of divisors; `headrooms` has the tightest of each type for each node."""

    findings: tuple[Finding, ...]
    checks: int
    values: int
    headrooms: tuple[NodeHeadroom, ...]

    @property
    def proven(self) -> bool:
        return not self.findings

    def tightest(self, dtype: str) -> NodeHeadroom | None:
        """The node with the least headroom in intermediates of this type."""
        nodes = [node for node in self.headrooms if node.dtype == dtype]
        return min(nodes, key=lambda node: (node.bits, -node.magnitude), default=None)

    def spare_bits(self) -> dict[str, int]:
        """The bits that the tightest intermediate of each type leaves free."""
        tightest = {dtype: self.tightest(dtype) for dtype in ("int32", "int64")}
        return {dtype: node.bits for dtype, node in tightest.items() if node is not None}

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return {
            "proven": self.proven,
            "findings": [asdict(finding) for finding in self.findings],
            "values": self.values,
            "checks": self.checks,
            "nodes": [asdict(node) for node in self.headrooms],
        }
