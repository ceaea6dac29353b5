"""ivit-eval: accuracies against a direct computation, interrupted runs, layouts of data, mistakes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

torch = pytest.importorskip("torch", reason="the export extra is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("sklearn", reason="needs scikit-learn")

import ivit_onnx  # noqa: E402
import networks  # noqa: E402
from commands import MICRO, call, installed  # noqa: E402
from ivit_onnx.api import export, load_twin  # noqa: E402
from ivit_onnx.architectures import Preprocess  # noqa: E402
from ivit_onnx.datasets import open_dataset  # noqa: E402
from ivit_onnx.datasets.dataset import ImageDataset  # noqa: E402
from ivit_onnx.errors import ImageError, IvitError, ModelError  # noqa: E402
from ivit_onnx.evaluation import Counts, evaluate  # noqa: E402
from ivit_onnx.evaluation.counts import ranks  # noqa: E402
from ivit_onnx.evaluation.loading import load_batches  # noqa: E402
from ivit_onnx.images import normalize, read_pixels  # noqa: E402

Array = np.ndarray[Any, Any]
Capsys = pytest.CaptureFixture[str]
NORMALISATION = {"mean": networks.DIGITS_MEAN, "std": networks.DIGITS_STD}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "micro.onnx"
    pixels, _, test = networks.digits()
    export(MICRO, path, calib=np.delete(pixels, test, 0)[:64], num_heads=2, **NORMALISATION)
    return path


def right(logits: Array, labels: Array, count: int) -> int:
    """Images whose label is among the first `count` classes, by sorting."""
    best = np.argsort(-logits.astype(np.float64), axis=1, kind="stable")[:, :count]
    return int((best == labels[:, None]).any(1).sum())


def expected(model: Path, pixels: Array, labels: Array) -> dict[str, Any]:
    """What an evaluation counts, from the two networks run directly."""
    session = ivit_onnx.create_session(model, kernels=False)
    integer = session.run(None, {"image": pixels})[0]
    twin = load_twin(model, MICRO)
    twin.set_quantized(False)
    with torch.inference_mode():
        floating = twin(torch.from_numpy(normalize(pixels, twin.preprocess))).numpy()
    first, second = integer.argmax(1), floating.argmax(1)
    return {
        "images": len(labels),
        "integer_top1": right(integer, labels, 1),
        "integer_top5": right(integer, labels, 5),
        "float_top1": right(floating, labels, 1),
        "float_top5": right(floating, labels, 5),
        "agree": int((first == second).sum()),
        "lost": int(((second == labels) & (first != labels)).sum()),
        "gained": int(((first == labels) & (second != labels)).sum()),
        "labels": sorted({*labels.tolist()}),
        "chosen": sorted({*first.tolist()}),
    }


def numbers(counts: Counts) -> dict[str, Any]:
    return {name: value for name, value in counts.to_json().items() if not name.endswith("seconds")}


@pytest.mark.parametrize(("batch", "workers"), [(16, None), (7, 1), (360, 3)])
def test_accuracy_is_that_of_a_direct_computation(model: Path, batch: int, workers: int | None) -> None:
    pixels, labels, test = networks.digits()
    result = evaluate(model, open_dataset("digits"), against=MICRO, batch=batch, workers=workers)
    assert numbers(result.counts) == expected(model, pixels[test], labels[test])
    content = result.to_json()
    assert content["integer"]["top1"] == result.counts.integer_top1 / 360 > 0.9
    assert content["agreement"] == result.counts.agree / 360
    assert result.whole
    assert not content["preprocess"]["resized"]


def test_limit_takes_images_evenly_spaced(model: Path) -> None:
    pixels, labels, test = networks.digits()
    chosen = test[[index * 360 // 50 for index in range(50)]]
    result = evaluate(model, open_dataset("digits"), against=MICRO, limit=50)
    assert numbers(result.counts) == expected(model, pixels[chosen], labels[chosen])


@given(st.lists(st.lists(st.integers(-3, 3), min_size=6, max_size=6), min_size=1, max_size=8), st.data())
def test_ranks_are_places_in_a_stable_order(rows: list[list[int]], data: st.DataObject) -> None:
    logits = np.array(rows)
    labels = np.array(data.draw(st.lists(st.integers(0, 5), min_size=len(rows), max_size=len(rows))))
    order = np.argsort(-logits, axis=1, kind="stable")
    assert ranks(logits, labels).tolist() == [list(row).index(label) for row, label in zip(order, labels, strict=True)]


def photos(folder: Path, count: int, *, by_class: bool = True) -> tuple[list[Path], list[int]]:
    """Digits of 40 x 48 pixels, in one folder per class or all in one; paths and labels in the order of a folder's."""
    pixels, labels, test = networks.digits()
    found = []
    for number, index in enumerate(test[:count]):
        name = f"{labels[index]}/{number:03}.png" if by_class else f"{number:03}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[index].transpose(1, 2, 0)).resize((40, 48)).save(folder / name)
        found.append((folder / name, int(labels[index])))
    found.sort()
    return [path for path, _ in found], [label for _, label in found]


def test_folder_is_prepared_as_the_metadata_says(model: Path, tmp_path: Path) -> None:
    files, labels = photos(tmp_path / "val", 60)
    preprocess = Preprocess(32, **NORMALISATION)
    pixels = np.stack([read_pixels(file, preprocess) for file in files])
    result = evaluate(model, open_dataset(str(tmp_path)), against=MICRO)
    assert numbers(result.counts) == expected(model, pixels, np.array(labels))
    assert not result.whole


def test_counts_of_one_choice_say_so() -> None:
    counts = Counts()
    counts.add(np.array([0, 1, 2]), np.array([[5, 1, 1]] * 3), None)
    assert counts.notes() == ["the model chose one class for all 3 images"]
    assert Counts.from_json(json.loads(json.dumps(counts.to_json()))) == counts


class Counted(ImageDataset):
    """Grey images that know how often they were asked for."""

    def __init__(self, broken: int | None = None) -> None:
        self.asked, self.broken, self.classes = 0, broken, ["a"]

    def __len__(self) -> int:
        return 1000

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        self.asked += 1
        if index == self.broken:
            raise ImageError("broken")
        return Image.new("RGB", (40, 40), (index % 256, 0, 0)), 0

    def contents(self) -> list[str]:
        return []


def test_one_class_is_said_to_be_one(model: Path) -> None:
    """Labels of one class, and a model that chooses one class, give an accuracy that says little."""
    data = Counted()
    data.classes = ["0"]
    result = evaluate(model, data, limit=4)
    content = result.to_json()
    assert (content["labels"], content["classes_chosen"]) == (1, len(result.counts.chosen))
    assert "all 4 images are of one class: the accuracy says nothing of others" in content["notes"]
    assert ("the model chose one class for all 4 images" in content["notes"]) == (content["classes_chosen"] == 1)
    several = evaluate(model, open_dataset("digits"), limit=50).to_json()
    assert (several["labels"], several["classes_chosen"]) == (10, 10)
    assert not any("one class" in note for note in several["notes"])


def test_reading_ahead_keeps_order_and_bounds() -> None:
    data = Counted()
    batches = load_batches(data, Preprocess(32), range(100, 200), 8, 4)
    first, labels = next(batches)
    assert first[:, 0, 0, 0].tolist() == list(range(100, 108))
    assert labels.tolist() == [0] * 8
    time.sleep(0.1)
    assert data.asked <= 24
    rest = np.concatenate([pixels for pixels, _ in batches])[:, 0, 0, 0]
    assert rest.tolist() == list(range(108, 200))
    with pytest.raises(ImageError, match="broken"):
        list(load_batches(Counted(broken=150), Preprocess(32), range(100, 200), 8, 4))


def test_a_killed_run_goes_on_to_the_same_numbers(model: Path, tmp_path: Path) -> None:
    """Killed in the middle of the 1437 training images, which the function bodies take one by one."""
    state = tmp_path / "state.json"
    options = ("--data", "digits", "--split", "train", "--against", MICRO, "--state", state, "--threads", "1")
    slow = ("--no-kernels", "--batch-size", "1")
    start = "import sys; from ivit_onnx.cli import eval_main as main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", start, str(model), *map(str, options), *slow]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 200
        while not state.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, "the run ended before it was killed"
    kept = json.loads(state.read_text())["counts"]["images"]
    assert 0 < kept < 1437
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".tmp") == ["state.json"]

    done = installed("eval", model, *options, "--json")
    assert (done.status, done.err) == (0, "")
    resumed = json.loads(done.out)
    assert resumed["resumed_images"] == kept
    whole = evaluate(model, open_dataset("digits", "train"), against=MICRO, threads=1).to_json()
    for name in ("images", "agreement", "lost", "gained"):
        assert resumed[name] == whole[name]
    for name in ("integer", "float"):
        assert [resumed[name][top] for top in ("top1", "top5")] == [whole[name][top] for top in ("top1", "top5")]
    again = evaluate(model, open_dataset("digits", "train"), against=MICRO, threads=1, state=state)
    assert again.resumed == again.counts.images == 1437
    assert again.to_json()["integer"]["top1"] == whole["integer"]["top1"]


def test_state_of_something_else_is_refused(model: Path, tmp_path: Path) -> None:
    state, digits = tmp_path / "state.json", open_dataset("digits")
    evaluate(model, digits, limit=20, state=state)
    before = state.read_bytes()
    with pytest.raises(IvitError, match="expected the same images"):
        evaluate(model, digits, limit=30, state=state)
    with pytest.raises(IvitError, match="expected the same data and images"):
        evaluate(model, open_dataset("digits", "train"), state=state)
    with pytest.raises(IvitError, match="expected the same float network"):
        evaluate(model, digits, limit=20, against=MICRO, state=state)
    other = tmp_path / "other.onnx"
    export(MICRO, other, calib=networks.digits()[0][:8], num_heads=2, **NORMALISATION)
    with pytest.raises(IvitError, match="expected the same model;"):
        evaluate(other, digits, limit=20, state=state)
    assert state.read_bytes() == before


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": "ivit-eval 2", "identity": {}, "counts": {}}', '{"format": "other"}', "\udcff"],
)
def test_damaged_state_is_refused(model: Path, tmp_path: Path, text: str) -> None:
    state = tmp_path / "state.json"
    state.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(IvitError, match="is not the state of an evaluation"):
        evaluate(model, open_dataset("digits"), limit=4, state=state)
    state.unlink()
    evaluate(model, open_dataset("digits"), limit=4, state=state)
    content = json.loads(state.read_text())
    content["counts"]["images"] = -1
    state.write_text(json.dumps(content))
    with pytest.raises(IvitError, match="images is -1"):
        evaluate(model, open_dataset("digits"), limit=4, state=state)


@pytest.mark.parametrize(
    "line", ["{stem}.png {label}", "val/{stem}.JPEG\t{label}", "{stem},{name} 1 2 3 4", "{stem}.png {name}"]
)
def test_files_of_labels(model: Path, tmp_path: Path, line: str) -> None:
    files, _ = photos(tmp_path / "flat", 40, by_class=False)
    _, labels, test = networks.digits()
    given = [int(label) for label in labels[test[:40]]]
    lines = [
        line.format(stem=file.stem, label=label, name=f"n{label}") for file, label in zip(files, given, strict=True)
    ]
    header = ["ImageId,PredictionString"] if "," in line else []
    (tmp_path / "labels.txt").write_text("\n".join(header + lines[::-1]) + "\n")
    data = open_dataset(str(tmp_path / "flat"), labels=tmp_path / "labels.txt")
    assert [data[index][1] for index in range(40)] == given
    assert data.classes == [f"n{digit}" if "name" in line else str(digit) for digit in range(10)]
    assert evaluate(model, data).counts.images == 40


def test_part_of_the_classes_in_another_order(model: Path, tmp_path: Path) -> None:
    files, labels = photos(tmp_path / "val", 60)
    for digit in (0, 3, 4):
        for file in (tmp_path / "val" / str(digit)).iterdir():
            file.unlink()
        (tmp_path / "val" / str(digit)).rmdir()
    names = dict(enumerate(("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")))
    for digit, name in names.items():
        if (tmp_path / "val" / str(digit)).exists():
            (tmp_path / "val" / str(digit)).rename(tmp_path / "val" / name)
    (tmp_path / "classes.txt").write_text("".join(f"{name} and more\n" for name in names.values()))
    with pytest.raises(ModelError, match="has 10 classes, the data 7, from 'eight': name the model's classes"):
        evaluate(model, open_dataset(str(tmp_path)))
    data = open_dataset(str(tmp_path), classes=tmp_path / "classes.txt")
    left = [(file, label) for file, label in zip(files, labels, strict=True) if label not in (0, 3, 4)]
    assert sorted(data[index][1] for index in range(len(data))) == sorted(label for _, label in left)
    result = evaluate(model, data)
    assert result.counts.images == len(left)
    assert result.counts.integer_top1 > 0.7 * len(left)


def test_bad_lists(tmp_path: Path) -> None:
    photos(tmp_path / "flat", 3, by_class=False)
    labels = tmp_path / "labels.txt"
    for text, message in [
        ("1\n2\n3\n", "devkit's ground truth"),
        ("000.png 1\n001.png 1\n", "has no label for 1 of 3 images in .*, the first is 002.png"),
        ("000.png 1\n000.png 2\n", "line 2: 000.png has another label before, 1"),
        ("000.png 1\n001.png\n", "line 2: expected an image and its label"),
    ]:
        labels.write_text(text)
        with pytest.raises(ImageError, match=message):
            open_dataset(str(tmp_path / "flat"), labels=labels)
    with pytest.raises(ImageError, match="cannot read"):
        open_dataset(str(tmp_path / "flat"), labels=tmp_path / "none.txt")
    with pytest.raises(ImageError, match=r"found no folders; .*--labels"):
        open_dataset(str(tmp_path / "flat"))
    with pytest.raises(ImageError, match="belongs to a folder"):
        open_dataset("digits", labels=labels)
    with pytest.raises(ImageError, match="columns belong to"):
        open_dataset("digits", label_column="label")
    for text, message in [("a\nb\na\n", "found a"), ("\n", "found none"), ("0\n1\n", "8 of 10 classes are not in")]:
        labels.write_text(text)
        with pytest.raises(ImageError, match=message):
            open_dataset("digits", classes=labels)


def hugging_face(datasets: Any, *, named: bool) -> Any:
    """The first 60 test digits as a data set of Hugging Face."""
    pixels, labels, test = networks.digits()
    kind = datasets.ClassLabel(names=[str(digit) for digit in range(10)]) if named else datasets.Value("int64")
    features = datasets.Features({"id": datasets.Value("string"), "img": datasets.Image(), "digit": kind})
    rows = {
        "id": [str(number) for number in range(60)],
        "img": [Image.fromarray(image.transpose(1, 2, 0)) for image in pixels[test[:60]]],
        "digit": [int(label) for label in labels[test[:60]]],
    }
    return datasets.Dataset.from_dict(rows, features)


@pytest.mark.parametrize("form", ["dict", "alone", "parquet", "images"])
def test_data_sets_of_hugging_face(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the datasets package")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder, columns = tmp_path / "set", {}
    if form == "dict":
        datasets.DatasetDict({"validation": hugging_face(datasets, named=True)}).save_to_disk(str(folder))
    elif form == "alone":
        hugging_face(datasets, named=False).save_to_disk(str(folder))
        columns = {"image_column": "img", "label_column": "digit"}
    elif form == "parquet":
        (folder / "data").mkdir(parents=True)
        hugging_face(datasets, named=True).to_parquet(str(folder / "data" / "validation-00000-of-00001.parquet"))
    else:
        pixels, labels, test = networks.digits()
        for number, index in enumerate(test[:60]):
            path = folder / "validation" / str(labels[index]) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[index].transpose(1, 2, 0)).save(path)
    data = open_dataset(f"hf:{folder}", **columns)
    preprocess = Preprocess(32, **NORMALISATION)
    pixels = np.stack([read_pixels(data[index][0], preprocess) for index in range(60)])
    labels = np.array([data[index][1] for index in range(60)])
    assert numbers(evaluate(model, data, against=MICRO).counts) == expected(model, pixels, labels)
    _, digits, test = networks.digits()
    assert sorted(labels.tolist()) == sorted(digits[test[:60]].tolist())
    assert data.classes == [str(digit) for digit in range(10)]
    assert open_dataset(f"hf:{folder}", **columns).fingerprint() == data.fingerprint()
    with pytest.raises(ImageError, match="expected the column 'nothing' of images, found the columns"):
        open_dataset(f"hf:{folder}", image_column="nothing")


def test_mistakes_are_one_line(capsys: Capsys, model: Path, tmp_path: Path) -> None:
    def error(*arguments: str | Path) -> str:
        return call(capsys, "eval", *arguments).error()

    assert "no data set 'nowhere'" in error(model, "--data", "nowhere")
    assert "no such model file" in error(tmp_path / "no.onnx", "--data", "digits")
    assert "has 10 classes, the data 24" in error(model, "--data", "generated")
    assert "was not exported from" in error(
        model, "--data", "digits", "--against", networks.DATA / "swin_micro_timm_fp.pth"
    )
    assert "it is a folder" in error(model, "--data", "digits", "--state", tmp_path)
    assert "Missing option" in error(model)
    (tmp_path / "val" / "3").mkdir(parents=True)
    (tmp_path / "val" / "3" / "x.png").write_bytes(b"nothing")
    names = tmp_path / "classes.txt"
    names.write_text("".join(f"{digit}\n" for digit in range(10)))
    assert "x.png" in error(model, "--data", tmp_path, "--classes", names)


def test_model_without_classes(tmp_path: Path) -> None:
    checkpoint = networks.save_checkpoint(networks.timm_network(num_classes=0), tmp_path / "features.pth")
    path = tmp_path / "features.onnx"
    export(checkpoint, path, calib=networks.pixels(4), num_heads=3)
    with pytest.raises(ModelError, match="returns features, expected classes"):
        evaluate(path, open_dataset("digits"))


def test_installed_command(model: Path) -> None:
    table = installed("eval", model, "--data", "digits", "--against", MICRO, "--workers", "2")
    assert (table.status, table.err) == (0, "")
    counts = evaluate(model, open_dataset("digits"), against=MICRO).counts
    assert f"{counts.integer_top1 / 360:.2%}" in table.out
    assert f"{counts.float_top1 / 360:.2%}" in table.out
    assert "preprocessing: images of 32 x 32 as they are" in table.out
    assert f"same class for {counts.agree / 360:.2%}" in table.out


def test_integers_need_no_torch(model: Path) -> None:
    program = """
import sys
from ivit_onnx.cli import eval_main
assert eval_main([sys.argv[1], "--data", "digits", "--limit", "8", "--json"]) == 0
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program, str(model)], capture_output=True, text=True, check=True)
    content = json.loads(done.stdout)
    assert content["images"] == 8
    assert content["float"] is content["agreement"] is None
