"""Calibration presets and their ingredients on checkpoints of the generated images: the tables of docs/accuracy.md.

    python benchmarks/accuracy/ablation.py vit vit_0.pt swin swin_0.pt -o ablation.json [--only NAME ...]

Every row is one recipe: accuracy of the integers on the 2400 evaluation images, share of images with the class that
floating point gives, and the signal to noise ratio of the logits against floating point. The kernels run the model
that a recipe leads to.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from ivit_onnx.exporters import build_graph, finish, save
from torch import Tensor
from train_float import MEAN, STD, normalise, tensors

import ivit_onnx
from ivit_onnx.calibration import Calibration, Recipe, apply_calibration, collect_statistics
from ivit_onnx.calibration.presets import RECIPES
from ivit_onnx.checkpoints import Checkpoint, load_checkpoint
from ivit_onnx.models import Twin, from_checkpoint
from ivit_onnx.quant.modules import MlpAdd, QuantModule
from ivit_onnx.range_methods import METHODS

INGREDIENTS = (
    "zero_points",
    "balance_heads",
    "shifting",
    "smoothing",
    "scale_neurons",
    "clip_scores",
    "fit_exponentials",
    "clip_weights",
    "correct_biases",
)
TABLES = frozenset({"softmax", "gelu"})
#: Twins that a recipe is applied to: bits of probabilities, and what is computed by table.
VARIANTS: dict[str, tuple[int, frozenset[str]]] = {
    "softmax of 8 bits": (8, TABLES),
    "Shiftmax": (15, frozenset({"gelu"})),
    "ShiftGELU": (15, frozenset({"softmax"})),
    "Shiftmax and ShiftGELU": (15, frozenset()),
    "Shiftmax of 7 bits and ShiftGELU": (7, frozenset()),
    "Shiftmax of 8 bits and ShiftGELU": (8, frozenset()),
}


def recipes() -> dict[str, Recipe]:
    """What is measured, by name; `default` with the variants, too."""
    default = RECIPES["default"]
    without = {f"default without {name}": replace(default, **{name: False}) for name in INGREDIENTS}
    methods = {f"default with {name}": replace(default, method=name) for name in METHODS if name != default.method}
    return {
        "minmax": Recipe("minmax"),
        **RECIPES,
        **without,
        **methods,
        **{f"default, {name}": default for name in VARIANTS},
    }


def load(kind: str, path: str) -> Checkpoint:
    """A checkpoint of train_float.py; `kind`: vit or swin."""
    return load_checkpoint(path, heads=2 if kind == "vit" else None, image_size=64)


def twin(checkpoint: Checkpoint, softmax_bits: int = 15, by_table: frozenset[str] = TABLES) -> Twin:
    """A twin, not calibrated, with these functions by table: "softmax", "gelu"."""
    preprocess, _ = checkpoint.preprocess((MEAN,) * 3, (STD,) * 3)
    model = from_checkpoint(checkpoint, preprocess, softmax_bits, "ivit")
    for module in model.modules():
        if isinstance(module, QuantModule) and ("gelu" if isinstance(module, MlpAdd) else "softmax") in by_table:
            module.nonlinear = "table"
    return model


def simulated_logits(model: Twin, images: Tensor) -> Tensor:
    """float32 [N, classes] of uint8 images, by the forward of training, or of floating point."""
    with torch.inference_mode():
        return torch.cat([model(normalise(batch)) for batch in images.split(64)])


def integer_logits(model: Twin, images: Tensor) -> Tensor:
    """float32 [N, classes] of uint8 images, by the kernels."""
    graph, scale = build_graph(model, "uint8")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        save(finish(graph, {}, flat=False, producer_version=""), path)
        session = ivit_onnx.create_session(path)
        found = [session.run(None, {"image": batch.numpy()})[0] for batch in images.split(64)]
    return torch.cat([torch.from_numpy(integers) for integers in found]) * scale


def calibrate(checkpoint: Checkpoint, count: int = 128) -> tuple[Twin, Calibration]:
    """The twin in floating point, and what it shows on training images."""
    model = twin(checkpoint)
    seen = collect_statistics(model, normalise(tensors("train")[0][:count]).numpy(), checkpoint.fingerprint)
    model.set_quantized(False)
    return model, seen


def compare(found: Tensor, real: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy, agreement (percent) and signal to noise ratio (decibels) of logits against those of floating point."""
    ratio = 10 * torch.log10(real.square().sum() / (real - found).square().sum())
    right, same = (100 * float((found.argmax(1) == wanted).float().mean()) for wanted in (labels, real.argmax(1)))
    return {"accuracy": round(right, 2), "same_class": round(same, 2), "sqnr_db": round(float(ratio), 1)}


def measure(kind: str, path: str, names: list[str], images: Tensor, labels: Tensor) -> list[dict[str, Any]]:
    checkpoint = load(kind, path)
    model, seen = calibrate(checkpoint)
    real = simulated_logits(model, images)
    rows: list[dict[str, Any]] = [{"recipe": "floating point", "accuracy": compare(real, real, labels)["accuracy"]}]
    for name in names:
        model = twin(checkpoint, *VARIANTS.get(name.removeprefix("default, "), ()))
        apply_calibration(model, seen, recipes()[name])
        rows.append({"recipe": name, **compare(integer_logits(model, images), real, labels)})
        print(Path(path).stem, json.dumps(rows[-1]), flush=True)
    return [{"model": Path(path).stem, **row} for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="pairs of vit or swin and a checkpoint")
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--only", nargs="+", choices=recipes(), help="measure these recipes")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images, labels = tensors("val")
    pairs = zip(arguments.models[::2], arguments.models[1::2], strict=True)
    names = arguments.only or list(recipes())
    rows = [row for kind, path in pairs for row in measure(kind, path, names, images, labels)]
    arguments.output.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
