"""Commands on images and labels as people have them: unreadable files, orders of classes, Exif, numbers in 0..255."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="the export extra is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("sklearn", reason="needs scikit-learn")

import networks
from commands import MICRO, MICRO_OPTIONS, call, installed
from ivit_onnx.api import calibrate, export
from ivit_onnx.datasets import open_dataset
from ivit_onnx.errors import TrainingError
from ivit_onnx.training import Options

Capsys = pytest.CaptureFixture[str]
NORMALISATION = {"mean": networks.DIGITS_MEAN, "std": networks.DIGITS_STD}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "micro.onnx"
    pixels, _, test = networks.digits()
    export(MICRO, path, calib=np.delete(pixels, test, 0)[:64], num_heads=2, **NORMALISATION)
    return path


def write_digits(folder: Path, count: int, name: str = "{label}/{number:03}.png") -> list[Path]:
    """The first test digits as files; `name` is formatted with the label, the label from 1, and the number."""
    pixels, labels, test = networks.digits()
    paths = []
    for number, index in enumerate(test[:count]):
        path = folder / name.format(label=labels[index], one=labels[index] + 1, number=number)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[index].transpose(1, 2, 0)).save(path)
        paths.append(path)
    return paths


def test_run_answers_what_it_can_read(capsys: Capsys, model: Path, tmp_path: Path) -> None:
    good = write_digits(tmp_path, 2, "{number}.png")
    (tmp_path / "broken.png").write_bytes(b"broken")
    alone = json.loads(call(capsys, "run", model, *good, "--json").out)
    assert (alone["unreadable"], alone["notes"]) == ([], [])
    result = call(capsys, "run", model, good[0], tmp_path / "broken.png", tmp_path / "none.png", good[1], "--json")
    content = json.loads(result.out)
    assert result.status == 1
    assert [entry["image"] for entry in content["images"]] == [str(path) for path in good]
    assert [entry["top"] for entry in content["images"]] == [entry["top"] for entry in alone["images"]]
    assert [Path(entry["image"]).name for entry in content["unreadable"]] == ["broken.png", "none.png"]
    assert [line.startswith("error: ") for line in result.err.splitlines()] == [True, True]
    table = call(capsys, "run", model, tmp_path)
    assert (table.status, table.out.count("%"), table.err.count("broken.png")) == (1, 10, 1)


def test_run_says_that_an_image_was_turned(capsys: Capsys, model: Path, tmp_path: Path) -> None:
    (upright,) = write_digits(tmp_path, 1, "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.rot90(np.asarray(Image.open(upright)))
    for name in ("a.png", "b.png"):
        Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / name, exif=exif)
    paths = [upright, tmp_path / "a.png", tmp_path / "b.png"]
    content = json.loads(call(capsys, "run", model, *paths, "--json").out)
    assert content["images"][0]["top"] == content["images"][1]["top"] == content["images"][2]["top"]
    assert [len(entry["notes"]) for entry in content["images"]] == [0, 1, 1]
    assert content["notes"] == [f"{paths[1]} and 1 more: turned upright by the Exif orientation"]
    assert "note: " in call(capsys, "run", model, *paths).out


def test_run_answers_every_image_of_an_array(capsys: Capsys, model: Path, tmp_path: Path) -> None:
    pixels, _, test = networks.digits()
    large = pixels[test[:3]].repeat(2, axis=2).repeat(2, axis=3).transpose(0, 2, 3, 1)
    np.save(tmp_path / "x.npy", large)
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for image, file in zip(large, files, strict=True):
        Image.fromarray(image).save(file)
    found = json.loads(call(capsys, "run", model, tmp_path / "x.npy", "--json").out)["images"]
    expected = json.loads(call(capsys, "run", model, *files, "--json").out)["images"]
    assert [entry["top"] for entry in found] == [entry["top"] for entry in expected]
    assert [entry["image"] for entry in found] == [f"{tmp_path / 'x.npy'}[{index}]" for index in range(3)]


def test_names_that_are_no_text(model: Path, tmp_path: Path) -> None:
    (path,) = write_digits(tmp_path, 1, "x.png")
    name = os.fsencode(tmp_path) + b"/\xff.png"
    Path(os.fsdecode(name)).write_bytes(path.read_bytes())
    (tmp_path / "labels.txt").write_bytes("\n".join(f"chiffre n° {digit}" for digit in range(10)).encode("latin-1"))
    for option in ((), ("--json",)):
        result = installed("run", model, os.fsdecode(name), "--labels", tmp_path / "labels.txt", *option)
        assert (result.status, result.err) == (0, "")
        assert "Windows-1252" in result.out
        assert ("udcff" if option else r"\xff") in result.out
    assert json.loads(result.out)["images"][0]["top"][0]["label"].startswith("chiffre n° ")


def test_eval_names_what_it_cannot_read(capsys: Capsys, model: Path, tmp_path: Path) -> None:
    paths = write_digits(tmp_path / "data" / "val", 40)
    data, state = tmp_path / "data", tmp_path / "state.json"
    whole = json.loads(call(capsys, "eval", model, "--data", data, "--json").out)
    broken = [sorted(paths)[place] for place in (0, 20, 39)]
    kept = [path.read_bytes() for path in broken]
    for path in broken:
        path.write_bytes(b"broken")
    arguments = (model, "--data", data, "--state", state, "--batch-size", "1")
    result = call(capsys, "eval", *arguments, "--json")
    content = json.loads(result.out)
    assert result.status == 1
    assert content["images"] == 37
    assert [str(path) in text for path, text in zip(broken, content["unreadable"], strict=True)] == [True] * 3
    assert all(str(path) in result.err for path in broken)
    assert result.err.count("\n") == 3
    # The same command tries them again, as long as it has to, and ends with the numbers of a run in one go.
    broken[1].write_bytes(kept[1])
    again = call(capsys, "eval", *arguments, "--json")
    assert again.out, again.err
    content = json.loads(again.out)
    assert (content["images"], content["resumed_images"], len(content["unreadable"])) == (38, 37, 2)
    for path, data_of in zip(broken, kept, strict=True):
        path.write_bytes(data_of)
    result = call(capsys, "eval", *arguments, "--json")
    content = json.loads(result.out)
    assert (result.status, content["images"], content["unreadable"]) == (0, 40, [])
    for name in ("top1_images", "top5_images"):
        assert content["integer"][name] == whole["integer"][name]


def test_eval_goes_on_after_unreadable_images(capsys: Capsys, model: Path, tmp_path: Path) -> None:
    """A state that was written in the middle, as after a kill; and one of a version that knew no unreadable images."""
    paths = sorted(write_digits(tmp_path / "data" / "val", 40))
    for path in (paths[2], paths[25]):
        path.write_bytes(b"broken")
    state = tmp_path / "state.json"
    arguments = (model, "--data", tmp_path / "data", "--json", "--state", state)
    whole = json.loads(call(capsys, "eval", *arguments).out)
    content = json.loads(state.read_text())
    assert content["unreadable"] == [2, 25]
    data = open_dataset(str(tmp_path / "data"), "val")
    del content["unreadable"]
    content["identity"]["data"] = data.fingerprint()
    content["counts"] |= {"images": 2, "integer_top1": 0, "integer_top5": 0}
    state.write_text(json.dumps(content))
    later = json.loads(call(capsys, "eval", *arguments).out)
    assert (later["images"], len(later["unreadable"])) == (38, 2)
    assert whole["integer"]["top1_images"] - later["integer"]["top1_images"] <= 2
    content |= {"unreadable": [2]}
    content["identity"]["data"] = data.fingerprint([2])
    content["counts"]["images"] = 10
    state.write_text(json.dumps(content))
    assert json.loads(call(capsys, "eval", *arguments).out)["images"] == 38


def test_eval_of_nothing_readable(capsys: Capsys, model: Path, tmp_path: Path) -> None:
    for path in write_digits(tmp_path / "val", 40):
        path.write_bytes(b"")
    message = call(capsys, "eval", model, "--data", tmp_path, "--state", tmp_path / "state.json").error()
    assert "none of 40 images can be read, the first: cannot read image" in message
    assert "the file is empty" in message
    assert not (tmp_path / "state.json").exists()


def test_eval_of_classes_from_one_to_ten(capsys: Capsys, model: Path, tmp_path: Path) -> None:
    write_digits(tmp_path / "val", 60, "{one}/{number:03}.png")
    natural = call(capsys, "eval", model, "--data", tmp_path, "--json")
    content = json.loads(natural.out)
    assert content["integer"]["top1"] > 0.9
    assert [("timm" in note, "'2'" in note) for note in content["notes"]] == [(True, True)]
    text = json.loads(call(capsys, "eval", model, "--data", tmp_path, "--json", "--class-order", "text").out)
    assert text["integer"]["top1"] < 0.3
    assert "note: classes are numbered in natural order" in call(capsys, "eval", model, "--data", tmp_path).out
    (tmp_path / "map.txt").write_text("".join(f"{digit + 1}\n" for digit in range(10)))
    mapped = json.loads(
        call(capsys, "eval", model, "--data", tmp_path, "--json", "--classes", tmp_path / "map.txt").out
    )
    assert (mapped["notes"], mapped["integer"]["top1"]) == ([], content["integer"]["top1"])


def test_calibration_leaves_out_what_it_cannot_read(capsys: Capsys, tmp_path: Path) -> None:
    folder, output = tmp_path / "photos", tmp_path / "m.onnx"
    write_digits(folder, 12, "{number:03}.png")
    (folder / "005.png").write_bytes(b"broken")
    arguments = (MICRO, "-o", output, *MICRO_OPTIONS, "--calib", folder, "--calib-preset", "fast", "--force")
    result = call(capsys, "export", *arguments, "--json")
    content = json.loads(result.out)
    assert (result.status, content["calibration"]["images"]) == (0, 11)
    assert any("calibration left out 1 image: " in text and "005.png" in text for text in content["warnings"])
    assert "005.png" in call(capsys, "export", *arguments).out
    assert "005.png" in call(capsys, "verify", output, "--images", folder, "--count", "12").out
    with pytest.warns(UserWarning, match=r"calibration left out 1 image: .*005\.png"):
        calibrate(MICRO, folder, num_heads=2, limit=12, **NORMALISATION)
    for path in folder.iterdir():
        path.write_bytes(b"broken")
    output.unlink()
    assert "none of 12 images in" in call(capsys, "export", *arguments).error()
    assert not output.exists()


@pytest.mark.parametrize("command", ["export", "train"])
def test_normalisation_for_0_to_255(capsys: Capsys, tmp_path: Path, command: str) -> None:
    wrong = ("--num-heads", "2", "--mean", "123.675,116.28,103.53", "--std", "58.395,57.12,57.375")
    arguments = {
        "export": (MICRO, "-o", tmp_path / "m.onnx"),
        "train": ("--data", "digits", "--checkpoint", MICRO, "-o", tmp_path / "run", "--cpu"),
    }
    message = call(capsys, command, *arguments[command], *wrong).error()
    assert "pass --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225" in message


def test_a_training_keeps_its_order_of_classes(tmp_path: Path) -> None:
    checkpoint = {"output": "x", "checkpoint": "y"}
    natural = Options(data=str(tmp_path), **checkpoint)
    older = natural.to_json()
    del older["class_order"]
    natural.check_same(natural.to_json())
    natural.check_same(Options(data=str(tmp_path), class_order="natural", **checkpoint).to_json())
    Options(data=str(tmp_path), class_order="text", **checkpoint).check_same(older)
    with pytest.raises(TrainingError, match="interrupted run had --class-order text, this one has natural"):
        natural.check_same(older)
    digits = Options(data="digits", **checkpoint)
    older = digits.to_json()
    del older["class_order"]
    digits.check_same(older)


def test_training_names_an_unreadable_image(capsys: Capsys, tmp_path: Path) -> None:
    """In a process that loads images, of which PyTorch makes a traceback."""
    paths = write_digits(tmp_path / "train", 40)
    write_digits(tmp_path / "val", 40)
    paths[7].write_bytes(b"broken")
    options = ("--checkpoint", MICRO, *MICRO_OPTIONS, "--cpu", "--calib-images", "1", "--calib-preset", "fast")
    small = ("--batch-size", "40", "--epochs", "1", "--workers", "1", "--no-augment", "-o", tmp_path / "run")
    result = call(capsys, "train", "--data", tmp_path, *options, *small)
    assert f"error: cannot read image {paths[7]}: expected an image" in result.err.splitlines()[-1]
    assert (result.status, "Traceback" in result.err) == (2, False)
