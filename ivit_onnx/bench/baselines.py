"""Who takes part in a comparison: one table of the baselines, with the packages that each of them needs."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ivit_onnx.errors import IvitError

__all__ = ["BASELINES", "CUDA_HINT", "HINT", "Baseline", "baseline_names", "choose_baselines", "what_is_missing"]

HINT = 'pip install "ivit-onnx[bench]"'
CUDA_HINT = 'pip install "ivit-onnx[gpu,export]"'

#: What makes the floating-point model that the baselines start from.
FLOAT = ("torch", "timm", "onnx", "onnxscript")


@dataclass(frozen=True)
class Baseline:
    """Another way to run the same architecture.

    `about` says what it is, for the documentation. `runner` names the function of `runners` that times it, on GPUs of
    `cuda.runners`, `product` the file of `products` that it loads, with `{batch}` where that is for one batch size,
    `packages` what preparing and running import, `config` settings of the runtime beyond threads, `environment` those
    that it takes from there, `hint` how to install the packages.
    """

    name: str
    title: str
    about: str
    runner: str
    product: str
    packages: tuple[str, ...]
    config: Mapping[str, str] = field(default_factory=dict)
    hint: str = HINT
    environment: Mapping[str, str] = field(default_factory=dict)


CPU_BASELINES = (
    Baseline(
        "ort-fp32",
        "ONNX Runtime fp32",
        "the network exported by PyTorch, opset 20, with all optimisations of ONNX Runtime",
        "onnxruntime",
        "float",
        ("onnxruntime", *FLOAT),
    ),
    Baseline(
        "ort-static-int8",
        "ONNX Runtime static QDQ int8",
        "that model after `quantize_static`: QDQ, per channel, uint8 activations, int8 weights",
        "onnxruntime",
        "static-int8",
        ("onnxruntime", *FLOAT),
    ),
    Baseline(
        "ort-dynamic-int8",
        "ONNX Runtime dynamic int8",
        "that model after `quantize_dynamic` of matrix products: per channel, int8 weights",
        "onnxruntime",
        "dynamic-int8",
        ("onnxruntime", *FLOAT),
    ),
    Baseline(
        "openvino-fp32",
        "OpenVINO fp32",
        "the same ONNX model in OpenVINO, inference precision f32",
        "openvino",
        "float",
        ("openvino", *FLOAT),
        {"INFERENCE_PRECISION_HINT": "f32"},
    ),
    Baseline(
        "openvino-bf16",
        "OpenVINO bf16",
        "the same, inference precision bf16",
        "openvino",
        "float",
        ("openvino", *FLOAT),
        {"INFERENCE_PRECISION_HINT": "bf16"},
    ),
    Baseline(
        "openvino-int8",
        "OpenVINO int8 (NNCF)",
        "that model after `nncf.quantize` for transformers; OpenVINO's default precision for the rest",
        "openvino",
        "openvino-int8",
        ("openvino", "nncf", *FLOAT),
    ),
    Baseline(
        "openvino-int8-dynamic",
        "OpenVINO int8 weights, dynamic",
        "that model after `nncf.compress_weights` to int8, activations to int8 at run time in groups of 64 values; "
        "OpenVINO's default precision for the rest",
        "openvino",
        "openvino-int8-weights",
        ("openvino", "nncf", *FLOAT),
        {"DYNAMIC_QUANTIZATION_GROUP_SIZE": "64"},
    ),
    Baseline(
        "litert-dynamic-int8",
        "LiteRT dynamic int8",
        "the network converted by litert-torch for each batch size, int8 by ai-edge-quantizer's recipe "
        "`dynamic_wi8_afp32`, in LiteRT's interpreter on XNNPACK",
        "litert",
        "litert-int8-batch{batch}",
        ("ai_edge_litert", "litert_torch", "ai_edge_quantizer", "torch", "timm"),
        hint="pip install litert-torch",
    ),
    Baseline(
        "torch-fp32",
        "PyTorch fp32",
        "timm's network in PyTorch, `inference_mode`, not compiled",
        "torch",
        "weights",
        ("torch", "timm"),
    ),
    Baseline(
        "torch-pt2e-int8",
        "PyTorch PT2E int8",
        "timm's network after export quantisation with `X86InductorQuantizer`, by `torch.compile` with frozen weights; "
        "needs a C++ compiler",
        "pt2e",
        "weights",
        ("torch", "timm", "torchao"),
        hint="pip install torchao",
    ),
    Baseline(
        "zentorch-bf16",
        "zentorch bf16",
        "timm's network in bfloat16 by `torch.compile` with the backend of AMD's zentorch, for processors of AMD, "
        "with frozen weights; matrix products by its algorithm 2 (`ZENDNNL_MATMUL_ALGO`): its default takes more than "
        "twice the time",
        "torch",
        "weights",
        ("torch", "timm", "zentorch"),
        {"type": "bfloat16", "backend": "zentorch"},
        "pip install zentorch",
        {"TORCHINDUCTOR_FREEZING": "1", "ZENDNNL_MATMUL_ALGO": "2"},
    ),
)


CUDA_BASELINES = (
    Baseline(
        "ort-fp32",
        "ONNX Runtime fp32",
        "the network exported by PyTorch, opset 20, without TF32",
        "onnxruntime",
        "float",
        ("onnxruntime", *FLOAT),
        hint=CUDA_HINT,
    ),
    Baseline(
        "ort-fp16",
        "ONNX Runtime fp16",
        "the same network exported in half precision",
        "onnxruntime",
        "half",
        ("onnxruntime", *FLOAT),
        hint=CUDA_HINT,
    ),
    Baseline(
        "torch-compile-fp16",
        "torch.compile fp16",
        "timm's network in float16, mode `max-autotune`, which uses CUDA graphs",
        "torch",
        "weights",
        ("torch", "timm", "triton"),
        {"type": "float16", "mode": "max-autotune"},
        CUDA_HINT,
    ),
    Baseline(
        "torch-compile-bf16",
        "torch.compile bf16",
        "the same in bfloat16",
        "torch",
        "weights",
        ("torch", "timm", "triton"),
        {"type": "bfloat16", "mode": "max-autotune"},
        CUDA_HINT,
    ),
    Baseline(
        "torch-bf16",
        "PyTorch bf16",
        "the same, not compiled",
        "torch",
        "weights",
        ("torch", "timm"),
        {"type": "bfloat16"},
        CUDA_HINT,
    ),
)

#: The baselines on each device.
BASELINES = {"cpu": CPU_BASELINES, "cuda": CUDA_BASELINES}


def baseline_names(device: str) -> str:
    """The names of the baselines on a device, for people."""
    return ", ".join(baseline.name for baseline in BASELINES[device])


def choose_baselines(names: Sequence[str], device: str = "cpu") -> list[Baseline]:
    """The baselines of these names on a device, all of them for none. Raises IvitError for an unknown name."""
    known = {baseline.name: baseline for baseline in BASELINES[device]}
    for name in names:
        if name not in known:
            raise IvitError(f"unknown baseline {name!r}; known are {baseline_names(device)}")
    return [baseline for baseline in BASELINES[device] if not names or baseline.name in names]


def what_is_missing(baseline: Baseline) -> str | None:
    """Which packages the baseline lacks, and how to install them; None when all can be imported."""
    missing = [package for package in baseline.packages if not _installed(package)]
    return f"needs {' and '.join(missing)}: {baseline.hint}" if missing else None


def _installed(package: str) -> bool:
    if package in sys.modules:
        return sys.modules[package] is not None
    return importlib.util.find_spec(package) is not None
