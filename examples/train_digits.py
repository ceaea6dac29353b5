"""Trains the demo's checkpoint: a small vision transformer on scikit-learn's handwritten digits.

    python examples/train_digits.py [-o examples/digits_vit.pt]

Takes about two minutes on two CPU cores and is not part of the demo: its result is in the repository. The model is
an ordinary timm VisionTransformer (32x32 image, 4x4 patches, width 64, depth 3, 4 heads) and the checkpoint an
ordinary state_dict.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from digits import CHECKPOINT, MODEL, accuracy, load, normalise
from timm.models.vision_transformer import VisionTransformer
from torch.nn import functional


def shifted(images: torch.Tensor, reach: int, generator: torch.Generator) -> torch.Tensor:
    """Each image moved by up to `reach` pixels in both directions; borders repeat."""
    n, _, height, width = images.shape
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    corners = torch.randint(0, 2 * reach + 1, (n, 2), generator=generator).tolist()
    return torch.stack([padded[i, :, y : y + height, x : x + width] for i, (y, x) in enumerate(corners)])


def train(epochs: int, batch_size: int, peak_rate: float) -> VisionTransformer:
    """A model trained on the training split with AdamW and a one-cycle schedule; the seed is fixed."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    split = load()
    images = normalise(torch.from_numpy(split.train_images))
    labels = torch.from_numpy(split.train_labels)
    model = VisionTransformer(**MODEL)
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak_rate, weight_decay=0.05)
    steps = epochs * (len(images) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak_rate, total_steps=steps, pct_start=0.2)
    for epoch in range(epochs):
        model.train()
        order = torch.randperm(len(images), generator=generator)
        for batch in order[: len(order) // batch_size * batch_size].split(batch_size):
            logits = model(shifted(images[batch], 2, generator))
            loss = functional.cross_entropy(logits, labels[batch], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        if epoch % 10 == 9 or epoch == epochs - 1:
            print(f"epoch {epoch + 1:3d}/{epochs}  loss {loss.item():.3f}", flush=True)
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=CHECKPOINT, help="where to write the state_dict")
    parser.add_argument("--epochs", type=int, default=70)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    start = time.perf_counter()
    model = train(arguments.epochs, arguments.batch_size, arguments.rate)
    torch.save(model.state_dict(), arguments.output)
    split = load()
    with torch.no_grad():
        logits = model(normalise(torch.from_numpy(split.test_images))).numpy()
    print(
        f"{arguments.output}: {arguments.output.stat().st_size / 1e3:.0f} kB, "
        f"accuracy {accuracy(logits, split.test_labels):.2%} on {len(logits)} test images, "
        f"{time.perf_counter() - start:.0f} s"
    )


if __name__ == "__main__":
    main()
