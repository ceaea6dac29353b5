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


def sessions(model: str) -> Iterator[tuple[str, onnxruntime.InferenceSession]]:
    """The ways to run a model: function bodies, operators of the library, its execution provider."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    yield "bodies", onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    options.register_custom_ops_library(ivit_onnx.library_path())
    yield "library", onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    yield "provider", ivit_onnx.create_session(model, threads=2, provider="ivit-cpu")


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
        for name, session in sessions(str(model)):
            for batch in (len(image), 1):
                (found,) = session.run(None, {"image": image[:batch]})
                assert found.dtype == np.int32
                np.testing.assert_array_equal(found, logits[:batch], err_msg=f"{model.name}, {name}, batch {batch}")
    picture = folder / "picture.png"
    Image.fromarray(image[0].transpose(1, 2, 0)).save(picture)
    words = (str(models[-1]), str(picture))
    assert classes(*words) == classes(*words, "--device", "ivit-cpu") == classes(*words, "--no-kernels")
    print(f"onnxruntime {onnxruntime.__version__}: {len(models)} models exact")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
