"""Our floating-point network beside the forward of the library that made the checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from commands import call
from ivit_onnx.api import export
from ivit_onnx.original import OriginalComparison, compare_with_original
from ivit_onnx.verification import verify
from networks import pixels, save_checkpoint, timm_network


def test_a_module_is_asked_itself(tmp_path: Path) -> None:
    network, model = timm_network(), tmp_path / "model.onnx"
    export(network, model, calib=pixels(4), calib_preset="fast")
    report = verify(model, against=network, count=2)
    assert report.passed
    assert report.original is not None
    assert report.original.library == "the module VisionTransformer"
    assert report.original.error < 1e-5
    # The same tensors with another activation function are another network.
    for block in network.blocks:
        block.mlp.act = nn.ReLU()
    found = compare_with_original(model, network)
    assert isinstance(found, OriginalComparison)
    assert found.error > 1e-2
    assert not found.passed


def test_a_folder_of_transformers_is_asked_by_its_library(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    settings = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    config = transformers.ViTConfig(**settings, image_size=32, patch_size=8, num_labels=5)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    model = tmp_path / "model.onnx"
    export(tmp_path / "vit", model, calib=pixels(4), calib_preset="fast")
    done = call(capsys, "verify", model, "--against", tmp_path / "vit", "--count", "2")
    assert done.status == 0
    assert "ViTForImageClassification): the same network" in done.out


def test_what_cannot_be_asked_is_said(tmp_path: Path) -> None:
    checkpoint = save_checkpoint(timm_network(), tmp_path / "model.pt")
    export(checkpoint, tmp_path / "model.onnx", calib=pixels(4), calib_preset="fast", num_heads=3)
    found = compare_with_original(tmp_path / "model.onnx", checkpoint)
    assert isinstance(found, str)
    assert "vit_custom_patch8_32 is no name of timm" in found
