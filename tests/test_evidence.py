"""Verification that shows something: what its images exercised, and what is refused as nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

import ivit_onnx
from commands import MICRO, call
from ivit_onnx.api import calibrate, export
from ivit_onnx.errors import ImageError, ModelError, OptionError
from ivit_onnx.evidence import Evidence, check_different, check_normalisation
from ivit_onnx.metadata import describe
from ivit_onnx.verification import random_inputs, verify

KINDS = ("uint8", "int8", "float32")


def pixels(count: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    calibration = calibrate(MICRO, pixels(8), num_heads=2)
    paths = {kind: folder / f"{kind}.onnx" for kind in KINDS}
    for kind, path in paths.items():
        export(MICRO, path, calib=calibration, input=kind, num_heads=2)
    return paths


@pytest.mark.parametrize("kind", KINDS)
def test_report_says_what_the_images_exercised(models: dict[str, Path], kind: str) -> None:
    """Counted here from the model's own runs."""
    given = np.concatenate([pixels(3, seed=5), pixels(1, seed=5)])
    report = verify(models[kind], images=given, count=4)
    assert report.passed
    random, real = report.evidence
    assert (random.images, random.count, random.different, random.answers) == ("random", 4, 4, 4)
    assert random.values > 200
    assert (real.images, real.count, real.different, real.answers) == ("real", 4, 3, 3)
    if kind == "uint8":
        session = ivit_onnx.create_session(models[kind], kernels=False)
        logits = np.concatenate([session.run(None, {"image": image[None]})[0] for image in given])
        assert (real.least, real.most) == (logits.min(), logits.max())
        assert real.classes == len({*logits.argmax(1).tolist()})
        assert real.values == 256
    else:
        assert real.values <= 256
    content = report.to_json()
    assert content["evidence"][1] == {
        "images": "real",
        "count": 4,
        "different": 3,
        "values": real.values,
        "answers": 3,
        "classes": real.classes,
        "least": real.least,
        "most": real.most,
        "finding": None,
    }


def test_command_shows_it(capsys: pytest.CaptureFixture[str], models: dict[str, Path]) -> None:
    result = call(capsys, "verify", models["uint8"], "--count", "4")
    assert result.status == 0
    (line,) = (line for line in result.out.splitlines() if line.split()[:1] == ["random"])
    assert line.split()[1:5] == ["4", "4", "256", "4"]


class Spoiled:
    """A session whose model has other metadata."""

    def __init__(self, session: Any, **metadata: Any) -> None:
        self._session, self._changes = session, metadata

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    @property
    def custom_metadata_map(self) -> dict[str, str]:
        found: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        preprocess = json.loads(found["ivit.preprocess"]) | self._changes.get("normalisation", {})
        scale = self._changes.get("input_scale", found["ivit.input_scale"])
        return found | {"ivit.preprocess": json.dumps(preprocess), "ivit.input_scale": scale}

    def get_modelmeta(self) -> Spoiled:
        return self


@pytest.fixture(scope="module")
def sessions(models: dict[str, Path]) -> dict[str, tuple[Any, onnx.ModelProto]]:
    return {kind: (ivit_onnx.create_session(path), onnx.load(path)) for kind, path in models.items()}


@pytest.mark.parametrize("count", [1, 2, 8])
@pytest.mark.parametrize(
    ("kinds", "metadata"),
    [
        (("int8", "float32"), {"normalisation": {"std": [1000.0] * 3, "mean": [0.5] * 3}}),
        (("int8", "float32"), {"normalisation": {"mean": [1000.0] * 3}}),
        (("int8", "float32"), {"normalisation": {"mean": [-1000.0] * 3}}),
        (KINDS, {"normalisation": {"std": [1e30] * 3}}),
        (KINDS, {"normalisation": {"std": [0.229, 0.0, 0.225]}}),
        (KINDS, {"normalisation": {"std": [float("nan")] * 3}}),
        (KINDS, {"normalisation": {"mean": [float("inf")] * 3}}),
        (KINDS, {"normalisation": {"mean": [1e30] * 3}}),
        (("int8",), {"input_scale": "1e6"}),
        (("int8",), {"input_scale": "1e-20"}),
        (("int8",), {"input_scale": "1e-60"}),
        (("int8",), {"input_scale": "nan"}),
    ],
    ids=str,
)
def test_normalisations_that_leave_no_image(
    sessions: dict[str, tuple[Any, onnx.ModelProto]], kinds: tuple[str, ...], metadata: dict[str, Any], count: int
) -> None:
    """Every image the same pixels, or only the ends of the range."""
    for kind in kinds:
        session, graph = sessions[kind]
        random_inputs(describe(Spoiled(session), "m"), graph, count, 0, "m")
        with pytest.raises(ModelError, match=r"^m has damaged metadata.*; export the model again") as error:
            random_inputs(describe(Spoiled(session, **metadata), "m"), graph, count, 0, "m")
        assert "\n" not in str(error.value)


def test_a_spoiled_normalisation_ends_verification(
    capsys: pytest.CaptureFixture[str], models: dict[str, Path], tmp_path: Path
) -> None:
    proto = onnx.load(models["int8"])
    for entry in proto.metadata_props:
        if entry.key == "ivit.input_scale":
            entry.value = "1e6"
    onnx.save(proto, tmp_path / "model.onnx")
    error = call(capsys, "verify", tmp_path / "model.onnx", "--count", "4").error()
    assert "leaves 1 of 4 different images, with 1 of 256 pixel values; export the model again" in error


def test_scale_of_a_float_input_is_that_of_the_graph(models: dict[str, Path], tmp_path: Path) -> None:
    """The metadata says a scale too; what the model sees is what its own QuantizeLinear makes."""
    proto = onnx.load(models["float32"])
    quantise = next(node for node in proto.graph.node if node.op_type == "QuantizeLinear")
    for tensor in proto.graph.initializer:
        if tensor.name == quantise.input[1]:
            tensor.CopyFrom(numpy_helper.from_array(np.asarray(1e6, np.float32), tensor.name))
    proto.metadata_props.remove(next(entry for entry in proto.metadata_props if entry.key == "ivit.proof"))
    onnx.save(proto, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="leaves 1 of 4 different images, with 1 of 256 pixel values"):
        verify(tmp_path / "model.onnx", count=4)


def test_copies_of_one_image_are_refused(
    capsys: pytest.CaptureFixture[str], models: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(pixels(1)[0].transpose(1, 2, 0)).save(folder / "0.png")
    assert call(capsys, "verify", models["uint8"], "--images", folder, "--count", "3").status == 0
    for name in ("1.png", "2.png"):
        shutil.copy(folder / "0.png", folder / name)
    for command, options in (
        ("verify", ["--images", folder, "--count", "3"]),
        ("report", ["--against", MICRO, "--data", folder, "-o", tmp_path / "page.html"]),
    ):
        result = call(capsys, command, models["uint8"], *options)
        assert "are the same to the model, which shows no more than one of them; expected different" in result.error()
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("kind", ["int8", "float32"])
def test_images_that_the_quantisation_makes_one(models: dict[str, Path], kind: str) -> None:
    """Different floats, the same integers."""
    image = np.full((1, 3, 32, 32), 0.25, np.float32)
    with pytest.raises(ImageError, match="all 2 real images are the same to the model"):
        verify(models[kind], images=np.concatenate([image, image + 1e-6]), count=2)


def test_no_images_are_refused(capsys: pytest.CaptureFixture[str], models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert (
        "expected an integer in 1..10000, found '0'" in call(capsys, "verify", models["uint8"], "--count", "0").error()
    )
    assert "no images" in call(capsys, "verify", models["uint8"], "--images", tmp_path / "empty").error()
    for images in ([], np.zeros((0, 3, 32, 32), np.uint8)):
        with pytest.raises(ImageError):
            verify(models["uint8"], images=images, count=1)
    with pytest.raises(OptionError, match="count"):
        verify(models["uint8"], count=0)


def test_constant_logits_verify_nothing(
    capsys: pytest.CaptureFixture[str], models: dict[str, Path], tmp_path: Path
) -> None:
    """A head of zero weights: every implementation agrees, on nothing."""
    proto = onnx.load(models["uint8"])
    head = [node for node in proto.graph.node if node.op_type.startswith("IntLinear")][-1]
    for tensor in proto.graph.initializer:
        if tensor.name in head.input and tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 2:
            tensor.CopyFrom(numpy_helper.from_array(np.zeros(tensor.dims, np.int8), tensor.name))
    proto.metadata_props.remove(next(entry for entry in proto.metadata_props if entry.key == "ivit.proof"))
    path = tmp_path / "constant.onnx"
    onnx.save(proto, path)
    report = verify(path, count=4)
    assert report.equal == report.total
    assert not report.passed
    assert report.evidence[0].answers == 1
    assert "the logits of all 4 different random images are the same" in str(report.evidence[0].finding)
    assert not report.to_json()["passed"]
    result = call(capsys, "verify", path, "--count", "4")
    assert result.status == 1
    assert "the logits of all 4 different random images are the same" in " ".join(result.out.split())
    assert verify(path, count=1).passed  # one image and its logits cannot tell


def test_evidence_of_small_sets() -> None:
    """Images of one pixel, where noise is often nearly black and white."""
    one = np.array([[[[7]], [[7]], [[7]]]], np.uint8)
    check_different(one, "images")
    check_normalisation(one, one, "m")
    check_normalisation(np.array([[[[0]], [[90]], [[255]]]]), np.array([[[[-128]], [[127]], [[127]]]]), "m")
    with pytest.raises(ModelError, match="leaves 1 of 1 different images, with 1 of 3 pixel values"):
        check_normalisation(np.array([[[[0]], [[90]], [[255]]]]), np.zeros((1, 3, 1, 1), np.int8), "m")
    with pytest.raises(ImageError):
        check_different(np.concatenate([one, one]), "images")
    logits = np.array([[3, -5, 4], [9, 0, 1]], np.int32)
    found = Evidence.of("real", np.concatenate([one, one + 1]), logits)
    assert found == Evidence("real", 2, 2, 2, answers=2, classes=2, least=-5, most=9)
    assert found.finding is None
