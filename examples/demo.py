"""The whole path on a small model: export, verify, run, and compare accuracy and bits. `make demo` runs this.

The checkpoint is digits_vit.pt, a vision transformer trained on handwritten digits by train_digits.py. Calibration
images come from the training split, every figure printed at the end from the test split.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from digits import CHECKPOINT, MEAN, MODEL, STD, Array, accuracy, load, normalise
from timm.models.vision_transformer import VisionTransformer

import ivit_onnx
from ivit_onnx.api import load_twin

ROOT = Path(__file__).resolve().parent.parent
CALIBRATION_IMAGES = 128
THREADS = 2


def title(text: str) -> None:
    print(f"\n== {text}", flush=True)


def command(name: str, *arguments: str | Path) -> None:
    """Runs an installed command of the package, shows it as a user would type it and stops the demo if it fails."""
    beside_python = Path(sys.executable).with_name(name)
    program = str(beside_python) if beside_python.exists() else shutil.which(name)
    if program is None:
        sys.exit(f"{name} is not installed: run `make demo`, or `pip install .[cpu,export]` first")
    print("$", shlex.join([name, *map(str, arguments)]), flush=True)
    status = subprocess.run([program, *map(str, arguments)], check=False).returncode
    if status != 0:
        sys.exit(f"{name} failed with status {status}")


def write_images(images: Array, labels: Array, folder: Path) -> list[Path]:
    """One PNG per image, named by its position and digit."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        paths.append(folder / f"{i}_is_{label}.png")
        Image.fromarray(image.transpose(1, 2, 0)).save(paths[-1])
    return paths


def float_model() -> Callable[[Array], Array]:
    """The floating-point checkpoint in timm: uint8 images to float logits."""
    model = VisionTransformer(**MODEL)
    model.load_state_dict(torch.load(CHECKPOINT, weights_only=True))
    model.eval()

    def run(images: Array) -> Array:
        with torch.inference_mode():
            return np.asarray(model(normalise(torch.from_numpy(images))))

    return run


def onnx_model(path: Path, *, kernels: bool) -> Callable[[Array], Array]:
    """The exported file in ONNX Runtime: uint8 images to int32 logits."""
    session = ivit_onnx.create_session(path, kernels=kernels, threads=THREADS)
    name = session.get_inputs()[0].name

    def run(images: Array) -> Array:
        return np.asarray(session.run(None, {name: images})[0])

    return run


def twin_model(path: Path) -> Callable[[Array], Array]:
    """The same integers in PyTorch: uint8 images to int32 logits."""
    twin: Any = load_twin(path, CHECKPOINT)

    def run(images: Array) -> Array:
        with torch.inference_mode():
            return np.asarray(twin(torch.from_numpy(images)))

    return run


def milliseconds(run: Callable[[Array], Array], image: Array, seconds: float = 1.0) -> float:
    """Median time of one call with one image, over calls for about `seconds` after one to warm up."""
    run(image)
    times: list[float] = []
    while sum(times) < seconds:
        start = time.perf_counter()
        run(image)
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("out/demo"), help="folder to write to (%(default)s)")
    output: Path = parser.parse_args().output
    torch.set_num_threads(THREADS)
    start = time.perf_counter()

    title("1. Data: scikit-learn's handwritten digits as 32x32 images")
    split = load()
    output.mkdir(parents=True, exist_ok=True)
    calibration, test, model = output / "calibration.npz", output / "test.npz", output / "digits.onnx"
    np.savez_compressed(calibration, images=split.train_images[:CALIBRATION_IMAGES])
    np.savez_compressed(test, images=split.test_images, labels=split.test_labels)
    print(f"{calibration}: {CALIBRATION_IMAGES} training images; {test}: {len(split.test_images)} test images")

    title("2. Export: checkpoint and calibration images in, one integer-only ONNX file out")
    checkpoint = CHECKPOINT.relative_to(Path.cwd()) if CHECKPOINT.is_relative_to(Path.cwd()) else CHECKPOINT
    mean, std = (",".join(map(str, values)) for values in (MEAN, STD))
    heads = str(MODEL["num_heads"])
    # fmt: off
    command("ivit-export", checkpoint, "-o", model, "--calib", calibration, "--num-heads", heads, "--mean", mean,
            "--std", std, "--force")
    # fmt: on

    title("3. Verify: nothing float in the file; function bodies, kernels and PyTorch agree")
    command("ivit-verify", model, "--against", checkpoint, "--images", test)

    title("4. Run: classify image files")
    labels = output / "labels.txt"
    labels.write_text("".join(f"digit {digit}\n" for digit in range(10)), encoding="utf-8")
    pictures = write_images(split.test_images[:3], split.test_labels[:3], output / "images")
    command("ivit-run", model, *pictures, "--labels", labels)

    title(f"5. Compare on all {len(split.test_images)} test images")
    runs = {
        "float32, PyTorch": float_model(),
        "integer, PyTorch": twin_model(model),
        "integer, ONNX Runtime, function bodies": onnx_model(model, kernels=False),
        "integer, ONNX Runtime, kernels": onnx_model(model, kernels=True),
    }
    logits = {name: run(split.test_images) for name, run in runs.items()}
    correct = {name: accuracy(values, split.test_labels) for name, values in logits.items()}
    for name, run in runs.items():
        time_ms = milliseconds(run, split.test_images[:1])
        print(f"{name:40s} accuracy {correct[name]:7.2%}   {time_ms:8.2f} ms for one image")
    floats, *integers = logits.values()
    same_class = int((floats.argmax(1) == integers[0].argmax(1)).sum())
    exact = int(np.logical_and.reduce([(values == integers[0]).all(1) for values in integers]).sum())
    parameters = sum(tensor.numel() for tensor in torch.load(CHECKPOINT, weights_only=True).values())

    total = len(split.test_images)
    title("Summary")
    print(f"size       {parameters:,} parameters: float32 {4 * parameters / 1e3:.0f} kB, ", end="")
    print(f"ONNX file {model.stat().st_size / 1e3:.0f} kB with the function bodies")
    print(f"time       {time.perf_counter() - start:.0f} s for the whole demo, {THREADS} threads")
    print(f"same class {same_class}/{total} between float32 and integer")
    print(f"accuracy   float32 {correct['float32, PyTorch']:.2%}, integer {correct['integer, PyTorch']:.2%}")
    print(f"bit-exact {exact}/{total} (function bodies = kernels = PyTorch, all logits)")
    if exact != total:
        sys.exit("the integers differ: this is a defect, please report it")


if __name__ == "__main__":
    main()
