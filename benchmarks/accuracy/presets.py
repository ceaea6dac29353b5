"""Exported models of the generated images against their checkpoints: the table of docs/accuracy.md.

    python benchmarks/accuracy/presets.py vit vit_0.pt swin swin_0.pt -o presets.json

Every row is one way to export: accuracy of the integers on all 2400 images, the change against floating point, the
share of images with the class that floating point gives, and the signal to noise ratio of the logits.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from train_float import MEAN, STD, normalise, tensors

import ivit_onnx
from ivit_onnx.checkpoints import load_checkpoint
from ivit_onnx.models import from_checkpoint

#: Options of `ivit_onnx.export` by name.
EXPORTS: dict[str, dict[str, Any]] = {
    "fast": {"calib_preset": "fast"},
    "default": {},
    "default, softmax of 8 bits": {"softmax_bits": 8},
    "default, shifts": {"nonlinear": "ivit"},
    "default, shifts, softmax of 7 bits": {"nonlinear": "ivit", "softmax_bits": 7},
    "default, shifts, softmax of 8 bits": {"nonlinear": "ivit", "softmax_bits": 8},
}


def float_logits(path: str, heads: int | None, images: torch.Tensor) -> np.ndarray[Any, Any]:
    """float32 [N, classes] of uint8 images, by the checkpoint's network."""
    checkpoint = load_checkpoint(path, heads=heads, image_size=images.shape[-1])
    model = from_checkpoint(checkpoint, checkpoint.preprocess((MEAN,) * 3, (STD,) * 3)[0])
    model.set_quantized(False)
    with torch.inference_mode():
        return torch.cat([model.eval()(normalise(batch)) for batch in images.split(64)]).numpy()


def calibrated_logits(path: str, heads: int | None, images: torch.Tensor, **options: Any) -> np.ndarray[Any, Any]:
    """float32 [N, classes] of uint8 images, by an exported model; 128 training images calibrate it."""
    examples = tensors("train")[0][:128].numpy()
    size = {"num_heads": heads, "img_size": images.shape[-1], "mean": (MEAN,) * 3, "std": (STD,) * 3}
    return exported_logits(path, images, calib=examples, **size, **options)


def exported_logits(path: str, images: torch.Tensor, **options: Any) -> np.ndarray[Any, Any]:
    """float32 [N, classes] of uint8 images, by a model exported with these options and run by the kernels."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        report = ivit_onnx.export(path, model, **options)
        session = ivit_onnx.create_session(model)
        name = session.get_inputs()[0].name
        found = [session.run(None, {name: batch.numpy()})[0] for batch in images.split(64)]
    return np.concatenate(found) * np.float32(report.output_scale)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="pairs of vit or swin and a checkpoint")
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()
    images, labels = tensors("val")
    rows = []
    for kind, path in zip(arguments.models[::2], arguments.models[1::2], strict=True):
        heads = 2 if kind == "vit" else None
        exact = float_logits(path, heads, images)
        wanted = 100 * float((exact.argmax(1) == labels.numpy()).mean())
        for name, options in EXPORTS.items():
            found = calibrated_logits(path, heads, images, **options)
            accuracy = 100 * float((found.argmax(1) == labels.numpy()).mean())
            row = {
                "model": Path(path).stem,
                "export": name,
                "float": round(wanted, 2),
                "integer": round(accuracy, 2),
                "change": round(accuracy - wanted, 2),
                "same_class": round(100 * float((found.argmax(1) == exact.argmax(1)).mean()), 2),
                "sqnr_db": round(float(10 * np.log10((exact**2).sum() / ((exact - found) ** 2).sum())), 1),
            }
            rows.append(row)
            print(json.dumps(row), flush=True)
    arguments.output.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
