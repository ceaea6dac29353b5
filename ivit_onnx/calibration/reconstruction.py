"""Reconstruction of blocks: integer weights and biases with which a block gives what the floating-point one does.

After BRECQ (Li et al., 2021), a block at a time: inputs come from the quantised blocks before it, targets from the
floating-point network, and the squared error of the block's output, weighted by what reaches the output of the network,
is lowered by gradient descent. Weights move by at most one integer step from the nearest, as in AdaRound (Nagel et al.,
2020), or from what compensated rounding made of them; gradients pass the rounding straight through.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ivit_onnx.calibration.adjustments import is_free, round_weights, weight_scales
from ivit_onnx.calibration.simulation import check_finite, simulate
from ivit_onnx.models import Twin
from ivit_onnx.quant.sites import LinearSite
from ivit_onnx.quant.tensors import QuantTensor

__all__ = ["reconstruct"]

Array = np.ndarray[Any, Any]

BATCH = 8
#: Steps of Adam: of a weight in integer steps, of a bias in parts of its layer's largest mean output.
WEIGHT_RATE, BIAS_RATE = 0.02, 0.002


def reconstruct(
    model: Twin,
    images: Tensor,
    targets: Mapping[str, Tensor],
    importance: Mapping[str, Tensor],
    steps: int,
    seed: int = 0,
) -> dict[str, Array]:
    """Reconstruct every block on normalised float32 images [N, C, H, W], to give `targets` [N, tokens, C].

    `importance` [tokens, C] weighs the squared errors.

    Weights and biases of the model change. Returns what the weights moved, in steps from the nearest integers: int8
    [out, in] by name of the layer.
    """
    sites = model.sites().linear
    moves: dict[str, Array] = {}

    def improve(name: str) -> Any:
        def hook(block: nn.Module, inputs: tuple[QuantTensor]) -> None:
            own = [site for site in sites if site.name.startswith(f"{name}.")]
            aim = targets[name], importance[name]
            moves.update(_block(name, block, own, inputs[0], *aim, steps, seed))

        return hook

    hooks = [block.register_forward_pre_hook(improve(name)) for name, block in model.named_blocks().items()]
    simulate(model, images, hooks)
    return moves


def _block(
    name: str,
    block: nn.Module,
    sites: list[LinearSite],
    x: QuantTensor,
    target: Tensor,
    importance: Tensor,
    steps: int,
    seed: int,
) -> dict[str, Array]:
    """Reconstruct one block in place. Raises CalibrationError where values leave float32."""
    forward: Any = type(block).forward
    start = [(site, site.weight.detach().clone()) for site in sites]
    groups, bounds = [], []
    trained: list[Tensor] = []
    for site in sites:
        scale = weight_scales(site.weight.detach())[:, None]
        nearest = torch.round(site.weight.detach() / scale)
        # Rows keep their scale, so that a weight of 127 steps has to stay; rows of nearly no weight stay as they are.
        free = (nearest.abs() < 127).float() * scale * is_free(scale)
        bounds.append((site, site.weight.detach() - free, site.weight.detach() + free))
        groups.append({"params": [site.weight], "lr": WEIGHT_RATE * float(scale.median())})
        bias = site.bias_parameter()
        groups.append({"params": [bias], "lr": BIAS_RATE * float(bias.abs().mean() + scale.median())})
        trained += [site.weight, bias]
    optimizer = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    with torch.enable_grad():
        for _ in range(steps):
            chosen = torch.randperm(len(target), generator=generator)[:BATCH]
            output = forward(block, QuantTensor(x.value[chosen], x.scale)).value
            loss = ((output - target[chosen]).square() * importance).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                for parameter in trained:
                    check_finite(name, parameter.sum())
                for site, low, high in bounds:
                    site.weight.copy_(torch.minimum(torch.maximum(site.weight, low), high))
    moves: dict[str, Array] = {}
    with torch.no_grad():
        for site, weight in start:
            scale = weight_scales(weight)[:, None]
            moved = torch.round(site.weight / scale) - torch.round(weight / scale)
            moves[site.name] = moved.clamp(-1, 1).to(torch.int8).numpy()
            site.weight.copy_(weight)
            round_weights(site, moves[site.name])
            site.weight.grad = site.bias_parameter().grad = None
    return moves
