"""Who takes part in a comparison: one table of the peers, with the packages that each of them needs."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ivit_onnx.errors import IvitError

__all__ = ["HINT", "PEERS", "Peer", "choose_peers", "missing_packages"]

HINT = 'pip install "ivit-onnx[bench]"'

#: What makes the floating-point model that the peers start from.
FLOAT = ("torch", "timm", "onnx", "onnxscript")


@dataclass(frozen=True)
class Peer:
    """Another way to run the same architecture.

    `runner` names the function of `runners` that times it, `product` the file of `products` that it loads, `packages`
    what preparing and running import, `config` settings of the runtime beyond threads.
    """

    name: str
    title: str
    runner: str
    product: str
    packages: tuple[str, ...]
    config: Mapping[str, str] = field(default_factory=dict)


PEERS = (
    Peer("ort-fp32", "ONNX Runtime fp32", "onnxruntime", "float", ("onnxruntime", *FLOAT)),
    Peer("ort-static-int8", "ONNX Runtime static QDQ int8", "onnxruntime", "static-int8", ("onnxruntime", *FLOAT)),
    Peer("ort-dynamic-int8", "ONNX Runtime dynamic int8", "onnxruntime", "dynamic-int8", ("onnxruntime", *FLOAT)),
    Peer(
        "openvino-fp32",
        "OpenVINO fp32",
        "openvino",
        "float",
        ("openvino", *FLOAT),
        {"INFERENCE_PRECISION_HINT": "f32"},
    ),
    Peer(
        "openvino-bf16",
        "OpenVINO bf16",
        "openvino",
        "float",
        ("openvino", *FLOAT),
        {"INFERENCE_PRECISION_HINT": "bf16"},
    ),
    Peer("openvino-int8", "OpenVINO int8 (NNCF)", "openvino", "openvino-int8", ("openvino", "nncf", *FLOAT)),
    Peer("torch-fp32", "PyTorch fp32", "torch", "weights", ("torch", "timm")),
)


def choose_peers(names: Sequence[str]) -> list[Peer]:
    """The peers of these names, all of them for none. Raises IvitError for an unknown name."""
    known = {peer.name: peer for peer in PEERS}
    for name in names:
        if name not in known:
            raise IvitError(f"unknown peer {name!r}; known are {', '.join(known)}")
    return [peer for peer in PEERS if not names or peer.name in names]


def missing_packages(packages: Sequence[str]) -> list[str]:
    """Those of the packages that cannot be imported."""
    return [package for package in packages if not _installed(package)]


def _installed(package: str) -> bool:
    if package in sys.modules:
        return sys.modules[package] is not None
    return importlib.util.find_spec(package) is not None
