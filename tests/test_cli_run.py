"""ivit-run: classes, probabilities and labels; bad models, images and labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="the export extra is not installed")
onnx = pytest.importorskip("onnx", reason="the export extra is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from commands import MICRO, call, installed  # noqa: E402
from ivit_onnx.architectures import Preprocess  # noqa: E402
from ivit_onnx.images import normalize  # noqa: E402
from ivit_onnx.metadata import ModelDescription  # noqa: E402

INPUTS = ("uint8", "int8", "float32")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The micro model for each input type."""
    from ivit_onnx.api import calibrate, export

    folder = tmp_path_factory.mktemp("models")
    images = np.random.default_rng(0).integers(0, 256, (8, 3, 32, 32), dtype=np.uint8)
    options = {"num_heads": 2, "mean": (0.3,) * 3, "std": (0.4,) * 3}
    calibration = calibrate(MICRO, images, **options)
    for kind in INPUTS:
        export(MICRO, folder / f"{kind}.onnx", calib=calibration, input=kind, **options)
    return {kind: folder / f"{kind}.onnx" for kind in INPUTS}


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "a [photo].png"
    path.parent.mkdir()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (48, 40, 3), dtype=np.uint8)).save(path)
    return path


@pytest.mark.parametrize("kind", INPUTS)
def test_same_result_for_every_input_type(
    capsys: pytest.CaptureFixture[str], models: dict[str, Path], photo: Path, kind: str
) -> None:
    results = {}
    for name in {"uint8", kind}:
        result = call(capsys, "run", models[name], photo, "--json", "--top", "10", "--threads", "1")
        assert (result.status, result.err) == (0, "")
        results[name] = json.loads(result.out)["images"][0]["top"]
    assert sum(entry["probability"] for entry in results[kind]) == pytest.approx(1)
    assert sorted(entry["class"] for entry in results[kind]) == list(range(10))
    if kind != "uint8":  # the two round normalised pixels differently by at most one step
        by_class = [{entry["class"]: entry["probability"] for entry in result} for result in results.values()]
        assert all(abs(by_class[0][index] - by_class[1][index]) < 0.05 for index in range(10))


def test_kernels_and_function_bodies_agree(
    capsys: pytest.CaptureFixture[str], models: dict[str, Path], photo: Path
) -> None:
    tops = [
        json.loads(call(capsys, "run", models["uint8"], photo, "--json", *option).out)["images"][0]["top"]
        for option in ((), ("--no-kernels",))
    ]
    assert tops[0] == tops[1]


def test_table_with_labels(
    capsys: pytest.CaptureFixture[str], models: dict[str, Path], photo: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"label-{index}\n" for index in range(10)) + "\n")
    result = call(capsys, "run", models["uint8"], photo, photo.parent, "--labels", labels, "--top", "3")
    assert result.status == 0
    assert result.out.count("label-") == 6
    assert result.out.count("%") == 6
    assert "[photo].png" in result.out
    without = call(capsys, "run", models["uint8"], photo)
    assert without.out.count("%") == 5
    assert without.out.splitlines()[1].split() == ["image", "probability", "class"]


@pytest.mark.parametrize(
    "content",
    [
        [f"label-{index}" for index in range(10)],
        {str(index): f"label-{index}" for index in range(10)},
        {str(index): [f"n{index}", f"label-{index}"] for index in range(10)},
    ],
)
def test_json_labels(
    capsys: pytest.CaptureFixture[str], models: dict[str, Path], photo: Path, tmp_path: Path, content: object
) -> None:
    (tmp_path / "labels.json").write_text(json.dumps(content))
    result = call(capsys, "run", models["uint8"], photo, "--labels", tmp_path / "labels.json", "--json")
    entries = json.loads(result.out)["images"][0]["top"]
    assert [entry["label"] for entry in entries] == [f"label-{entry['class']}" for entry in entries]


def test_bad_labels(capsys: pytest.CaptureFixture[str], models: dict[str, Path], photo: Path, tmp_path: Path) -> None:
    for name, text, expected in [
        ("few.txt", "one\ntwo\n", "has 2 labels, the model 10 classes"),
        ("broken.json", "[", "cannot read labels"),
        ("number.json", "3", "expected a list"),
        (
            "gap.json",
            json.dumps({str(index): "x" for index in range(1, 11)}),
            "expected 10 labels by class number, 0 to 9, found none for class 0",
        ),
    ]:
        (tmp_path / name).write_text(text)
        assert expected in call(capsys, "run", models["uint8"], photo, "--labels", tmp_path / name).error()
    assert "cannot read labels" in call(capsys, "run", models["uint8"], photo, "--labels", tmp_path / "no").error()


def test_bad_images(capsys: pytest.CaptureFixture[str], models: dict[str, Path], photo: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    (tmp_path / "empty").mkdir()
    model = models["uint8"]
    assert "does not exist" in call(capsys, "run", model, tmp_path / "nowhere.png").error()
    assert "cannot read image" in call(capsys, "run", model, tmp_path / "broken.jpg").error()
    assert "none of 2 images can be read" in call(capsys, "run", model, *[tmp_path / "broken.jpg"] * 2).error()
    assert "no images in" in call(capsys, "run", model, tmp_path / "empty").error()
    assert "--top" in call(capsys, "run", model, photo, "--top", "0").error()


def test_bad_models(capsys: pytest.CaptureFixture[str], models: dict[str, Path], photo: Path, tmp_path: Path) -> None:
    whole = models["uint8"].read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.onnx").write_text("no model")
    (tmp_path / "empty.onnx").touch()
    for name in ("cut.onnx", "text.onnx", "empty.onnx", "nowhere.onnx", "photos"):
        assert name in call(capsys, "run", tmp_path / name, photo).error()
    plain = onnx.load(models["uint8"])
    for key in [entry.key for entry in plain.metadata_props]:
        other = onnx.ModelProto()
        other.CopyFrom(plain)
        entry = next(entry for entry in other.metadata_props if entry.key == key)
        entry.value = "nonsense"
        onnx.save(other, tmp_path / "damaged.onnx")
        result = call(capsys, "run", tmp_path / "damaged.onnx", photo)
        if key in ("ivit.preprocess", "ivit.arch", "ivit.input_scale", "ivit.output_scale"):
            assert "damaged metadata" in result.error()
        else:
            assert result.status == 0
    del plain.metadata_props[:]
    onnx.save(plain, tmp_path / "plain.onnx")
    assert "is not a model of ivit-onnx" in call(capsys, "run", tmp_path / "plain.onnx", photo).error()


@pytest.mark.slow
def test_model_that_fails_when_it_runs(models: dict[str, Path], photo: Path, tmp_path: Path) -> None:
    """ONNX Runtime logs such failures itself, below Python, so only another process can show that it is silent."""
    model = onnx.load(models["uint8"])
    model.graph.initializer.append(onnx.helper.make_tensor("wrong_shape", onnx.TensorProto.INT64, [2], [3, 7]))
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(onnx.helper.make_node("Reshape", ["before", "wrong_shape"], ["logits"]))
    onnx.save(model, tmp_path / "failing.onnx")
    assert "failing.onnx does not run" in installed("run", tmp_path / "failing.onnx", photo).error()


@pytest.mark.parametrize("mean", [(0.485, 0.456, 0.406), (0.5, 0.5, 0.5), (0.0, 0.9, -1.0)])
@pytest.mark.parametrize("std", [(0.229, 0.224, 0.225), (0.5, 1.0, 20.0)])
def test_normalisation_is_undone_exactly(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    preprocess = Preprocess(16, mean=mean, std=std)
    description = ModelDescription("image", "uint8", 1.0, 1.0, preprocess, "vit", 10)
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16).repeat(3, axis=1)
    np.testing.assert_array_equal(description.model_input(normalize(pixels, preprocess)), pixels)


@pytest.mark.slow
def test_installed_command_without_torch(models: dict[str, Path], photo: Path, tmp_path: Path) -> None:
    result = installed("run", models["uint8"], photo, "--json", "--top", "1")
    assert result.status == 0, result.err
    assert len(json.loads(result.out)["images"]) == 1
    assert "does not exist" in installed("run", models["uint8"], tmp_path / "nowhere.png").error()


@pytest.mark.parametrize("command", ["run", "verify"])
def test_device_that_is_not_there(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    models: dict[str, Path],
    photo: Path,
    command: str,
) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    images = [photo] if command == "run" else []
    message = call(capsys, command, models["uint8"], *images, "--device", "cuda").error()
    assert "expected CUDAExecutionProvider, found onnxruntime" in message


def test_device_by_name(capsys: pytest.CaptureFixture[str], models: dict[str, Path], photo: Path) -> None:
    assert call(capsys, "run", models["uint8"], photo, "--device", "cpu", "--json").status == 0
    assert "(see ivit-run --help)" in call(capsys, "run", models["uint8"], photo, "--device", "tpu").error()
