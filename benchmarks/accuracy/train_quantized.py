"""Accuracy of floating point, of integers by calibration alone (PTQ) and of integers after training (QAT).

    python benchmarks/accuracy/train_quantized.py vit_0.pt vit_1.pt swin_0.pt --output qat/ --epochs 2

The checkpoints are those of train_float.py, on the generated images. Each is trained as

    ivit-train --data generated --checkpoint vit_0.pt --num-heads 2 --mean 0.5,0.5,0.5 --std 0.25,0.25,0.25 \\
        --no-augment --distill soft --distill-weight 1 --batch-size 64 --lr 1e-4 --epochs 2

An interrupted run goes on when the same command is given again. The table is also written to OUTPUT/results.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path

import torch

from ivit_onnx.checkpoints import load_state_dict
from ivit_onnx.training import Options, TrainReport, train


def options(checkpoint: Path, arguments: argparse.Namespace) -> Options:
    """The recipe for a checkpoint; a ViT's heads and a Swin's image size are not in the file."""
    swin = any(name.startswith("layers.") for name in load_state_dict(checkpoint))
    return Options(
        data="generated",
        output=str(arguments.output / checkpoint.stem),
        checkpoint=str(checkpoint),
        num_heads=None if swin else 2,
        img_size=64 if swin else None,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        calib_images=128,
        epochs=arguments.epochs,
        batch_size=64,
        lr=arguments.lr,
        distill="soft",
        distill_weight=1.0,
        auto_augment="none",
        color_jitter=0.0,
        hflip=0.0,
        crop_scale=1.0,
        random_erasing=0.0,
        mixup=0.0,
        cutmix=0.0,
        workers=0,
        seed=arguments.seed,
        cpu=True,
    )


def row(name: str, values: list[float]) -> str:
    floating, calibrated, trained, seconds, speed = values
    change = (trained - floating) * 100
    accuracies = f"{floating:8.2%} {calibrated:8.2%} {trained:8.2%}"
    return f"{name:12} {accuracies} {change:+7.2f} {seconds:7.0f} s {speed:6.0f} images/s"


def values(report: TrainReport) -> list[float]:
    return [
        *(report.start["float"], report.start["integers"], report.accuracy),
        *(report.seconds, report.images_per_second),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--output", "-o", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    families: dict[str, list[list[float]]] = defaultdict(list)
    reports = []
    print(f"{'':12} {'float':>8} {'PTQ':>8} {'QAT':>8} {'change':>7}")
    for checkpoint in arguments.checkpoints:
        report = train(options(checkpoint, arguments), resume=True, progress=sys.stderr.isatty())
        reports.append({"start": str(checkpoint), **report.to_json()})
        families[checkpoint.stem.rstrip("_0123456789")].append(values(report))
        print(row(checkpoint.stem, values(report)), flush=True)
    for family, found in families.items():
        mean = [sum(column) / len(found) for column in zip(*found, strict=True)]
        print(row(f"mean {family}", mean))
    (arguments.output / "results.json").write_text(json.dumps(reports, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
