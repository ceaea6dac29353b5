"""How the proof against overflow is shown to people."""

from __future__ import annotations

from ivit_onnx.cli._output import print_lines, print_table
from ivit_onnx.verification import Proof

__all__ = ["print_proof", "proof_lines"]

#: Findings, and nodes with little headroom, shown to people; JSON has all of them.
SHOWN = 10


def print_proof(proof: Proof) -> None:
    """The proof by itself: the verdict, and the nodes that leave the least headroom."""
    print_lines(proof_lines(proof), style="green" if proof.passed else "red")
    for dtype in ("int32", "int64"):
        nodes = [node for node in proof.report.headrooms if node.dtype == dtype]
        nodes.sort(key=lambda node: (node.bits, -node.magnitude))
        print_table(
            f"the largest {dtype} intermediates: what they can reach, and the bits that are left",
            ["node", "operator", "intermediate", "at most", "bits left"],
            [[node.node, node.operator, node.value, str(node.magnitude), str(node.bits)] for node in nodes[:SHOWN]],
            right=(3, 4),
        )
    if not proof.certified:
        print_lines(["note: the model has no certificate of a proof"])


def proof_lines(proof: Proof) -> list[str]:
    """The verdict."""
    report = proof.report
    if not report.proven:
        count = len(report.findings)
        return [f"NOT proven to be free of overflow: {count} findings", *map(str, report.findings[:SHOWN])]
    lines = [f"no overflow: {report.checks} ranges of {report.values} values are proven"]
    return lines if proof.mismatch is None else [*lines, f"WRONG certificate: {proof.mismatch}"]
