"""Calibration presets and their ingredients on checkpoints of the generated images: the tables of docs/accuracy.md.

    python benchmarks/accuracy/ablation.py vit vit_0.pt swin swin_0.pt [--images 300] [--calib 128] [--only NAME ...]

Every row is one recipe: accuracy of the integers, share of images with the class that floating point gives, and the
signal to noise ratio of the logits against floating point. The PyTorch twin computes the integers of the graph.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch
from torch import Tensor
from train_float import MEAN, STD, normalise, tensors

from ivit_onnx.calibration import Calibration, Recipe, apply_calibration, collect_statistics
from ivit_onnx.calibration.presets import RECIPES
from ivit_onnx.checkpoints import Checkpoint, load_checkpoint
from ivit_onnx.models import Twin, from_checkpoint

INGREDIENTS = ("balance_heads", "smoothing", "fit_exponentials", "clip_weights", "correct_biases")


def recipes() -> dict[str, Recipe]:
    """What is measured, by name."""
    default = RECIPES["default"]
    without = {f"default without {name}": replace(default, **{name: False}) for name in INGREDIENTS}
    by_mse = replace(default, method="mse")
    return {"minmax": Recipe("minmax"), **RECIPES, **without, "default with mse": by_mse}


def logits(model: Twin, images: Tensor, *, quantized: bool) -> Tensor:
    """float32 [N, classes] of normalised images."""
    model.set_quantized(quantized)
    scale = model.output_scale if quantized else 1.0
    with torch.inference_mode():
        return torch.cat([model(batch).float() * scale for batch in images.split(32)])


def twin(checkpoint: Checkpoint) -> Twin:
    preprocess, _ = checkpoint.preprocess((MEAN,) * 3, (STD,) * 3)
    return from_checkpoint(checkpoint, preprocess)


def row(checkpoint: Checkpoint, seen: Calibration, recipe: Recipe, images: Tensor, labels: Tensor, real: Tensor) -> str:
    """Accuracy, agreement and signal to noise ratio of one recipe."""
    model = twin(checkpoint)
    apply_calibration(model, seen, recipe)
    found = logits(model, images, quantized=True)
    ratio = 10 * torch.log10(real.square().sum() / (real - found).square().sum())
    right, same = (float((found.argmax(1) == wanted).float().mean()) for wanted in (labels, real.argmax(1)))
    return f"{right:.2%} | {same:.2%} | {float(ratio):.1f} dB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="pairs of vit or swin and a checkpoint")
    parser.add_argument("--images", type=int, default=300, help="evaluation images")
    parser.add_argument("--calib", type=int, default=128, help="calibration images")
    parser.add_argument("--only", nargs="+", choices=recipes(), help="measure these recipes")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images, labels = (tensor[: arguments.images] for tensor in tensors("val"))
    images, examples = normalise(images), normalise(tensors("train")[0][: arguments.calib])
    for kind, path in zip(arguments.models[::2], arguments.models[1::2], strict=True):
        checkpoint = load_checkpoint(path, heads=2 if kind == "vit" else None, image_size=images.shape[-1])
        model = twin(checkpoint)
        real = logits(model, images, quantized=False)
        seen = collect_statistics(model, examples.numpy(), checkpoint.fingerprint)
        print(f"{path} | floating point | {float((real.argmax(1) == labels).float().mean()):.2%}", flush=True)
        for name in arguments.only or recipes():
            print(f"{path} | {name} | {row(checkpoint, seen, recipes()[name], images, labels, real)}", flush=True)


if __name__ == "__main__":
    main()
