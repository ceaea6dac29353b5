"""No file keeps a reader busy for ever, or takes more memory than it may: what it asks for is counted first.

Every case is read with 400 MB and a minute of processor time; without the budgets these need gigabytes, or never end.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bombs import CHECKPOINTS, IMAGES, TEXTS
from commands import MICRO
from ivit_onnx.api import export
from ivit_onnx.architectures import Preprocess
from ivit_onnx.arrays import open_npz
from ivit_onnx.budgets import ALL_BUDGETS, DEPTH, FIELDS, NODES, OverBudgetError, check_depth, inflated
from ivit_onnx.checkpoints import load_checkpoint
from ivit_onnx.checkpoints.opening import open_source
from ivit_onnx.checkpoints.restricted import restricted_load
from ivit_onnx.checkpoints.source import Choice
from ivit_onnx.datasets import open_dataset
from ivit_onnx.datasets.order import natural_key
from ivit_onnx.decoding import find_images, open_rgb, remarks_of
from ivit_onnx.errors import CheckpointError, ImageError, IvitError, ModelError
from ivit_onnx.function_calls import check_calls
from ivit_onnx.images import read_images
from ivit_onnx.protobuf_fields import count_fields
from model_bombs import GRAPHS, METADATA, SPECIAL, chain, model, sparse_file
from networks import timm_network

#: Readers, the name that a file has to have for them, and whether a folder there is something that they read.
FILES = {
    "graph": ("model.onnx", False),
    "weights": ("model.onnx", False),
    "metadata": ("model.onnx", False),
    "verify": ("model.onnx", False),
    "session": ("model.onnx", False),
    "twin": ("model.onnx", False),
    "checkpoint": ("model.pth", True),
    "cache": ("cache", False),
    "image": ("image.png", False),
    "images": ("image.npz", True),
    "count": ("image.npy", True),
    "labels": ("labels.json", False),
    "classes": ("classes.txt", False),
    "dataset": ("labels.txt", False),
    "state": ("state.json", False),
    "training": ("state.pt", False),
    "metrics": ("metrics.csv", False),
}
#: Readers that say it in other words: an evaluation could not write its state there either.
WORDS = {"verify": "status 2", "state": "not a regular file|it is a link|is a folder|is not the state of an evaluation"}


def read(groups: list[dict[str, tuple[str, Path]]]) -> dict[str, dict[str, Any]]:
    """What becomes of files, each by a reader of tests/limited.py. Those of a group are read by one process."""
    done = subprocess.run(
        [sys.executable, "-P", str(Path(__file__).with_name("limited.py"))],
        input=json.dumps([{name: (reader, str(path)) for name, (reader, path) in g.items()} for g in groups]),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict[str, Any], str]]:
    """What became of every file, and what was expected to be said, by name."""
    groups: dict[str, dict[str, tuple[str, Path]]] = {}
    expected: dict[str, str] = {}

    def add(name: str, reader: str, path: Path, pattern: str, group: str = "") -> None:
        groups.setdefault(group or name, {})[name], expected[name] = (reader, path), WORDS.get(reader, pattern)

    def place(file: str) -> Path:
        folder = tmp_path_factory.mktemp("case")
        (folder / "images").mkdir()
        (folder / "images" / "a.png").touch()
        return folder / file

    for name, write in GRAPHS.items():
        path = place("model.onnx")
        pattern = write(path)
        add(f"graph {name}", "graph", path, pattern)
        if name in ("uncalled", "fields", "pipe"):
            add(f"verify {name}", "verify", path, pattern)
    whole = place("model.onnx")
    export(MICRO, whole, calib_preset="fast", calib_images=2, num_heads=2, mean=[0.3] * 3, std=[0.4] * 3)
    for name, (change, readers, pattern) in METADATA.items():
        path = place("model.onnx")
        shutil.copy(whole, path)
        shutil.copy(MICRO, path.with_name("checkpoint"))
        change(path)
        for reader in readers:
            add(f"{reader} {name}", reader, path, pattern)
    for kind, reader in (("checkpoint", "checkpoint"), ("images", "images"), ("labels", "labels")):
        for file, write in {"checkpoint": CHECKPOINTS, "images": IMAGES, "labels": TEXTS}[kind].items():
            path = place(file)
            add(f"{reader} {file}", reader, path, write(path))
    for reader, (file, folders) in FILES.items():
        for kind, (make, words) in SPECIAL.items():
            if kind == "folder" and folders:
                continue
            path = place(file)
            make(path)
            add(f"{reader} {kind}", reader, path, words, reader)
        if reader not in ("count", "session", "metrics"):
            path = place(file)
            sparse_file(path)
            add(f"{reader} terabyte", reader, path, "expected at most", reader)
    found = read([*groups.values()])
    return {name: (found[name], expected[name]) for name in expected}


def test_every_file_is_refused_in_one_line(results: dict[str, tuple[dict[str, Any], str]]) -> None:
    wrong = {}
    for name, (found, pattern) in results.items():
        if pattern == "status 2":
            good = found.get("read") == "2"
        else:
            text = found.get("text", "")
            good = found.get("ours", False) and re.search(pattern, text) and "\n" not in text and len(text) < 600
        if not good:
            wrong[name] = (pattern, found)
    assert not wrong, json.dumps(wrong, indent=1)


def count(message: Message) -> int:
    """Fields of a parsed message and of those in it; elements of packed numbers are not apart."""
    total = 0
    for field, value in message.ListFields():
        values = value if field.is_repeated else [value]
        total += 1 if field.is_packed else len(values)
        if field.message_type is not None:
            total += sum(count(inner) for inner in values)
    return total


def test_fields_are_counted_as_they_are_parsed() -> None:
    proto = model(functions=chain(5, onnx.helper.make_node("Add", ["x", "x"], ["y"])))
    proto.graph.initializer.append(onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [300], [0.5] * 300))
    proto.metadata_props.add(key="a" * 300, value="b")
    content = proto.SerializeToString()
    fields = count(proto)
    assert count_fields(content, proto.DESCRIPTOR, FIELDS.most) == fields
    assert count_fields(content, proto.DESCRIPTOR, 50) == 51


@given(st.binary(max_size=200))
def test_any_bytes_are_counted(content: bytes) -> None:
    assert count_fields(content, onnx.ModelProto.DESCRIPTOR, 10_000) <= len(content) * 2


def test_what_is_at_the_budget_is_within_it() -> None:
    for budget in ALL_BUDGETS:
        budget.check(budget.most)
        with pytest.raises(
            OverBudgetError, match=rf"^expected at most {budget.most:,} .*, found {budget.most + 1:,}; ."
        ):
            budget.check(budget.most + 1)
    last = onnx.helper.make_node("Add", ["x", "x"], ["y"])
    check_calls(model(functions=chain(14, last)))  # all functions, 2^16 nodes together
    with pytest.raises(ModelError, match=f"at most {NODES.most:,} nodes"):
        check_calls(model(functions=chain(17, last)))


def nested(levels: int) -> list[object]:
    found: list[object] = []
    for _ in range(levels):
        found = [found]
    return found


def test_nesting() -> None:
    check_depth(nested(DEPTH.most), "list")
    with pytest.raises(OverBudgetError, match="list: expected at most 64 levels of nesting"):
        check_depth(nested(DEPTH.most + 1), "list")


def test_damaged_compression() -> None:
    packed = zlib.compress(b"adjustments")
    assert inflated(packed, "data") == b"adjustments"
    for content in (packed[:-1], b"", b"none"):
        with pytest.raises(ValueError, match="data: "):
            inflated(content, "data")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("kind", ["<f4", ">i2", "|u1", "|V2"])
def test_arrays_are_those_of_numpy(save: Callable[..., None], kind: str, tmp_path: Path) -> None:
    given = np.arange(24, dtype="<u2").astype(kind if kind != "|V2" else "<u2").view(kind).reshape(2, 3, 4)
    arrays = {"c": given, "fortran": np.asfortranarray(given), "empty": given[:0], "scalar": given[0, 0, 0]}
    save(tmp_path / "a.npz", **arrays)
    with (tmp_path / "a.npz").open("rb") as file:
        found = open_npz(file)
        assert [*found] == [*arrays]
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)


def test_labels_of_classes_without_end(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a.png")
    for number in ("1048576", "9" * 5000):
        (tmp_path / "labels.txt").write_text(f"a.png {number}\n", encoding="utf-8")
        with pytest.raises(ImageError, match="expected at most 1,048,576 classes"):
            open_dataset(str(tmp_path / "images"), "val", labels=tmp_path / "labels.txt")
    (tmp_path / "labels.txt").write_text("a.png 1048575\n", encoding="utf-8")
    assert len(open_dataset(str(tmp_path / "images"), "val", labels=tmp_path / "labels.txt").classes) == 1 << 20
    assert natural_key("a" + "2" * 5000) < natural_key("a" + "3" * 5000) < natural_key("b")


def test_frames_are_not_read(tmp_path: Path) -> None:
    frames = [Image.new("L", (4, 4), number % 251) for number in range(2000)]
    for name in ("many.tif", "many.gif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        content = (tmp_path / name).read_bytes()
        image = open_rgb(tmp_path / name)
        assert image.getpixel((0, 0)) == (0, 0, 0)
        assert remarks_of(image) == ("only the first frame or page",)
        # What is behind the second frame is not looked at.
        (tmp_path / name).write_bytes(content[: len(content) // 2] if name.endswith("gif") else content)
        assert open_rgb(tmp_path / name).size == (4, 4)


def test_folders_that_lead_to_themselves(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "b").mkdir()
    for name in ("up", "self", "b/up", "b/other"):
        (tmp_path / name).symlink_to(tmp_path)
    assert find_images(tmp_path) == [tmp_path / "a.png"]


def test_images_are_not_enlarged_without_end() -> None:
    """The longer side of a strip grows with the shorter one."""
    strip = np.zeros((1, 3, 2, 200), np.uint8)
    with pytest.raises(ImageError, match="the resized image: expected at most 178,956,970 pixels"):
        list(read_images(strip, Preprocess(2048)))
    with pytest.raises(IvitError, match="at most 16,777,216 pixels in the images of a network"):
        Preprocess((4096, 4097))


def test_scores_without_end() -> None:
    """A position table of some megabytes stands for attention over a quarter of a million tokens."""
    tensors = dict(timm_network(embed_dim=12, depth=1).state_dict())
    width, grid = tensors["pos_embed"].shape[2], 512
    tensors["pos_embed"] = torch.zeros(1, 1 + grid * grid, width)
    with pytest.raises(CheckpointError, match=r"attention scores in a block, found 20[0-9,]*; choose a smaller"):
        load_checkpoint(tensors, heads=3)


def test_large_numbers_beside_weights() -> None:
    """Of a pickle, which has integers of any size."""
    tensors = dict(timm_network(embed_dim=12, depth=1).state_dict())
    for key in ("crop_pct", "img_size", "mean"):
        value = [10**400] * 3 if key == "mean" else 10**400
        assert open_source({"model": tensors, "args": {key: value}}, Choice()).facts.found == {}


@pytest.mark.parametrize("large", [False, True], ids=["zip", "zip64"])
def test_archives_that_readers_may_see_differently(large: bool, tmp_path: Path) -> None:
    """PyTorch's own reader gets a file only where it is sure what is in it."""
    torch.save({"weight": torch.ones(2)}, tmp_path / "saved.pth")
    plain = (tmp_path / "saved.pth").read_bytes()
    if not large:
        buffer = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(plain)) as saved, zipfile.ZipFile(buffer, "w") as archive:
            for entry in saved.infolist():
                archive.writestr(entry.filename, saved.read(entry))
        plain = buffer.getvalue()
    found = restricted_load(io.BytesIO(plain))
    assert torch.equal(found["weight"], torch.ones(2))
    for content in (plain + b"x", b"PK\x03\x04" + plain, plain[:-2] + b"\1\0" + b"x", plain + plain, plain[:-3]):
        assert restricted_load(io.BytesIO(content)) is None
    spoiled = bytearray(plain)
    spoiled[plain.index(b"weight")] ^= 1  # the checksum of the pickle is of another one
    assert restricted_load(io.BytesIO(bytes(spoiled))) is None
