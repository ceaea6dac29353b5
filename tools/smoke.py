"""Runs exported models in the environment of this Python and compares every integer; tools/matrix.py calls it.

    python tools/smoke.py FOLDER

FOLDER holds *.onnx, each beside a .npz with `image` (uint8) and `logits` (int32). Needs the wheel with its extra `cpu`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

import ivit_onnx


def sessions(model: Path) -> Iterator[tuple[str, onnxruntime.InferenceSession]]:
    """The ways to run a model: function bodies, operators of the library, its execution provider."""
    plain = onnxruntime.SessionOptions()
    yield "bodies", onnxruntime.InferenceSession(str(model), plain, providers=["CPUExecutionProvider"])
    registered = onnxruntime.SessionOptions()
    registered.register_custom_ops_library(ivit_onnx.library_path())
    yield "library", onnxruntime.InferenceSession(str(model), registered, providers=["CPUExecutionProvider"])
    for threads in (1, 2):
        yield f"threads {threads}", ivit_onnx.create_session(str(model), threads=threads)
        yield f"provider {threads}", ivit_onnx.create_session(str(model), threads=threads, provider="ivit-cpu")


def classes(*words: str) -> object:
    """What the installed program ivit-run says about one image: classes, probabilities, logits."""
    program = Path(sys.executable).with_name("ivit-run")
    done = subprocess.run([str(program), *words, "--json"], check=True, capture_output=True, text=True)
    (image,) = json.loads(done.stdout)["images"]
    return image["top"]


def main(folder: Path) -> None:
    assert "site-packages" in str(ivit_onnx.__file__), f"not the installed package: {ivit_onnx.__file__}"
    models = sorted(folder.glob("*.onnx"))
    assert models, f"no *.onnx in {folder}"
    for model in models:
        with np.load(model.with_suffix(".npz")) as file:
            image, logits = file["image"], file["logits"]
        for name, session in sessions(model):
            for batch in (len(image), 1):
                (found,) = session.run(None, {"image": image[:batch]})
                assert found.dtype == np.int32
                np.testing.assert_array_equal(found, logits[:batch], err_msg=f"{model.name}, {name}, batch {batch}")
        picture = model.with_suffix(".png")
        Image.fromarray(image[0].transpose(1, 2, 0)).save(picture)
        expected = classes(str(model), str(picture), "--no-kernels")
        assert (
            classes(str(model), str(picture)) == classes(str(model), str(picture), "--device", "ivit-cpu") == expected
        )
    print(f"onnxruntime {onnxruntime.__version__}: {len(models)} models exact")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
