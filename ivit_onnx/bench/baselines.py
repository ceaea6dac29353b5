"""Who takes part in a comparison: one table of the baselines, with the packages that each of them needs."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ivit_onnx.errors import IvitError

__all__ = ["CUDA_HINT", "HINT", "BASELINES", "Baseline", "choose_baselines", "missing_packages"]

HINT = 'pip install "ivit-onnx[bench]"'
CUDA_HINT = 'pip install "ivit-onnx[gpu,export]"'

#: What makes the floating-point model that the baselines start from.
FLOAT = ("torch", "timm", "onnx", "onnxscript")


@dataclass(frozen=True)
class Baseline:
    """Another way to run the same architecture.

    `runner` names the function of `runners` that times it, on GPUs of `cuda.runners`, `product` the file of `products`
    that it loads, `packages` what preparing and running import, `config` settings of the runtime beyond threads, `hint`
    how to install the packages.
    """

    name: str
    title: str
    runner: str
    product: str
    packages: tuple[str, ...]
    config: Mapping[str, str] = field(default_factory=dict)
    hint: str = HINT


CPU_BASELINES = (
    Baseline("ort-fp32", "ONNX Runtime fp32", "onnxruntime", "float", ("onnxruntime", *FLOAT)),
    Baseline("ort-static-int8", "ONNX Runtime static QDQ int8", "onnxruntime", "static-int8", ("onnxruntime", *FLOAT)),
    Baseline("ort-dynamic-int8", "ONNX Runtime dynamic int8", "onnxruntime", "dynamic-int8", ("onnxruntime", *FLOAT)),
    Baseline(
        "openvino-fp32",
        "OpenVINO fp32",
        "openvino",
        "float",
        ("openvino", *FLOAT),
        {"INFERENCE_PRECISION_HINT": "f32"},
    ),
    Baseline(
        "openvino-bf16",
        "OpenVINO bf16",
        "openvino",
        "float",
        ("openvino", *FLOAT),
        {"INFERENCE_PRECISION_HINT": "bf16"},
    ),
    Baseline("openvino-int8", "OpenVINO int8 (NNCF)", "openvino", "openvino-int8", ("openvino", "nncf", *FLOAT)),
    Baseline("torch-fp32", "PyTorch fp32", "torch", "weights", ("torch", "timm")),
)


CUDA_BASELINES = (
    Baseline("ort-fp32", "ONNX Runtime fp32", "onnxruntime", "float", ("onnxruntime", *FLOAT), hint=CUDA_HINT),
    Baseline("ort-fp16", "ONNX Runtime fp16", "onnxruntime", "half", ("onnxruntime", *FLOAT), hint=CUDA_HINT),
    Baseline(
        "torch-compile-fp16",
        "torch.compile fp16",
        "torch",
        "weights",
        ("torch", "timm", "triton"),
        {"type": "float16", "mode": "max-autotune"},
        CUDA_HINT,
    ),
    Baseline(
        "torch-compile-bf16",
        "torch.compile bf16",
        "torch",
        "weights",
        ("torch", "timm", "triton"),
        {"type": "bfloat16", "mode": "max-autotune"},
        CUDA_HINT,
    ),
    Baseline("torch-bf16", "PyTorch bf16", "torch", "weights", ("torch", "timm"), {"type": "bfloat16"}, CUDA_HINT),
)

#: The baselines on each device.
BASELINES = {"cpu": CPU_BASELINES, "cuda": CUDA_BASELINES}


def choose_baselines(names: Sequence[str], device: str = "cpu") -> list[Baseline]:
    """The baselines of these names on a device, all of them for none. Raises IvitError for an unknown name."""
    known = {baseline.name: baseline for baseline in BASELINES[device]}
    for name in names:
        if name not in known:
            raise IvitError(f"unknown baseline {name!r}; known are {', '.join(known)}")
    return [baseline for baseline in BASELINES[device] if not names or baseline.name in names]


def missing_packages(packages: Sequence[str]) -> list[str]:
    """Those of the packages that cannot be imported."""
    return [package for package in packages if not _installed(package)]


def _installed(package: str) -> bool:
    if package in sys.modules:
        return sys.modules[package] is not None
    return importlib.util.find_spec(package) is not None
