"""Accuracy on the evaluation set, and how far the training forward is from the integers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ivit_onnx.architectures import Preprocess
from ivit_onnx.models import Twin

__all__ = ["Agreement", "Score", "agreement", "evaluate", "floating_logits", "integer_logits", "simulated_logits"]

Logits = Callable[[Tensor], Tensor]
Batches = Iterable[tuple[Tensor, Tensor]]
#: Adds tensors of all processes.
Sum = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Score:
    """Top-1 accuracy in 0..1 and mean cross entropy."""

    accuracy: float
    loss: float


@dataclass(frozen=True)
class Agreement:
    """Logits of the training forward against those of the exported integers, over `images` images.

    `largest` is the largest absolute difference, `relative` the root mean square difference over that of the integers'
    logits, `argmax` the part of the images with the same class.
    """

    images: int
    largest: float
    relative: float
    argmax: float

    def to_json(self) -> dict[str, float]:
        return asdict(self)


def floating_logits(network: nn.Module, preprocess: Preprocess) -> Logits:
    """Logits of a floating-point network (a timm model, or a twin that is not quantised) for uint8 images."""
    network.eval()
    mean, std = (torch.tensor(v)[:, None, None] for v in (preprocess.mean, preprocess.std))

    def logits(images: Tensor) -> Tensor:
        real = (images.float() / 255 - mean.to(images.device)) / std.to(images.device)
        found: Tensor = network(real)
        return found

    return logits


def simulated_logits(twin: Twin) -> Logits:
    """Logits of the training forward for uint8 images."""

    def logits(images: Tensor) -> Tensor:
        twin.train()
        found: Tensor = twin(images)
        return found

    return logits


def integer_logits(twin: Twin) -> Logits:
    """The integers of the exported model, times their scale."""

    def logits(images: Tensor) -> Tensor:
        twin.eval()
        found: Tensor = (twin(images) * twin.output_scale).float()
        return found

    return logits


@torch.no_grad()
def evaluate(logits: Logits, batches: Batches, device: torch.device, total: Sum) -> Score:
    """Score over the batches of all processes."""
    sums = torch.zeros(3, dtype=torch.float64)
    for images, labels in batches:
        found = logits(images.to(device)).float().cpu()
        right = (found.argmax(-1) == labels).sum()
        sums += torch.stack([right, F.cross_entropy(found, labels, reduction="sum"), torch.tensor(len(labels))])
    right, loss, count = total(sums.to(device)).tolist()
    return Score(right / count, loss / count)


@torch.no_grad()
def agreement(twin: Twin, batches: Batches, device: torch.device, total: Sum) -> tuple[Score, Agreement]:
    """The integers' score, and the training forward against them, over the batches of all processes."""
    sums, largest = torch.zeros(6, dtype=torch.float64), 0.0
    simulated, exact = simulated_logits(twin), integer_logits(twin)
    for images, labels in batches:
        found, expected = (f(images.to(device)).double().cpu() for f in (simulated, exact))
        difference = found - expected
        largest = max(largest, float(difference.abs().max()))
        right, same = (expected.argmax(-1) == labels).sum(), (found.argmax(-1) == expected.argmax(-1)).sum()
        loss = F.cross_entropy(expected, labels, reduction="sum")
        squares = difference.square().sum(), expected.square().sum()
        sums += torch.stack([right, loss, torch.tensor(len(labels)), same, *squares])
    right, loss, count, same, error, power = total(sums.to(device)).tolist()
    return Score(right / count, loss / count), Agreement(int(count), largest, (error / power) ** 0.5, same / count)
