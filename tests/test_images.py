"""Reading, resizing and normalising images; output files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ivit_onnx.architectures import Preprocess
from ivit_onnx.errors import ExportError, ImageError, IvitError, OptionError
from ivit_onnx.files import atomic_write, check_output
from ivit_onnx.images import count_images, find_images, normalize, read_images, read_pixels

SMALL = Preprocess(32)


def pixels(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, height: int = 40, width: int = 50, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(height, width, 3, seed=seed)).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index, name in enumerate(["b.png", "a.jpg", "sub/c.bmp", "sub/deeper/d.webp", "e.JPEG"]):
        save(tmp_path / "photos" / name, seed=index)
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    (tmp_path / "photos" / ".hidden.png").write_text("no image")
    return tmp_path / "photos"


def test_folder_is_recursive_sorted_and_normalised(folder: Path) -> None:
    assert [path.name for path in find_images(folder)] == ["a.jpg", "b.png", "e.JPEG", "c.bmp", "d.webp"]
    images = list(read_images(folder, SMALL))
    assert len(images) == count_images(folder) == 5
    assert all(image.shape == (3, 32, 32) and image.dtype == np.float32 for image in images)
    np.testing.assert_array_equal(images[1], normalize(read_pixels(folder / "b.png", SMALL), SMALL))


def test_limit_takes_evenly_spaced_images(folder: Path) -> None:
    every = list(read_images(folder, SMALL))
    some = list(read_images(str(folder), SMALL, limit=2))
    assert len(some) == count_images(folder, 2) == 2
    np.testing.assert_array_equal(some, [every[0], every[2]])
    assert len(list(read_images(folder, SMALL, limit=99))) == count_images(folder, 99) == 5


def test_folder_is_read_lazily(folder: Path) -> None:
    (folder / "z.png").write_bytes(b"broken")
    reader = read_images(folder, SMALL)
    for _ in range(3):
        next(reader)


@pytest.mark.parametrize("size", [(40, 50), (50, 40), (32, 32), (35, 35), (300, 31), (7, 9), (400, 500)])
@pytest.mark.parametrize("crop", [0.9, 1.0, 0.875])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_pixels_are_those_of_timm(size: tuple[int, int], crop: float, interpolation: str) -> None:
    data = pytest.importorskip("timm.data", reason="timm is not installed")
    image = Image.fromarray(pixels(*size, 3))
    preprocess = Preprocess(32, crop, interpolation)
    transform = data.create_transform((3, 32, 32), crop_pct=crop, interpolation=interpolation, normalize=False)
    ours = read_pixels(image, preprocess)
    np.testing.assert_array_equal(ours, transform(image).numpy())
    transform = data.create_transform((3, 32, 32), crop_pct=crop, interpolation=interpolation)
    np.testing.assert_allclose(normalize(ours, preprocess), transform(image).numpy(), rtol=0, atol=1e-6)


def test_modes_become_rgb(tmp_path: Path) -> None:
    for mode in ("L", "RGBA", "P", "1", "CMYK"):
        image = Image.fromarray(pixels(40, 40, 3)).convert(mode)
        path = tmp_path / f"{mode}.{'jpg' if mode == 'CMYK' else 'png'}"
        image.save(path)
        assert read_pixels(path, SMALL).shape == (3, 32, 32)


@pytest.mark.parametrize("shape", [(4, 3, 32, 32), (4, 32, 32, 3), (3, 32, 32), (32, 32, 3), (4, 1, 32, 32)])
@pytest.mark.parametrize("suffix", [".npz", ".npy", ""])
def test_uint8_arrays(tmp_path: Path, shape: tuple[int, ...], suffix: str) -> None:
    array = pixels(*shape)
    source: Any = array
    if suffix == ".npz":
        source = tmp_path / "images.npz"
        np.savez(source, images=array, labels=np.zeros(4))
    elif suffix == ".npy":
        source = tmp_path / "images.npy"
        np.save(source, array)
    images = np.stack(list(read_images(source, SMALL)))
    batch = array if array.ndim == 4 else array[None]
    batch = batch if batch.shape[1] in (1, 3) else batch.transpose(0, 3, 1, 2)
    assert count_images(source) == len(batch)
    np.testing.assert_array_equal(images, normalize(np.broadcast_to(batch, (len(batch), 3, 32, 32)), SMALL))


def test_uint8_of_another_size_is_resized_like_a_file(tmp_path: Path) -> None:
    array = pixels(2, 40, 50, 3)
    np.testing.assert_array_equal(
        list(read_images(array, SMALL)),
        [normalize(read_pixels(Image.fromarray(image), SMALL), SMALL) for image in array],
    )


@pytest.mark.parametrize(("shape", "last"), [((1, 3, 32, 3), False), ((1, 1, 9, 3), False), ((1, 3, 3, 3), True)])
def test_ambiguous_layouts(shape: tuple[int, ...], last: bool) -> None:
    preprocess = Preprocess(3) if last else SMALL
    assert len(list(read_images(pixels(*shape), preprocess))) == 1


def test_float_arrays(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(6, 3, 32, 32))
    np.testing.assert_array_equal(list(read_images(array, SMALL)), array.astype(np.float32))
    np.testing.assert_array_equal(list(read_images(array, SMALL, limit=3)), array[::2].astype(np.float32))
    np.testing.assert_array_equal(list(read_images(array[0], SMALL)), array[:1].astype(np.float32))


def test_iterables(tmp_path: Path) -> None:
    photo = save(tmp_path / "photo.png")
    batch = pixels(2, 3, 32, 32)
    entries = [batch, (batch, np.zeros(2)), photo, str(photo), Image.open(photo), batch[0], normalize(batch, SMALL)]
    images = list(read_images(iter(entries), SMALL))
    assert len(images) == 2 + 2 + 1 + 1 + 1 + 1 + 2
    np.testing.assert_array_equal(images[0], images[-2])
    assert len(list(read_images(entries, SMALL, limit=3))) == 3
    assert count_images(iter(entries)) is None


def test_tensors() -> None:
    torch = pytest.importorskip("torch", reason="the export extra is not installed")
    batch = torch.zeros(2, 3, 32, 32, requires_grad=True)
    assert len(list(read_images([(batch, torch.zeros(2))], SMALL))) == 2


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (np.zeros((2, 3, 30, 32), np.float32), r"expected normalised images \[N, 3, 32, 32\], found shape"),
        (np.zeros((2, 32, 32, 3), np.float32), "expected normalised images"),
        (np.full((1, 3, 32, 32), np.nan, np.float32), "image 0 has NaN"),
        (np.zeros((2, 5, 32, 32), np.uint8), "expected pixels"),
        (np.zeros((0, 3, 32, 32), np.uint8), "found shape"),
        (np.zeros((32, 32), np.uint8), "found shape"),
        (np.zeros((1, 3, 32, 32), np.int64), "found int64"),
        (np.zeros((1, 3, 1, 3200), np.uint8), "a strip of 3200 x 1 pixels"),
        ([], "the iterable is empty"),
        ([object()], "item 0"),
        ([np.zeros((3, 5, 5), np.float32)], "item 0"),
        (3, "found int"),
    ],
)
def test_bad_arrays(source: Any, expected: str) -> None:
    with pytest.raises(ImageError, match=expected) as error:
        list(read_images(source, SMALL))
    assert "\n" not in str(error.value)


def test_bad_files(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "broken.png").write_bytes(b"no image at all")
    whole = save(tmp_path / "whole.png", 200, 200).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 broken")
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY broken")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", images=np.array([{}], object))
    for name, expected in {
        "none": "no images in",
        "nowhere": "does not exist",
        "nowhere.npz": "does not exist",
        "broken.png": "cannot read image",
        "cut.png": "cannot read image",
        "broken.npz": "cannot read",
        "broken.npy": "cannot read",
        "other.npz": "has no key `images`, found: x",
        "objects.npy": "cannot read",
        "objects.npz": "cannot read",
    }.items():
        with pytest.raises(ImageError, match=expected) as error:
            list(read_images(tmp_path / name, SMALL))
        assert "\n" not in str(error.value)
    with pytest.raises(OptionError, match="limit: expected an integer in 1"):
        list(read_images(np.zeros((1, 3, 32, 32), np.float32), SMALL, limit=0))


def test_preprocess_round_trip_and_limits() -> None:
    preprocess = Preprocess(224, 0.9, "bilinear", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert Preprocess.from_json(preprocess.to_json()) == preprocess
    assert preprocess.resize == (248, 248)
    assert preprocess.to_json()["layout"] == "NCHW"
    for change in ({"size": 0}, {"crop": 0}, {"crop": 1.5}, {"std": [0, 1, 1]}, {"mean": [1]}, {"interpolation": "x"}):
        with pytest.raises(IvitError):
            Preprocess.from_json({**preprocess.to_json(), **change})
    with pytest.raises(IvitError, match="damaged"):
        Preprocess.from_json({})


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_atomic_write(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "model.onnx") as target:
        target.write_text("one")
        assert not (tmp_path / "model.onnx").exists()
    assert contents(tmp_path) == {"model.onnx": "one"}
    with pytest.raises(ExportError, match=r"exists; pass --force"), atomic_write(tmp_path / "model.onnx"):
        pass
    with atomic_write(tmp_path / "model.onnx", force=True) as target:
        target.write_text("two")
    assert contents(tmp_path) == {"model.onnx": "two"}


def test_atomic_write_with_companion(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with atomic_write(path) as target:
        target.write_text("one")
        target.with_name("model.onnx.data").write_text("weights")
    assert contents(tmp_path) == {"model.onnx": "one", "model.onnx.data": "weights"}
    with atomic_write(path, force=True) as target:
        target.write_text("two")
        target.with_name("model.onnx.data").write_text("other weights")
    assert contents(tmp_path) == {"model.onnx": "two", "model.onnx.data": "other weights"}
    with atomic_write(path, force=True) as target:
        target.write_text("three")
    assert contents(tmp_path) == {"model.onnx": "three"}


def write_pair(path: Path) -> None:
    with atomic_write(path) as target:
        target.write_text("one")
        target.with_name("model.onnx.data").write_text("weights")


def write_half(path: Path, error: type[BaseException]) -> None:
    with atomic_write(path, force=True) as target:
        target.write_text("half")
        raise error


def test_a_companion_of_others_is_kept(tmp_path: Path) -> None:
    (tmp_path / "model.onnx.data").write_text("mine")
    with pytest.raises(ExportError, match=r"model\.onnx\.data exists"):
        write_pair(tmp_path / "model.onnx")
    assert contents(tmp_path) == {"model.onnx.data": "mine"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_after_an_exception(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "old.onnx").write_text("old")
    for name in ("new.onnx", "old.onnx"):
        with pytest.raises(error):
            write_half(tmp_path / name, error)
    assert contents(tmp_path) == {"old.onnx": "old"}


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="nothing was written"), atomic_write(tmp_path / "a.onnx"):
        pass
    assert contents(tmp_path) == {}


def test_unwritable_outputs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path, expected in {
        tmp_path: "is a folder",
        tmp_path / "missing" / "a.onnx": "does not exist",
        tmp_path / "file" / "a.onnx": "cannot write",
        Path("/proc/a.onnx"): "cannot write",
        Path(os.devnull): "not a regular file",
    }.items():
        for force in (False, True):
            with pytest.raises(ExportError, match=expected) as error:
                check_output(path, force=force)
            assert "\n" not in str(error.value)
    assert contents(tmp_path) == {"file": "x"}
