"""`--softmax-bits auto`: bits of deferred attention by layer, chosen by calibration and kept in the file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

import ivit_onnx
from commands import call
from ivit_onnx import export
from ivit_onnx.api import ExportReport
from ivit_onnx.errors import CalibrationError, ExportError
from ivit_onnx.exported import load_twin, read_metadata
from ivit_onnx.verification import verify
from networks import images, pixels, save_checkpoint, timm_network, timm_swin, uncalibrated_twin
from test_reference_ivit import CHECKPOINT as PUBLISHED

SHARP, FLAT = "blocks.0.attn.core", "blocks.1.attn.core"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViT in whose first block all tokens attend to the class token, with a score about 5 above the others.

    So all other exponentials are near to a step of 8 bits.
    """
    network = timm_network(patch_size=4)
    block = network.blocks[0]
    slope = float(block.norm1.weight[0].detach())
    factor = (5 / (4 * 6.8 * abs(slope))) ** 0.5
    with torch.no_grad():
        network.cls_token.zero_()
        network.cls_token[..., 0] = 30
        block.attn.qkv.weight[:96] = 0
        block.attn.qkv.bias[:96] = 0
        block.attn.qkv.bias[:48] = factor if slope > 0 else -factor
        block.attn.qkv.weight[48:96, 0] = factor
    return save_checkpoint(network, tmp_path_factory.mktemp("sharp") / "model.pt")


def automatic(checkpoint: Path, path: Path, **options: Any) -> ExportReport:
    given = {"calib": images(16), "num_heads": 3, "calib_preset": "fast", "softmax_bits": "auto"}
    return export(checkpoint, path, **{**given, **options})


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExportReport]:
    path = tmp_path_factory.mktemp("auto") / "m.onnx"
    return path, automatic(checkpoint, path)


def levels(path: Path) -> list[int]:
    nodes = (node for node in onnx.load(path).graph.node if "Deferred" in node.op_type)
    return [attribute.i for node in nodes for attribute in node.attribute if attribute.name == "levels"]


def test_a_sharp_layer_keeps_15_bits(exported: tuple[Path, ExportReport], checkpoint: Path) -> None:
    path, report = exported
    chosen = report.calibration["softmax_bits"]
    assert {name: layer["bits"] for name, layer in chosen.items()} == {SHARP: 15, FLAT: 8}
    assert chosen[SHARP]["cost"] > 0.5
    assert chosen[FLAT]["cost"] < 0.05
    assert levels(path) == [2**15, 2**8]
    metadata = read_metadata(path)
    assert metadata["ivit.softmax_bits"] == "15"
    state = json.loads(metadata["ivit.quantization"])
    assert {name: value for name, value in state.items() if name.endswith(".softmax_bits")} == {
        f"{FLAT}.softmax_bits": 8
    }
    assert json.loads(metadata["ivit.calibration"])["softmax_bits"] == chosen
    assert load_twin(path, checkpoint).softmax_bits_of_layers() == {SHARP: 15, FLAT: 8}


def test_the_twin_computes_what_the_file_does(exported: tuple[Path, ExportReport], checkpoint: Path) -> None:
    path, _ = exported
    assert verify(path, checkpoint, count=4).passed
    twin, image = load_twin(path, checkpoint), pixels(2)
    with torch.inference_mode():
        expected = twin(torch.from_numpy(image)).numpy()
    np.testing.assert_array_equal(ivit_onnx.create_session(path).run(None, {"image": image})[0], expected)


def test_it_is_as_good_as_15_bits(exported: tuple[Path, ExportReport], checkpoint: Path, tmp_path: Path) -> None:
    best = automatic(checkpoint, tmp_path / "15.onnx", softmax_bits=15)
    found = exported[1].quality
    assert found is not None
    assert best.quality is not None
    assert "softmax_bits" not in best.calibration
    assert found["sqnr_db"] > best.quality["sqnr_db"] - 0.5


def test_layers_with_the_same_bits_are_a_network_of_these(tmp_path: Path) -> None:
    """The same integers as with the option of a number."""
    checkpoint = save_checkpoint(timm_swin(), tmp_path / "swin.pt")
    options = {"img_size": 32, "num_heads": None, "flat": True}
    report = automatic(checkpoint, tmp_path / "auto.onnx", **options)
    assert {layer["bits"] for layer in report.calibration["softmax_bits"].values()} == {8}
    automatic(checkpoint, tmp_path / "8.onnx", softmax_bits=8, **options)
    found, expected = read_metadata(tmp_path / "auto.onnx"), read_metadata(tmp_path / "8.onnx")
    assert found["ivit.softmax_bits"] == "8"
    assert found["ivit.quantization"] == expected["ivit.quantization"]
    graphs = (onnx.load(tmp_path / f"{name}.onnx").graph.SerializeToString() for name in ("auto", "8"))
    assert next(graphs) == next(graphs)
    assert verify(tmp_path / "auto.onnx", checkpoint, count=2).passed


def test_a_change_of_bits_reaches_the_integers(exported: tuple[Path, ExportReport], checkpoint: Path) -> None:
    """What a module has lowered before is not kept."""
    twin, image = load_twin(exported[0], checkpoint), torch.from_numpy(pixels(2))
    with torch.no_grad():
        before = twin(image)
        twin.set_softmax_bits({SHARP: 8, FLAT: 8})
        assert twin.softmax_bits == 8
        assert not torch.equal(twin(image), before)


def test_the_command_says_what_was_chosen(capsys: pytest.CaptureFixture[str], checkpoint: Path, tmp_path: Path) -> None:
    path, calib = tmp_path / "m.onnx", tmp_path / "images.npy"
    np.save(calib, np.stack(images(16)))
    options = ("--num-heads", "3", "--calib", calib, "--calib-preset", "fast", "--softmax-bits", "auto")
    result = call(capsys, "export", checkpoint, "-o", path, *options)
    assert result.status == 0, result.err
    text = " ".join(result.out.split())
    assert f"attention exponentials of 8 bits in 1 of 2 layers; of 15 in {SHARP} (noise +" in text
    result = call(capsys, "export", checkpoint, "-o", path, *options, "--force", "--json")
    chosen = json.loads(result.out)["calibration"]["softmax_bits"]
    assert {name: layer["bits"] for name, layer in chosen.items()} == {SHARP: 15, FLAT: 8}
    more = ("--against", checkpoint, "--data", calib, "--limit", "2", "--json")
    result = call(capsys, "report", path, *more)
    assert result.status == 0, result.err
    assert json.loads(result.out)["softmax_bits"] == {SHARP: 15, FLAT: 8}
    assert f"8 bits in {FLAT}" in path.with_suffix(".html").read_text()


def test_scales_from_training_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"auto chooses by calibration.* has its scales from training: expected 7, 8"):
        export(PUBLISHED, tmp_path / "m.onnx", num_heads=2, softmax_bits="auto")
    assert not (tmp_path / "m.onnx").exists()


def test_shifts_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="auto is for --nonlinear table, whose attention is deferred; found ivit"):
        automatic(checkpoint, tmp_path / "m.onnx", nonlinear="ivit")


def test_statistics_without_images_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    seen = ivit_onnx.calibrate(checkpoint, images(16), num_heads=3)
    without = replace(seen, sample=seen.sample[:0])
    with pytest.raises(CalibrationError, match="auto: expected calibration images, found statistics without any"):
        automatic(checkpoint, tmp_path / "m.onnx", calib=without)


@pytest.mark.parametrize("value", [9, 0, True, 8.0, "8", None, float("nan")])
def test_other_bits_in_a_file_are_refused(value: Any) -> None:
    twin = uncalibrated_twin(nonlinear="table")
    state = {**twin.quantization_state(), f"{FLAT}.softmax_bits": value}
    with pytest.raises(CalibrationError, match=r"^blocks\.1\.attn\.core\.softmax_bits: expected one of 7, 8, 15"):
        twin.load_quantization_state(state)


def test_bits_of_other_places_are_refused() -> None:
    twin = uncalibrated_twin(nonlinear="table")
    with pytest.raises(CalibrationError, match=r"first difference: blocks\.0\.mlp\.softmax_bits"):
        twin.load_quantization_state({**twin.quantization_state(), "blocks.0.mlp.softmax_bits": 8})
    twin = uncalibrated_twin(nonlinear="ivit")
    with pytest.raises(CalibrationError, match="expected deferred attention, as it has bits of its own"):
        twin.load_quantization_state({**twin.quantization_state(), f"{FLAT}.softmax_bits": 8})
