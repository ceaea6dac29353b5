"""Accuracy of floating point, of integers by calibration alone (PTQ) and of integers after training (QAT).

    python benchmarks/accuracy/train_quantized.py vit_0.pt vit_1.pt swin_0.pt --output qat/

The checkpoints are those of train_float.py, on the generated images. Each is trained as

    ivit-train --data generated --checkpoint vit_0.pt --num-heads 2 --mean 0.5,0.5,0.5 --std 0.25,0.25,0.25 \\
        --calib-images 128 --no-augment --distill soft --distill-weight 1 --batch-size 64 --lr 1e-4 --epochs 2

An interrupted run goes on when the same command is given again. OUTPUT/results.json has a row for each network:
accuracies on the 2400 evaluation images, and those of the floating-point and the trained network on 9600 further
images, on which settings can be chosen.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from presets import exported_logits, float_logits
from torch import Tensor
from train_float import further_images

from ivit_onnx.checkpoints import load_state_dict
from ivit_onnx.training import Options, TrainReport, train

#: What a row has, of a mean too.
NUMBERS = ("float", "start", "trained", "change", "further_float", "further_trained", "further_change", "seconds")


def is_swin(checkpoint: Path) -> bool:
    return any(name.startswith("layers.") for name in load_state_dict(checkpoint))


def options(checkpoint: Path, arguments: argparse.Namespace) -> Options:
    """The recipe for a checkpoint; a ViT's heads and a Swin's image size are not in the file."""
    swin = is_swin(checkpoint)
    return Options(
        data="generated",
        output=str(arguments.output / checkpoint.stem),
        checkpoint=str(checkpoint),
        num_heads=None if swin else 2,
        img_size=64 if swin else None,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        softmax_bits=arguments.softmax_bits,
        nonlinear=arguments.nonlinear,
        calib_preset=arguments.calib_preset,
        calib_method=arguments.calib_method,
        calib_images=128,
        epochs=arguments.epochs,
        batch_size=64,
        lr=arguments.lr,
        distill="soft",
        distill_weight=arguments.distill_weight,
        auto_augment="none",
        color_jitter=0.0,
        hflip=0.0,
        crop_scale=1.0,
        random_erasing=0.0,
        mixup=arguments.mixup,
        cutmix=0.0,
        workers=0,
        seed=arguments.seed,
        cpu=True,
    )


def measure(checkpoint: Path, report: TrainReport, images: Tensor, labels: Tensor) -> dict[str, Any]:
    """A row: accuracies in percent, on the evaluation images as reported and on further ones."""
    real = float_logits(str(checkpoint), None if is_swin(checkpoint) else 2, images)
    integers = exported_logits(report.checkpoint, images)
    before, after = (100 * float((v.argmax(1) == labels.numpy()).mean()) for v in (real, integers))
    floating, start, trained = (100 * v for v in (report.start["float"], report.start["integers"], report.accuracy))
    numbers = (floating, start, trained, trained - floating, before, after, after - before, report.seconds)
    assert report.agreement is not None
    return {
        "model": checkpoint.stem,
        **{name: round(number, 2) for name, number in zip(NUMBERS, numbers, strict=True)},
        "forward_same_class": round(100 * report.agreement["argmax"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--output", "-o", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--distill-weight", type=float, default=1.0)
    parser.add_argument("--mixup", type=float, default=0.0)
    parser.add_argument("--calib-preset", default="default")
    parser.add_argument("--calib-method")
    parser.add_argument("--softmax-bits", type=int)
    parser.add_argument("--nonlinear")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images, labels = further_images()
    families: dict[str, list[dict[str, Any]]] = {}
    rows = []
    for checkpoint in arguments.checkpoints:
        report = train(options(checkpoint, arguments), resume=True, progress=sys.stderr.isatty())
        rows.append(measure(checkpoint, report, images, labels))
        families.setdefault(checkpoint.stem.rstrip("_0123456789"), []).append(rows[-1])
        print(json.dumps(rows[-1]), flush=True)
    for family, found in families.items():
        means = {name: round(sum(row[name] for row in found) / len(found), 2) for name in NUMBERS}
        rows.append({"model": f"mean of {family}", **means})
        print(json.dumps(rows[-1]))
    settings = {name: value for name, value in vars(arguments).items() if name not in ("checkpoints", "output")}
    document = {"settings": settings, "rows": rows}
    (arguments.output / "results.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
