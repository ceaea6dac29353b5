"""Exported models: structure, determinism, metadata, and the same integers everywhere."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from ivit_onnx.exporters.finish import save

import ivit_onnx
from ivit_onnx.api import ExportReport, export, load_twin
from ivit_onnx.errors import CalibrationError, ExportError, IvitError, ModelError, OptionError
from ivit_onnx.opset import DOMAIN, FLAT_FUNCTIONS
from ivit_onnx.options.choices import Nonlinear
from networks import (
    DIGITS_CHECKPOINT,
    DIGITS_MEAN,
    DIGITS_STD,
    digits,
    images,
    pixels,
    save_checkpoint,
    timm_network,
)

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module", params=[False, True], ids=["deit", "distilled"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(timm_network(distilled=request.param), tmp_path_factory.mktemp("checkpoint") / "model.pt")


def export_small(checkpoint: Path, output: Path, **options: Any) -> ExportReport:
    return export(checkpoint, output, calib=images(16), num_heads=3, **options)


def run(model: Path, image: Array, *, kernels: bool, threads: int = 1) -> Array:
    session = ivit_onnx.create_session(str(model), kernels=kernels, threads=threads)
    (logits,) = session.run(None, {"image": image})
    return np.asarray(logits)


@pytest.mark.parametrize(
    ("nonlinear", "softmax_bits"), [("ivit", 7), ("ivit", 8), ("ivit", 15), ("table", 8), ("table", 15)]
)
def test_the_same_integers_everywhere(
    checkpoint: Path, tmp_path: Path, nonlinear: Nonlinear, softmax_bits: int
) -> None:
    models = {flat: tmp_path / f"flat_{flat}.onnx" for flat in (False, True)}
    for flat, path in models.items():
        export_small(checkpoint, path, softmax_bits=softmax_bits, flat=flat, nonlinear=nonlinear)
    twin = load_twin(models[False], checkpoint)
    for batch in (1, 3, 8):
        image = pixels(batch, seed=batch)
        with torch.inference_mode():
            expected = twin(torch.from_numpy(image)).numpy()
        for flat, kernels, threads in itertools.product((False, True), (False, True), (1, 2)):
            found = run(models[flat], image, kernels=kernels, threads=threads)
            assert found.dtype == np.int32
            np.testing.assert_array_equal(found, expected, err_msg=f"{flat=} {kernels=} {threads=} {batch=}")


@pytest.mark.parametrize("input_type", ["uint8", "int8", "float32"])
def test_input_types(checkpoint: Path, tmp_path: Path, input_type: str) -> None:
    export_small(checkpoint, tmp_path / "m.onnx", input=input_type)
    image = pixels(2)
    if input_type == "int8":
        image = image.view(np.int8)
    elif input_type == "float32":
        image = np.stack(images(2))
    with torch.inference_mode():
        expected = load_twin(tmp_path / "m.onnx", checkpoint)(torch.from_numpy(image)).numpy()
    for kernels in (False, True):
        np.testing.assert_array_equal(run(tmp_path / "m.onnx", image, kernels=kernels), expected)
    model = onnx.load(tmp_path / "m.onnx")
    floats = [t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    assert floats == (["image.scale"] if input_type == "float32" else [])


def test_export_is_deterministic(checkpoint: Path, tmp_path: Path) -> None:
    for flat in (False, True):
        first, second = tmp_path / f"a{flat}.onnx", tmp_path / f"b{flat}.onnx"
        for path in (first, second):
            export_small(checkpoint, path, flat=flat)
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(("nonlinear", "blocks"), [
    ("ivit", {"IntAttention", "IntMlpAdd", "IntMlpAddNorm"}),
    ("table", {"IntDeferredAttention", "IntTokenMlpAdd", "IntTokenMlpAddNorm"}),
])  # fmt: skip
def test_hierarchical_form(checkpoint: Path, tmp_path: Path, nonlinear: Nonlinear, blocks: set[str]) -> None:
    report = export_small(checkpoint, tmp_path / "m.onnx", nonlinear=nonlinear)
    model = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(model, full_check=True)
    kinds = {node.op_type for node in model.graph.node if node.domain == DOMAIN}
    assert kinds == {"IntPixelEmbed", "IntLayerNorm", "IntLinear", "IntLinearAddNorm", "IntLinear32", *blocks}
    assert {node.op_type for node in model.graph.node if node.domain == ""} == {"Slice", "Flatten"}
    assert sum(report.operators.values()) == len(model.graph.node)
    assert all(node.doc_string and node.name for node in model.graph.node)
    assert all(function.doc_string for function in model.functions)
    shapes = {info.name: info.type.tensor_type.shape.dim for info in [*model.graph.value_info, *model.graph.output]}
    for name in (name for node in model.graph.node for name in node.output):
        assert shapes[name][0].dim_param == "batch", name
        assert all(dim.dim_value or dim.dim_param for dim in shapes[name]), name


@pytest.mark.parametrize(("nonlinear", "functions"), [("ivit", {"Shiftmax", "ShiftGELU"}), ("table", set())])
def test_flat_form(checkpoint: Path, tmp_path: Path, nonlinear: Nonlinear, functions: set[str]) -> None:
    export_small(checkpoint, tmp_path / "m.onnx", flat=True, nonlinear=nonlinear)
    model = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(model, full_check=True)
    kept = {*functions, "IntLayerNorm"}
    assert kept < set(FLAT_FUNCTIONS)
    assert {node.op_type for node in model.graph.node if node.domain == DOMAIN} == kept
    assert {function.name for function in model.functions} == kept
    assert {node.domain for function in model.functions for node in function.node} == {""}
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_metadata(checkpoint: Path, tmp_path: Path) -> None:
    report = export_small(checkpoint, tmp_path / "m.onnx", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["ivit.opset"] == "2"
    assert metadata["ivit.version"] == ivit_onnx.__version__
    assert json.loads(metadata["ivit.arch"]) == report.arch
    assert float(metadata["ivit.output_scale"]) == report.output_scale > 0
    assert float(metadata["ivit.input_scale"]) == report.input_scale > 0
    preprocess = json.loads(metadata["ivit.preprocess"])
    assert preprocess["mean"] == [0.1, 0.2, 0.3]
    assert preprocess["std"] == [0.4, 0.5, 0.6]
    assert preprocess["size"] == 32
    assert preprocess["layout"] == "NCHW"


def test_integer_logits_times_output_scale_are_the_float_logits(tmp_path: Path) -> None:
    network = timm_network()
    path = save_checkpoint(network, tmp_path / "model.pt")
    report = export_small(path, tmp_path / "m.onnx", input="float32")
    x = np.stack(images(16, seed=9))
    with torch.inference_mode():
        expected = network(torch.from_numpy(x)).numpy()
    found = run(tmp_path / "m.onnx", x, kernels=True) * report.output_scale
    assert np.square(found - expected).mean() < 0.02 * np.square(expected).mean()


def test_digits_accuracy_is_within_half_a_point_of_float(tmp_path: Path) -> None:
    levels, labels, test = digits()
    train = np.setdiff1d(np.arange(len(levels)), test)
    options: dict[str, Any] = {"num_heads": 2, "mean": DIGITS_MEAN, "std": DIGITS_STD}
    export(DIGITS_CHECKPOINT, tmp_path / "m.onnx", calib=levels[train], **options)
    twin = load_twin(tmp_path / "m.onnx", DIGITS_CHECKPOINT)
    twin.set_quantized(False)
    with torch.inference_mode():
        float_accuracy = (twin(torch.from_numpy(levels[test])).argmax(1).numpy() == labels[test]).mean()
    integer_accuracy = (run(tmp_path / "m.onnx", levels[test], kernels=True).argmax(1) == labels[test]).mean()
    assert float_accuracy > 0.97
    assert integer_accuracy >= float_accuracy - 0.005


def test_weights_too_large_for_one_message_go_beside_the_model(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ivit_onnx.api.save", lambda model, path: save(model, path, max_proto_bytes=1000))
    report = export_small(checkpoint, tmp_path / "m.onnx")
    assert report.files == [str(tmp_path / "m.onnx"), str(tmp_path / "m.onnx.data")]
    monkeypatch.undo()
    export_small(checkpoint, tmp_path / "whole.onnx")
    image = pixels(2)
    for kernels in (False, True):
        np.testing.assert_array_equal(
            run(tmp_path / "m.onnx", image, kernels=kernels), run(tmp_path / "whole.onnx", image, kernels=kernels)
        )


def test_calibration_cache_replaces_images(checkpoint: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    export_small(checkpoint, tmp_path / "a.onnx", calib_cache=cache)
    export(checkpoint, tmp_path / "b.onnx", num_heads=3, calib_cache=cache)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    export(checkpoint, tmp_path / "c.onnx", num_heads=3, calib_cache=cache, calib_method="percentile")
    assert (tmp_path / "a.onnx").read_bytes() != (tmp_path / "c.onnx").read_bytes()


def test_a_calibration_object_can_be_passed(checkpoint: Path, tmp_path: Path) -> None:
    calibration = ivit_onnx.calibrate(checkpoint, images(16), num_heads=3)
    export(checkpoint, tmp_path / "a.onnx", calib=calibration, num_heads=3)
    export_small(checkpoint, tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_without_images_some_are_drawn(checkpoint: Path, tmp_path: Path) -> None:
    report = export(checkpoint, tmp_path / "a.onnx", num_heads=3, calib_images=5)
    calibration = ivit_onnx.calibrate(checkpoint, num_heads=3, limit=5)
    export(checkpoint, tmp_path / "b.onnx", calib=calibration, num_heads=3)
    assert report.calibration["source"] == calibration.source == "dead leaves"
    assert report.calibration["images"] == calibration.images == 5
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"softmax_bits": 9}, ExportError, "7, 8, 15 or auto"),
        ({"nonlinear": "exact"}, ExportError, "ivit, table, found 'exact'"),
        ({"input": "float16"}, ExportError, "uint8, int8, float32"),
        ({"calib_method": "best"}, CalibrationError, "minmax, percentile, mse, entropy"),
        ({"calib_preset": "slow"}, CalibrationError, "fast, default, best"),
        ({"calib": "nowhere"}, IvitError, "nowhere"),
        ({"calib": []}, IvitError, "image"),
        ({"calib_images": 0}, OptionError, "calib_images: expected an integer in 1"),
    ],
)
def test_bad_options(
    checkpoint: Path, tmp_path: Path, options: dict[str, Any], error: type[IvitError], message: str
) -> None:
    with pytest.raises(error, match=message):
        export(checkpoint, tmp_path / "m.onnx", num_heads=3, **options)
    assert list(tmp_path.iterdir()) == []


def test_the_twin_needs_the_checkpoint_of_the_model(checkpoint: Path, tmp_path: Path) -> None:
    export_small(checkpoint, tmp_path / "m.onnx")
    other = save_checkpoint(timm_network(seed=1), tmp_path / "other.pt")
    with pytest.raises(ModelError, match="was not exported from"):
        load_twin(tmp_path / "m.onnx", other)


def test_gelu_range_is_reported(tmp_path: Path) -> None:
    network = timm_network()
    with torch.no_grad():
        network.blocks[1].mlp.fc1.bias.fill_(30.0)
    checkpoint = save_checkpoint(network, tmp_path / "model.pt")
    for nonlinear, reported in (("ivit", 1), ("table", 0)):
        report = export_small(checkpoint, tmp_path / f"{nonlinear}.onnx", nonlinear=nonlinear)
        assert len([w for w in report.warnings if "blocks.1.mlp: ShiftGELU" in w]) == reported
