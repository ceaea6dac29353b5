"""What images, labels and checkpoints can ask for: spoiled files of tests/bombs.py and good ones, pipes, devices."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from bombs import CHECKPOINTS, IMAGES, TEXTS
from fuzz.file_mutations import Rng, below, spoil_bytes
from ivit_onnx.architectures import Preprocess
from ivit_onnx.class_names import read_class_names
from ivit_onnx.datasets import open_dataset
from ivit_onnx.images import count_images, read_images
from model_bombs import SPECIAL

__all__ = ["Sample", "read_images_of", "read_labels_of", "samples", "special"]

#: The kind of a file, its name's ending, its bytes.
Sample = tuple[str, str, bytes]

_FORMATS = ("png", "jpeg", "gif", "tiff", "webp", "bmp", "ppm")
_LABELS = {
    "json": json.dumps({"id2label": {str(number): f"class {number}" for number in range(9)}}),
    "txt": "".join(f"n0000000{number} class, other\n" for number in range(9)),
    "csv": "number,name\n" + "".join(f"{number},class {number}\n" for number in range(9)),
    "py": repr({number: f"class {number}" for number in range(9)}),
    "lst": "".join(f"{name}.png {number}\n" for number, name in enumerate("ab")),
}


@cache
def _bombs() -> tuple[Sample, ...]:
    """Files that ask for too much and are small: others only cost time."""
    found: list[Sample] = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, bombs in {"checkpoint": CHECKPOINTS, "images": IMAGES, "labels": TEXTS}.items():
            for name, write in bombs.items():
                write(Path(folder) / name)
                content = (Path(folder) / name).read_bytes()
                if len(content) < 4 << 20:
                    found.append((kind, name.rpartition(".")[2], content))
    return tuple(found)


def samples(folder: Path) -> list[Sample]:
    """Files that ask for too much, and good files of each kind."""
    found = [*_bombs()]
    pixels = np.random.default_rng(0).integers(0, 256, (3, 12, 10, 3), dtype=np.uint8)
    for name in _FORMATS:
        buffer = io.BytesIO()
        frames = [Image.fromarray(frame) for frame in pixels]
        more = {"save_all": True, "append_images": frames[1:]} if name in ("gif", "tiff", "webp", "png") else {}
        frames[0].save(buffer, name, **more)
        found.append(("images", name, buffer.getvalue()))
    for save, ending in ((np.savez, "npz"), (np.savez_compressed, "npz"), (np.save, "npy")):
        buffer = io.BytesIO()
        save(buffer, **({"arr": pixels} if ending == "npy" else {"images": pixels}))
        found.append(("images", ending, buffer.getvalue()))
    found += [("labels", ending, text.encode()) for ending, text in _LABELS.items()]
    (folder / "images").mkdir(exist_ok=True)
    for name in "ab":
        Image.fromarray(pixels[0]).save(folder / "images" / f"{name}.png")
    return found


def spoiled(sample: Sample, rng: Rng) -> Sample:
    """Now and then as it is, or with an ending of another kind."""
    kind, ending, content = sample
    if below(rng, 8) == 0:
        ending = ("npz", "npy", "png", "json", "txt", "lst")[below(rng, 6)]
    return kind, ending, content if below(rng, 8) == 0 else spoil_bytes(content, rng)


def special(path: Path, rng: Rng) -> None:
    """A pipe, a socket, a device or a folder."""
    make: Callable[[Path], object] = [*SPECIAL.values()][below(rng, len(SPECIAL))][0]
    make(path)


def read_images_of(path: Path) -> str:
    """Every image, in float32 of the network's size."""
    preprocess = Preprocess(16)
    count_images(path)
    for image in read_images(path, preprocess, limit=50):
        assert image.shape == (3, 16, 16)
        assert image.dtype == np.float32
        assert np.isfinite(image).all()
    return "read images"


def read_labels_of(path: Path) -> str:
    """Names of classes, or labels of the two images beside them."""
    if path.suffix == ".lst":
        data = open_dataset(str(path.parent / "images"), "val", labels=path)
        assert all(0 <= data[index][1] < len(data.classes) for index in range(len(data)))
        return "read labels"
    rows, _ = read_class_names(path)
    assert all(row and all(isinstance(name, str) for name in row) for row in rows)
    return "read labels"
