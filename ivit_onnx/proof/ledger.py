"""What an analysis has found so far: findings, how much headroom there is, and how much was checked."""

from __future__ import annotations

import onnx

from ivit_onnx.proof.report import Finding, NodeHeadroom
from ivit_onnx.proof.value import limits

__all__ = ["Ledger", "Path"]

#: The first output of a node of the main graph, which names that node in a graph as names of nodes do not, and the way
#: from there to a value: functions, then the value.
Path = tuple[str, ...]


class Ledger:
    """The record of one analysis."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.headrooms: dict[tuple[str, str], NodeHeadroom] = {}
        self.checks = 0
        self._nodes: dict[str, onnx.NodeProto] = {}
        self._failed: set[Path] = set()

    def enter(self, node: onnx.NodeProto) -> None:
        """What follows is about a node of the main graph."""
        self._nodes[node.output[0]] = node

    def found(self, path: Path, message: str) -> None:
        """Records a finding, once for each place."""
        if path not in self._failed:
            self._failed.add(path)
            self.findings.append(Finding(self._label(path[0]), _place(path), message))

    def violated(self, output: str, message: str) -> None:
        """Records that a node of the main graph breaks the contract of its operator."""
        self.checks += 1
        self.findings.append(Finding(self._label(output), self._label(output), message))

    def check(self, path: Path, kind: str, low: int, high: int, dtype: str) -> bool:
        """Whether low..high is inside the type; records how much headroom there is."""
        self.checks += 1
        least, most = limits(dtype)
        if low < least or high > most:
            self.found(path, f"{kind}: expected {dtype} {least}..{most}, found {low}..{high}")
            return False
        if dtype in ("int32", "int64"):
            magnitude = max(abs(low), abs(high))
            bits = (31 if dtype == "int32" else 63) - magnitude.bit_length()
            old = self.headrooms.get((path[0], dtype))
            if old is None or (bits, -magnitude) < (old.bits, -old.magnitude):
                operator = self._nodes[path[0]].op_type
                self.headrooms[path[0], dtype] = NodeHeadroom(
                    self._label(path[0]), path[0], operator, dtype, _place(path), magnitude, max(bits, 0)
                )
        return True

    def _label(self, output: str) -> str:
        """What a reader calls the node."""
        node = self._nodes.get(output)
        return output if node is None else node.name or output


def _place(path: Path) -> str:
    return "/".join(path[1:]) or path[0]
