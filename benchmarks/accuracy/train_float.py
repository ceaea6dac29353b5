"""Trains the floating-point models of docs/accuracy.md: a small ViT and a small Swin on the generated images.

    python benchmarks/accuracy/train_float.py vit --seed 0 -o vit_0.pt

Both are ordinary timm networks and the checkpoints ordinary state_dicts. Twenty minutes a model on one CPU core.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path
from typing import Any

import torch
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from ivit_onnx.datasets import open_dataset
from ivit_onnx.datasets.dataset import ArrayDataset
from ivit_onnx.datasets.generated import FILLINGS, OUTLINES, draw

MODELS: dict[str, Any] = {
    "vit": lambda: VisionTransformer(
        img_size=64, patch_size=8, embed_dim=64, depth=4, num_heads=2, num_classes=24, drop_path_rate=0.05
    ),
    "swin": lambda: SwinTransformer(
        img_size=64,
        patch_size=8,
        window_size=4,
        embed_dim=64,
        depths=(2, 2),
        num_heads=(2, 4),
        num_classes=24,
        drop_path_rate=0.05,
    ),
}
MEAN, STD = 0.5, 0.25
#: The first seed of images that are neither trained nor evaluated on.
_FURTHER = 20_000_000


def tensors(split: Any) -> tuple[Tensor, Tensor]:
    """uint8 images [N, 3, 64, 64] and labels [N]."""
    data = open_dataset("generated", split)
    assert isinstance(data, ArrayDataset)
    return torch.from_numpy(data.pixels).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(data.labels)


def further_images(count: int = 9600) -> tuple[Tensor, Tensor]:
    """Images and labels as `tensors` has them, of neither split: settings are chosen on them."""
    labels = torch.arange(count) % (len(OUTLINES) * len(FILLINGS))
    images = [torch.from_numpy(draw(int(label), _FURTHER + index)) for index, label in enumerate(labels)]
    return torch.stack(images).permute(0, 3, 1, 2).contiguous(), labels


def normalise(images: Tensor) -> Tensor:
    return (images.float() / 255 - MEAN) / STD


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image rolled by up to 2 pixels, its channels exchanged: neither changes the class."""
    orders = torch.tensor(list(itertools.permutations(range(3))))
    count = len(images)
    order = orders[torch.randint(0, len(orders), (count,), generator=generator)]
    images = images[torch.arange(count)[:, None], order]
    moves = torch.randint(-2, 3, (count, 2), generator=generator).tolist()
    return torch.stack([image.roll(move, (1, 2)) for image, move in zip(images, moves, strict=True)])


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    model.eval()
    guesses = torch.cat([model(normalise(batch)).argmax(1) for batch in images.split(100)])
    return float((guesses == labels).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    generator = torch.Generator().manual_seed(arguments.seed)

    images, labels = tensors("train")
    model = MODELS[arguments.model]()
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.rate, weight_decay=0.05)
    steps = arguments.epochs * (len(images) // arguments.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, arguments.rate, total_steps=steps, pct_start=0.15)
    started = time.perf_counter()
    for epoch in range(arguments.epochs):
        model.train()
        order = torch.randperm(len(images), generator=generator)
        for batch in order[: len(order) // arguments.batch_size * arguments.batch_size].split(arguments.batch_size):
            logits = model(normalise(augment(images[batch], generator)))
            loss = functional.cross_entropy(logits, labels[batch], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        if epoch % 5 == 4 or epoch == arguments.epochs - 1:
            print(f"epoch {epoch + 1}/{arguments.epochs}  loss {loss.item():.3f}", flush=True)
    torch.save(model.state_dict(), arguments.output)
    top1 = accuracy(model, *tensors("val"))
    print(f"{arguments.output}: accuracy {top1:.2%}, {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
