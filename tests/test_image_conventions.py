"""Images, labels and numbers as people have them: 16 bits, Exif, orders of classes, files of any editor.

Expected values are computed by numpy from the arrays that the files were written from.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ivit_onnx.architectures import Preprocess
from ivit_onnx.architectures.normalisation import check_normalisation
from ivit_onnx.class_names import read_class_names
from ivit_onnx.datasets import open_dataset
from ivit_onnx.datasets.order import order_classes
from ivit_onnx.decoding import find_images, open_rgb, remarks_of, to_rgb
from ivit_onnx.errors import ImageError, IvitError
from ivit_onnx.images import read_images, read_pixels

Array = np.ndarray[Any, Any]
WHOLE = Preprocess(32, crop_pct=1.0)


def noise(*shape: int, seed: int = 0, high: int = 256, dtype: Any = np.uint8) -> Array:
    return np.random.default_rng(seed).integers(0, high, shape, dtype=dtype)


def read(path: Path) -> Array:
    """Pixels [H, W, 3] of a file."""
    image = open_rgb(path)
    assert image.mode == "RGB"
    return np.asarray(image)


def rgb(grey: Array) -> Array:
    return np.repeat(grey[..., None], 3, axis=2)


# Depths and modes


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_of_grey_are_scaled(tmp_path: Path, suffix: str) -> None:
    values = noise(32, 32, high=65536, dtype=np.uint16)
    values[0, :4] = 0, 255, 256, 65535
    path = tmp_path / f"grey.{suffix}"
    if suffix == "pgm":
        path.write_bytes(b"P5 32 32 65535\n" + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(path)
    np.testing.assert_array_equal(read(path), rgb((values // 256).astype(np.uint8)))
    np.testing.assert_array_equal(read_pixels(path, WHOLE)[0], values // 256)
    assert remarks_of(open_rgb(path)) == ("16 bits per channel scaled to 8, 65535 is white",)


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders(tmp_path: Path, order: str) -> None:
    """A TIFF of one strip, written by hand."""
    values = noise(5, 7, high=65536, dtype=np.uint16)
    entries = [(256, 7), (257, 5), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, 5), (279, 70)]
    u2, u4 = np.dtype(f"{order}u2"), np.dtype(f"{order}u4")
    content = (b"II" if order == "<" else b"MM") + np.array(42, u2).tobytes() + np.array(78, u4).tobytes()
    content += values.astype(u2).tobytes() + np.array(len(entries), u2).tobytes()
    for tag, value in entries:
        content += np.array([tag, 4], u2).tobytes() + np.array([1, value], u4).tobytes()
    (tmp_path / "x.tif").write_bytes(content + bytes(4))
    np.testing.assert_array_equal(read(tmp_path / "x.tif"), rgb((values >> 8).astype(np.uint8)))


def test_colour_of_sixteen_bits_agrees_with_grey(tmp_path: Path) -> None:
    """A PNG of 16-bit colour, written by hand: Pillow writes none."""
    import struct
    import zlib

    values = noise(4, 6, 3, high=65536, dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 6, 4, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    (tmp_path / "colour.png").write_bytes(content)
    np.testing.assert_array_equal(read(tmp_path / "colour.png"), values >> 8)


def test_modes_have_the_colours_of_their_pixels(tmp_path: Path) -> None:
    grey, alpha, colour = noise(32, 32), noise(32, 32, seed=1), noise(32, 32, 3, seed=2)
    ink = noise(32, 32, 4, seed=3)
    palette, places = noise(16, 3, seed=4), noise(32, 32, seed=5, high=16)
    indexed = Image.fromarray(places, "P")
    indexed.putpalette(palette.tobytes())
    bits = noise(32, 32, seed=6, high=2).astype(bool)
    remaining = (255 - ink.astype(int)) / 255
    cases: dict[str, tuple[Image.Image, Array, dict[str, Any]]] = {
        "grey.png": (Image.fromarray(grey), rgb(grey), {}),
        "grey_alpha.png": (Image.fromarray(np.stack([grey, alpha], 2), "LA"), rgb(grey), {}),
        "rgba.png": (Image.fromarray(np.dstack([colour, alpha]), "RGBA"), colour, {}),
        "palette.png": (indexed, palette[places], {}),
        "transparent.png": (indexed, palette[places], {"transparency": bytes(range(0, 160, 10))}),
        "colour_key.png": (Image.fromarray(colour), colour, {"transparency": (1, 2, 3)}),
        "bits.png": (Image.fromarray(bits), rgb(bits.astype(np.uint8) * 255), {}),
        "ink.tif": (
            Image.fromarray(ink, "CMYK"),
            np.rint(255 * remaining[..., :3] * remaining[..., 3:]).astype(np.uint8),
            {},
        ),
    }
    for name, (image, expected, options) in cases.items():
        image.save(tmp_path / name, **options)
        found = read(tmp_path / name)
        # Pillow multiplies ink in integers, off by one at most.
        assert np.abs(found.astype(int) - expected.astype(int)).max() <= (1 if name == "ink.tif" else 0), name
        np.testing.assert_array_equal(found, np.asarray(Image.open(tmp_path / name).convert("RGB")), err_msg=name)
        assert remarks_of(open_rgb(tmp_path / name)) == (), name


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8), "floating-point pixels from 0 to 1: nothing says"),
        (np.full((8, 8), 70000, np.int32), "expected 8 or 16 bits per channel, found integers from 70000 to 70000"),
        (np.full((8, 8), -1, np.int32), "found integers from -1 to -1"),
        (np.full((8, 8), 255, np.uint16), "found none above 255: all would be black"),
    ],
)
def test_pixels_without_a_known_white_are_refused(tmp_path: Path, values: Array, expected: str) -> None:
    path = tmp_path / "x.tif"
    Image.fromarray(values).save(path)
    with pytest.raises(ImageError, match=expected) as error:
        open_rgb(path)
    assert str(path) in str(error.value)
    with pytest.raises(ImageError, match=expected):
        list(read_images([Image.open(path)], WHOLE))


def test_black_of_sixteen_bits_is_black(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "black.png")
    assert not read(tmp_path / "black.png").any()


def test_arrays_that_are_not_pixels_are_refused() -> None:
    with pytest.raises(ImageError, match=r"found uint16, which does not say what white is; scale .* to 0\.\.255"):
        list(read_images(noise(2, 3, 32, 32, high=65536, dtype=np.uint16), WHOLE))
    with pytest.raises(ImageError, match=r"has values from 0 to 255, normalised ones are from -2\.12 to 2\.64"):
        list(read_images(np.linspace(0, 255, 3 * 32 * 32, dtype=np.float32).reshape(1, 3, 32, 32), WHOLE))


# Exif


def upright(stored: Array, orientation: int) -> Array:
    """What the Exif standard says row 0 and column 0 of the stored pixels are, for each orientation."""
    return {
        1: stored,
        2: stored[:, ::-1],  # row 0 is the top, column 0 the right
        3: stored[::-1, ::-1],  # the bottom, the right
        4: stored[::-1],  # the bottom, the left
        5: stored.transpose(1, 0, 2),  # the left, the top
        6: np.rot90(stored, -1),  # the right, the top
        7: np.rot90(stored, 2).transpose(1, 0, 2),  # the right, the bottom
        8: np.rot90(stored, 1),  # the left, the bottom
    }[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    stored, exif, path = noise(20, 32, 3), Image.Exif(), tmp_path / f"photo.{suffix}"
    exif[0x0112] = orientation
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}.get(suffix, {})
    Image.fromarray(stored).save(path, exif=exif, **options)
    if suffix == "jpg":
        plain = tmp_path / "plain.jpg"
        Image.fromarray(stored).save(plain, **options)
        stored = np.asarray(Image.open(plain))
    expected = upright(stored, orientation)
    np.testing.assert_array_equal(read(path), expected)
    assert remarks_of(open_rgb(path)) == (() if orientation == 1 else ("turned upright by the Exif orientation",))
    # Not turned a second time, and an image in memory is turned as its file.
    np.testing.assert_array_equal(np.asarray(to_rgb(open_rgb(path))), expected)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(np.asarray(to_rgb(opened)), expected)
        np.testing.assert_array_equal(read_pixels(opened, WHOLE), read_pixels(Image.fromarray(expected), WHOLE))


def test_orientation_of_sixteen_bits(tmp_path: Path) -> None:
    values, exif = noise(4, 6, high=65536, dtype=np.uint16), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(values).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(read(tmp_path / "x.png")[..., 0], np.rot90(values >> 8, -1))
    assert len(remarks_of(open_rgb(tmp_path / "x.png"))) == 2


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_damaged_orientation_is_none(tmp_path: Path, value: int) -> None:
    pixels, exif = noise(4, 6, 3), Image.Exif()
    exif[0x0112] = value
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(read(tmp_path / "x.png"), pixels)
    Image.fromarray(pixels).save(tmp_path / "y.png", exif=b"Exif\0\0not Exif at all")
    np.testing.assert_array_equal(read(tmp_path / "y.png"), pixels)


# Frames, damaged files, folders


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_first_frame_of_several(tmp_path: Path, suffix: str) -> None:
    levels = [np.full((8, 8, 3), level, np.uint8) for level in (40, 200)]
    first, second = (Image.fromarray(level) for level in levels)
    options = {"lossless": True} if suffix == "webp" else {}
    first.save(tmp_path / f"x.{suffix}", save_all=True, append_images=[second], **options)
    np.testing.assert_array_equal(read(tmp_path / f"x.{suffix}"), levels[0])
    assert remarks_of(open_rgb(tmp_path / f"x.{suffix}")) == ("only the first frame or page",)


def test_files_that_are_no_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(noise(64, 64, 3)).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "page.jpg").write_text("<html>not found</html>")
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    for name, expected in {
        "cut.jpg": "image file is truncated",
        "empty.jpg": "the file is empty",
        "page.jpg": "found a file that begins with b'<html>",
        "phone.heic": "Pillow does not read HEIC; convert it",
        "folder.jpg": "is a folder",
        "link.jpg": "does not exist",
        "pipe.jpg": "expected a regular file, found a named pipe",
    }.items():
        with pytest.raises(ImageError, match=expected) as error:
            open_rgb(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageError, match=r"whole\.jpg: expected at most 2,000 pixels, found more"):
        open_rgb(tmp_path / "whole.jpg")


def test_what_a_folder_is_searched_for(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for name in ["b.PNG", "a/c.Jpeg", ".hidden/d.png", "__MACOSX/e.png", "@eaDir/f.png", "g.heic", "h.avif"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    for name in ["._b.PNG", "Thumbs.db", "notes.txt", ".DS_Store"]:
        (root / name).touch()
    (root / "a" / "loop").symlink_to(root, target_is_directory=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "i.png").touch()
    (root / "linked").symlink_to(elsewhere, target_is_directory=True)
    found = [str(path.relative_to(root)) for path in find_images(root)]
    assert found == sorted(["a/c.Jpeg", "b.PNG", "g.heic", "h.avif", "linked/i.png"])


def test_unreadable_files_of_a_folder(tmp_path: Path) -> None:
    Image.fromarray(noise(32, 32, 3)).save(tmp_path / "b.png")
    (tmp_path / "a.png").write_bytes(b"broken")
    (tmp_path / "c.png").touch()
    unreadable: list[str] = []
    assert len(list(read_images(tmp_path, WHOLE, unreadable=unreadable))) == 1
    assert [("a.png" in text, "c.png" in text) for text in unreadable] == [(True, False), (False, True)]
    with pytest.raises(ImageError, match=r"cannot read image .*a\.png"):
        list(read_images(tmp_path, WHOLE))
    (tmp_path / "b.png").unlink()
    with pytest.raises(ImageError, match=r"none of 2 images in .* can be read, the last: .*c\.png"):
        list(read_images(tmp_path, WHOLE, unreadable=[]))


# The order of classes


def test_classes_are_in_natural_order(tmp_path: Path) -> None:
    for number in range(1, 11):
        (tmp_path / str(number)).mkdir()
        Image.new("L", (4, 4), number).save(tmp_path / str(number) / "x.png")
    data = open_dataset(str(tmp_path))
    assert data.classes == [str(number) for number in range(1, 11)]
    assert [np.asarray(data[index][0])[0, 0, 0] - 1 for index in range(10)] == [data[i][1] for i in range(10)]
    assert data.order_note is not None
    assert "as timm does it: class 1 is '2'" in data.order_note
    assert "as torchvision does it, it would be '10' (--class-order)" in data.order_note
    text = open_dataset(str(tmp_path), class_order="text")
    assert text.classes == ["1", "10", *(str(number) for number in range(2, 10))]
    assert text.order_note is not None
    assert text.fingerprint() != data.fingerprint()
    (tmp_path.parent / "map.txt").write_text("".join(f"{number}\n" for number in range(10, 0, -1)))
    mapped = open_dataset(str(tmp_path), classes=tmp_path.parent / "map.txt")
    assert (mapped.order_note, mapped[0][1]) == (None, 9)
    for arguments in ({"spec": str(tmp_path), "classes": tmp_path.parent / "map.txt"}, {"spec": "digits"}):
        with pytest.raises(ImageError, match="an order of classes belongs to a folder"):
            open_dataset(**arguments, class_order="text")
    with pytest.raises(ImageError, match="expected a class order of natural, text, found 'size'"):
        open_dataset(str(tmp_path), class_order="size")  # type: ignore[arg-type]


def test_orders_that_agree_are_not_said(tmp_path: Path) -> None:
    for name in ("ant", "bee", "n02"):
        (tmp_path / name).mkdir()
        Image.new("L", (4, 4)).save(tmp_path / name / "x.png")
    assert open_dataset(str(tmp_path)).order_note is None


@settings(deadline=None)
@given(st.lists(st.text("aB0129_é- ", max_size=6), unique_by=lambda name: name.lower(), max_size=8))
def test_natural_order_is_that_of_timm(names: list[str]) -> None:
    timm = pytest.importorskip("timm.utils.misc", reason="timm is not installed")
    alike = {str(timm.natural_key(name)) for name in names}
    if len(alike) == len(names):  # 1 and 01 are the same to timm, in no particular order
        assert order_classes(names, "natural")[0] == sorted(names, key=timm.natural_key)
    assert order_classes(names, "natural")[0] == order_classes(names[::-1], "natural")[0]
    assert order_classes(names, "text")[0] == sorted(names)


# Files of labels

NAMES = ["tench, Tinca tinca", "garçon", "grüße"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("blank", [0, 3])
def test_labels_of_any_editor(tmp_path: Path, encoding: str, end: str, blank: int) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes((end.join(NAMES) + end * blank).encode(encoding))
    rows, note = read_class_names(path, 3)
    assert [row[-1] for row in rows] == NAMES
    assert (note is not None) == (encoding == "cp1252")
    assert note is None or "read as Windows-1252" in note


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "n01440764 tench, Tinca tinca\nn01443537 garçon\nn01484850 grüße\n"),
        ("a.txt", "2: grüße\n0: tench, Tinca tinca\n1: garçon\n"),
        ("a.txt", "{0: 'tench, Tinca tinca',\n 1: 'garçon',\n 2: 'grüße'}"),
        ("a.csv", 'id,name\n0,"tench, Tinca tinca"\n1,garçon\n2,grüße\n'),
        ("a.csv", '"tench, Tinca tinca",0\ngarçon,1\ngrüße,2\n'),
        ("a.csv", "2;grüße\n0;tench, Tinca tinca\n1;garçon\n"),
        ("a.csv", 'name\n"tench, Tinca tinca"\ngarçon\ngrüße\n'),
        ("a.tsv", "tench, Tinca tinca\ngarçon\ngrüße\n".replace("\n", "\t\n")),
        ("a.json", json.dumps(NAMES)),
        ("a.json", json.dumps({str(number): name for number, name in enumerate(NAMES)})),
        ("a.json", json.dumps({"id2label": dict(enumerate(NAMES)), "model_type": "vit"})),
        ("a.json", json.dumps({name: number for number, name in enumerate(NAMES)})),
        ("a.json", json.dumps({str(number): [f"n0{number}", name] for number, name in enumerate(NAMES)})),
    ],
)
def test_forms_of_labels(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert [row[-1] for row in read_class_names(tmp_path / name, 3)[0]] == NAMES


def test_blank_lines_count_where_the_model_needs_them(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\nthree\n\n")
    assert [row[-1] for row in read_class_names(tmp_path / "a.txt", 3)[0]] == ["one", "", "three"]
    assert [row[-1] for row in read_class_names(tmp_path / "a.txt", 2)[0]] == ["one", "three"]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", b"one\ntwo\n", "has 2 labels, the model 3 classes"),
        ("a.txt", b"\n\n", "found none"),
        ("a.txt", b"\x00\x01\x02", "found zero bytes"),
        ("a.txt", b"{0: open('x')}", "expected an object in JSON or a dictionary"),
        ("a.csv", b"0,one\n2,two\n", "found none for class 1"),
        ("a.csv", b"0,one\n0,two\n", "found two for class 0"),
        ("a.json", b'{"cat": "one"}', "found the key 'cat'"),
        ("a.json", b"[null]", "expected the name of a class"),
    ],
)
def test_bad_labels(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(IvitError, match=expected) as error:
        read_class_names(tmp_path / name, 3)
    assert "\n" not in str(error.value)


def labelled(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        Image.new("L", (4, 4)).save(folder / name)
    return folder


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("filename,label\na 1.png,fire truck\nb.png,fire engine\n", ["fire engine", "fire truck"]),
        ("a 1.png\tfire truck\nb.png\tfire engine\n", ["fire engine", "fire truck"]),
        ("ImageId,PredictionString\na 1,n2 1 2 3 4 n2 5 6 7 8\nb,n1 1 2 3 4\n", ["n1", "n2"]),
        ("a 1.png,class10\nb.png,class9\n", ["class9", "class10"]),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_labels_of_images(tmp_path: Path, text: str, classes: list[str], encoding: str) -> None:
    folder = labelled(tmp_path / "flat", "a 1.png", "b.png")
    (tmp_path / "labels.csv").write_text(text.replace("\n", "\r\n"), encoding=encoding)
    data = open_dataset(str(folder), labels=tmp_path / "labels.csv")
    assert data.classes == classes
    assert [data[0][1], data[1][1]] == [1, 0]
    assert (data.order_note is not None) == ("class10" in text)


def test_classes_with_blanks_and_in_json(tmp_path: Path) -> None:
    for name in ("fire truck", "fire engine"):
        labelled(tmp_path / "val", *())
        labelled(tmp_path / "val" / name, "x.png")
    (tmp_path / "classes.txt").write_text("fire truck\ncat\nfire engine\n")
    (tmp_path / "classes.json").write_text(json.dumps({"fire truck": 0, "cat": 1, "fire engine": 2}))
    for name in ("classes.txt", "classes.json"):
        data = open_dataset(str(tmp_path), classes=tmp_path / name)
        assert data.classes == ["fire truck", "cat", "fire engine"]
        assert [data[0][1], data[1][1]] == [2, 0]


# Normalisation


@pytest.mark.parametrize(
    ("mean", "std", "expected"),
    [
        ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225"),
        ((127.5,) * 3, None, "pass --mean 0.5,0.5,0.5"),
        ((0.0,) * 3, (255.0,) * 3, "pass --mean 0,0,0 --std 1,1,1"),
        ((104.0, 117.0, 123.0), (1.0,) * 3, "--mean 0.4078,0.4588,0.4824 --std 0.003922,0.003922,0.003922"),
        ((124.0, 116.0, 104.0), (0.229, 0.224, 0.225), "--mean 0.4863,0.4549,0.4078 --std 0.229,0.224,0.225"),
        ((0.5,) * 3, (0.001,) * 3, "--std expects numbers from 0.0039 to 1"),
        ((50.0,) * 3, (0.001,) * 3, "--mean expects numbers from 0 to 1"),
        ((-3.0, 0.5, 0.5), None, "--mean expects numbers from 0 to 1"),
        (None, (58.395, 57.12, 57.375), "pass --std 0.229,0.224,0.225"),
    ],
)
def test_impossible_normalisations(mean: Any, std: Any, expected: str) -> None:
    with pytest.raises(IvitError) as error:
        check_normalisation(mean, std)
    assert expected in str(error.value)
    assert ("for pixels in 0..255 as these seem" in str(error.value)) == ("pass" in expected or "--std 0" in expected)


@pytest.mark.parametrize(
    ("mean", "std"),
    [((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ((0,) * 3, (1,) * 3), ((0,) * 3, (1 / 255,) * 3), (None, None)],
)
def test_usual_normalisations(mean: Any, std: Any) -> None:
    check_normalisation(mean, std)
