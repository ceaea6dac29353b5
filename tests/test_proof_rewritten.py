"""Exported models that other programs wrote again: proven and integer-only, or refused with the true reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import inliner, version_converter

import ivit_onnx
from commands import MICRO
from ivit_onnx.float_audit import audit
from ivit_onnx.model_files import load_graph, load_with_weights
from ivit_onnx.proof import prove

LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)
    calibration = ivit_onnx.calibrate(MICRO, pixels, num_heads=2)
    paths = {name: folder / f"{name}.onnx" for name in ("operators", "flat", "float32")}
    ivit_onnx.export(MICRO, paths["operators"], calib=calibration, num_heads=2, nonlinear="ivit")
    ivit_onnx.export(MICRO, paths["flat"], calib=calibration, num_heads=2, flat=True)
    ivit_onnx.export(MICRO, paths["float32"], calib=calibration, num_heads=2, input="float32")
    return paths


def findings(path: Path) -> tuple[str, tuple[str, ...]]:
    """What the proof does not prove, and what the audit finds."""
    proof = " | ".join(str(finding) for finding in prove(load_with_weights(path)).findings)
    return proof, audit(load_graph(path)).findings


def optimize(path: Path, to: Path, level: str, *, kernels: bool) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.optimized_model_filepath = str(to)
    ivit_onnx.create_session(path, session_options=options, kernels=kernels)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", ["operators", "flat", "float32"])
def test_files_that_onnx_runtime_optimised(exported: dict[str, Path], name: str, level: str, tmp_path: Path) -> None:
    """It replaces functions by their nodes and imports all that it knows."""
    optimize(exported[name], tmp_path / "model.onnx", level, kernels=False)
    assert findings(tmp_path / "model.onnx") == ("", ())


@pytest.mark.parametrize("name", ["operators", "flat"])
def test_files_without_function_bodies(exported: dict[str, Path], name: str, tmp_path: Path) -> None:
    """ONNX Runtime writes operators that it has kernels for without their functions: there is nothing to follow."""
    optimize(exported[name], tmp_path / "model.onnx", "ORT_ENABLE_ALL", kernels=True)
    proof, floats = findings(tmp_path / "model.onnx")
    assert "the model has no function of this operator, which is what the analysis follows" in proof
    assert floats == ()


@pytest.mark.parametrize("version", [18, 20, 22, 25])
def test_models_of_other_operator_sets(exported: dict[str, Path], version: int, tmp_path: Path) -> None:
    model = inliner.inline_local_functions(onnx.load(exported["operators"]))
    onnx.save(version_converter.convert_version(model, version), tmp_path / "model.onnx")
    assert findings(tmp_path / "model.onnx") == ("", ())


def test_models_of_an_old_operator_set(exported: dict[str, Path], tmp_path: Path) -> None:
    """Its ReduceMax has axes as an attribute, and one of version 21 in it is no model at all."""
    model = inliner.inline_local_functions(onnx.load(exported["operators"]))
    for entry in model.opset_import:
        entry.version = 13 if not entry.domain else entry.version
    onnx.save(model, tmp_path / "model.onnx")
    proof, _ = findings(tmp_path / "model.onnx")
    assert "ReduceMax: expected 1 inputs, found 2" in proof
    assert "ReduceMax: expected version 18, 20 of the operator, found 13" in proof
