"""Labelled data sets by name."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import networks
from ivit_onnx.datasets import open_dataset
from ivit_onnx.datasets.generated import FILLINGS, OUTLINES, draw
from ivit_onnx.errors import ImageError


def _write(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (5, 4), level).save(path)


def test_digits_are_those_of_the_reference_checkpoint() -> None:
    pixels, labels, test = networks.digits()
    train, val = open_dataset("digits", "train"), open_dataset("digits")
    assert len(train) == 1437
    assert len(val) == 360
    assert val.size == (32, 32)
    for place, index in enumerate(test):
        image, label = val[place]
        assert label == labels[index]
        assert np.array_equal(np.asarray(image).transpose(2, 0, 1), pixels[index])


def test_generated_images_are_repeatable_and_differ() -> None:
    assert np.array_equal(draw(5, 17), draw(5, 17))
    assert draw(5, 17).shape == (64, 64, 3)
    assert (draw(5, 17) != draw(5, 18)).any()
    images = np.stack([draw(label, 3) for label in range(len(OUTLINES) * len(FILLINGS))])
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == 24


@pytest.mark.slow
def test_generated_set_has_all_classes_alike() -> None:
    data = open_dataset("generated")
    assert len(data) == 2400
    assert data.size == (64, 64)
    assert np.bincount([data[i][1] for i in range(len(data))]).tolist() == [100] * len(data.classes)
    assert np.array_equal(np.asarray(data[30][0]), draw(30 % 24, 10_000_030))


@pytest.mark.parametrize("layout", ["train/{}", "{}"])
def test_folder_with_a_folder_for_each_class(tmp_path: Path, layout: str) -> None:
    for level, name in enumerate(["owl", "ant", "bee"]):
        for number in range(level + 1):
            _write(tmp_path / layout.format(name) / f"{number}.png", 10 * level + number)
    data = open_dataset(str(tmp_path), "train")
    assert data.classes == ["ant", "bee", "owl"]
    assert [data[i][1] for i in range(len(data))] == [0, 0, 1, 1, 1, 2]
    assert data[0][0].mode == "RGB"
    assert [np.asarray(data[i][0])[0, 0, 0] for i in range(len(data))] == [10, 11, 20, 21, 22, 0]
    assert data.size is None


def test_split_that_is_not_there(tmp_path: Path) -> None:
    _write(tmp_path / "train/a/0.png", 0)
    with pytest.raises(ImageError, match=r"expected val or validation or test in .*, found train"):
        open_dataset(str(tmp_path))


def test_unreadable_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/0.png").write_bytes(b"not an image")
    with pytest.raises(ImageError, match=r"0\.png"):
        open_dataset(str(tmp_path))[0]


@pytest.mark.parametrize("spec", ["no_such_folder", "hf:"])
def test_no_such_data_set(spec: str) -> None:
    if spec.startswith("hf:"):
        pytest.importorskip("datasets")
    with pytest.raises(ImageError, match="data set"):
        open_dataset(spec)


def test_folder_without_classes(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="found no folders"):
        open_dataset(str(tmp_path))


def test_data_set_saved_by_hugging_face(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"picture": datasets.Image(), "kind": datasets.ClassLabel(names=["no", "yes"])})
    rows = {"picture": [Image.new("RGB", (3, 3), (level, 0, 0)) for level in (1, 2, 3)], "kind": [0, 1, 1]}
    saved = datasets.DatasetDict({"validation": datasets.Dataset.from_dict(rows, features)})
    saved.save_to_disk(str(tmp_path / "set"))
    data = open_dataset(f"hf:{tmp_path / 'set'}")
    assert data.classes == ["no", "yes"]
    assert [(np.asarray(data[i][0])[0, 0, 0], data[i][1]) for i in range(3)] == [(1, 0), (2, 1), (3, 1)]
    with pytest.raises(ImageError, match="expected a split train"):
        open_dataset(f"hf:{tmp_path / 'set'}", "train")


def test_hugging_face_images_are_decoded_here(tmp_path: Path) -> None:
    """The library would give PostScript to Ghostscript."""
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a"])})
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (1, 2, 3)).save(buffer, "png")
    Image.new("RGB", (4, 4), (4, 5, 6)).save(tmp_path / "beside.png")
    images = [
        {"bytes": buffer.getvalue(), "path": None},
        {"bytes": None, "path": str(tmp_path / "beside.png")},
        {"bytes": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", "path": None},
    ]
    made = datasets.Dataset.from_dict({"image": images, "label": [0] * 3}, features=features)
    made.save_to_disk(tmp_path / "set")
    data = open_dataset(f"hf:{tmp_path / 'set'}")
    assert [data[index][0].getpixel((0, 0)) for index in range(2)] == [(1, 2, 3), (4, 5, 6)]
    with pytest.raises(ImageError, match="cannot read image 2 of the data set: expected an image in a format"):
        data[2]
