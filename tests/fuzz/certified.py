"""Certified models, made once in a folder: exports of every kind, each operator, small graphs of standard operators."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from cases import random_case
from fuzz.model_mutations import pick
from ivit_onnx.opset import OPERATORS
from ivit_onnx.proof import METADATA_KEY, certificate, prove, read_certificate
from proofs import model_of, operator_model


def prepare(folder: Path) -> None:
    """The exports, which take longest; the others are made when they are drawn."""
    for name in _EXPORTS:
        _model(name, folder)


def base(rng: np.random.Generator, folder: Path) -> onnx.ModelProto:
    """One of the models, exports as often as operators and as the rest."""
    names = pick([list(_EXPORTS), list(OPERATORS), _PLAIN], rng)
    return _model(pick(names, rng), folder)


def _model(name: str, folder: Path) -> onnx.ModelProto:
    path = _path(folder, name)
    if name in _EXPORTS and not path.exists():
        _export(name, folder)
    elif not path.exists():
        onnx.save(_MODELS[name](np.random.default_rng(len(name))), path)
    return onnx.load(path)


def _path(folder: Path, name: str) -> Path:
    return folder / f"certified_{name}.onnx"


def _export(name: str, folder: Path) -> None:
    """As `ivit-export` writes it."""
    import torch

    from ivit_onnx.api import export
    from networks import images, save_checkpoint, timm_network, timm_swin

    torch.set_num_threads(1)
    if name == "swin":
        network: Any = timm_swin(embed_dim=8, depths=(2, 1), window_size=2, img_size=16, num_classes=5)
    else:
        network = timm_network(embed_dim=12, depth=1, img_size=16)
    checkpoint = save_checkpoint(network, folder / f"certified_{name}.pth")
    calibration = [image[:, :16, :16] for image in images(4)]
    export(checkpoint, _path(folder, name), calib=calibration, img_size=16, **_EXPORTS[name])


def _certified(model: onnx.ModelProto) -> onnx.ModelProto:
    report = prove(model)
    assert report.proven, report.findings
    model.metadata_props.add(key=METADATA_KEY, value=json.dumps(certificate(model, report)))
    return model


def _plain(rng: np.random.Generator) -> onnx.ModelProto:
    """A linear layer with its requantisation, and the largest of what it gives."""
    nodes = [
        helper.make_node("MatMulInteger", ["x", "weight"], ["products"], name="products"),
        helper.make_node("Add", ["products", "bias"], ["sums"], name="sums"),
        helper.make_node("Cast", ["sums"], ["wide"], name="wide", to=onnx.TensorProto.INT64),
        helper.make_node("Mul", ["wide", "multiplier"], ["scaled"], name="scaled"),
        helper.make_node("Div", ["scaled", "divisor"], ["divided"], name="divided"),
        helper.make_node("Min", ["divided", "most"], ["capped"], name="capped"),
        helper.make_node("Max", ["capped", "least"], ["clipped"], name="clipped"),
        helper.make_node("Cast", ["clipped"], ["narrow"], name="narrow", to=onnx.TensorProto.INT8),
        helper.make_node("Transpose", ["narrow"], ["turned"], name="turned", perm=[1, 0]),
        helper.make_node("ReduceMax", ["turned", "axes"], ["y"], name="y", keepdims=0),
    ]
    inner, columns = int(rng.integers(1, 9)), int(rng.integers(1, 9))
    constants = {
        "weight": rng.integers(-128, 128, (inner, columns)).astype(np.int8),
        "bias": rng.integers(-(2**20), 2**20, columns).astype(np.int32),
        "multiplier": rng.integers(-(2**31), 2**31, columns),
        "divisor": np.asarray(2 ** int(rng.integers(0, 50))),
        "most": np.asarray(127),
        "least": np.asarray(-128),
        "axes": np.asarray([int(pick([0, 1], rng))]),
    }
    return _certified(model_of(nodes, {"x": ("int8", ["batch", inner])}, constants, ("y", "int8")))


def _operator(name: str, rng: np.random.Generator) -> onnx.ModelProto:
    return _certified(operator_model(random_case(name, rng)))


def hash_of(model: onnx.ModelProto) -> str:
    """The hash in the model's certificate."""
    found = read_certificate(model)
    assert found is not None
    return str(found["graph"]).removeprefix("sha256:")


_EXPORTS: dict[str, dict[str, Any]] = {
    "vit": {"num_heads": 3, "nonlinear": "ivit"},
    "swin": {"nonlinear": "ivit"},
    "flat": {"num_heads": 3, "flat": True, "nonlinear": "ivit"},
    "table": {"num_heads": 3, "nonlinear": "table"},
    "float32": {"num_heads": 3, "input": "float32"},
}
_PLAIN = ("plain", "plain second", "plain another")
_MODELS: dict[str, Callable[[np.random.Generator], onnx.ModelProto]] = {
    **{name: partial(_operator, name) for name in OPERATORS},
    **dict.fromkeys(_PLAIN, _plain),
}
