"""A stress test for calibration: plants outlier channels into a trained model, of the kind that large ViTs have.

    python benchmarks/accuracy/stress.py vit vit_0.pt -o stress_0.pt

Two kinds, both by a factor of 30:

* in the outputs of normalisations: weight and bias of some channels times 30, the columns that read them divided by 30.
  That does not change the function;
* in the residual stream: two quiet channels of every token get a constant of plus and minus 30 times what is typical of
  them. A normalisation divides by the deviation over channels, so that this does change the function: weights and
  biases of the normalisations are adapted to the mean change, and the rest is learned back in a few hundred steps
  towards the logits of the original.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from train_float import MODELS, accuracy, normalise, tensors

FACTOR = 30.0


def scale_norm_channels(network: nn.Module, channels: int = 3, factor: float = FACTOR, seed: int = 0) -> None:
    """Multiply channels of the normalisations before linear layers; the function of the timm network stays the same."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for block in _blocks(network):
            for norm, linear in ((block.norm1, block.attn.qkv), (block.norm2, block.mlp.fc1)):
                chosen = torch.randperm(len(norm.weight), generator=generator)[:channels]
                norm.weight[chosen] *= factor
                norm.bias[chosen] *= factor
                linear.weight[:, chosen] /= factor


def shift_residual(network: nn.Module, images: Tensor, factor: float = FACTOR) -> None:
    """Add constants to two channels of the residual stream (of Swin: of its first stage), and adapt what reads it.

    `images`: normalised float32 [N, C, H, W], on which the deviations are measured.
    """
    swin = hasattr(network, "layers")
    readers = _readers(network, swin=swin)
    seen: dict[nn.Module, Tensor] = {}
    hooks = [
        norm.register_forward_pre_hook(lambda norm, x: seen.update({norm: x[0].flatten(0, -2)})) for norm in readers
    ]
    with torch.no_grad():
        network(images)
        for hook in hooks:
            hook.remove()
        width = len(readers[0].weight)
        typical = seen[readers[0]].square().mean(0).sqrt()
        first, second = typical.argsort()[:2].tolist()
        height = factor * float(typical[[first, second]].mean())
        start: Any = network.patch_embed.norm.bias if swin else network.pos_embed[0, 0]
        for position in (start,) if swin else network.pos_embed[0]:
            position[first] += height
            position[second] -= height
        if not swin and getattr(network, "no_embed_class", False):
            raise ValueError("class tokens without a position are not supported")
        for norm in readers:
            shift = torch.zeros(len(norm.weight))
            shift[first::width] = height
            shift[second::width] = -height
            x = seen[norm]
            before, after = x.std(1).mean(), (x + shift).std(1).mean()
            norm.weight *= after / before
            norm.bias -= norm.weight * shift / after


def learn_back(network: nn.Module, original: nn.Module, images: Tensor, steps: int, rate: float, seed: int = 0) -> None:
    """Fine-tune towards the logits of the original on uint8 images [N, C, H, W]."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    network.eval()
    original.eval()
    for _ in range(steps):
        batch = normalise(images[torch.randperm(len(images), generator=generator)[:64]])
        with torch.no_grad():
            wanted = original(batch)
        loss = (network(batch) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def plant(network: nn.Module, images: Tensor, steps: int = 300, rate: float = 5e-4, seed: int = 0) -> nn.Module:
    """A copy of a trained timm network with outliers of both kinds; `images`: uint8 [N, C, H, W] to learn back on."""
    planted = copy.deepcopy(network).eval()
    shift_residual(planted, normalise(images[:64]))
    learn_back(planted, network, images, steps, rate, seed)
    scale_norm_channels(planted, seed=seed)
    return planted


def _blocks(network: nn.Module) -> list[Any]:
    if hasattr(network, "layers"):
        return [block for stage in network.layers for block in stage.blocks]
    return list(network.blocks)


def _readers(network: Any, *, swin: bool) -> list[Any]:
    """The normalisations that read the residual stream (of Swin: of the first stage)."""
    if not swin:
        return [*(norm for block in network.blocks for norm in (block.norm1, block.norm2)), network.norm]
    norms = [norm for block in network.layers[0].blocks for norm in (block.norm1, block.norm2)]
    return [*norms, network.layers[1].downsample.norm] if len(network.layers) > 1 else [*norms, network.norm]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network = MODELS[arguments.model]()
    network.load_state_dict(torch.load(arguments.checkpoint, weights_only=True))
    images, _ = tensors("train")
    planted = plant(network.eval(), images, arguments.steps, seed=arguments.seed)
    torch.save(planted.state_dict(), arguments.output)
    images, labels = tensors("val")
    print(f"accuracy {accuracy(network, images, labels):.4f}, with outliers {accuracy(planted, images, labels):.4f}")


if __name__ == "__main__":
    main()
