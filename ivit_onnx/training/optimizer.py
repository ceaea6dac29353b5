"""AdamW over three groups of parameters, and a learning rate that is a function of the step."""

from __future__ import annotations

import math
import re

import torch
from torch import nn

from ivit_onnx.options.training import Options

__all__ = ["make_optimizer", "rate_factor", "set_rate"]

_NO_DECAY = re.compile(r"(_token|_tokens|pos_embed|relative_position_bias_table)$")


def make_optimizer(network: nn.Module, options: Options) -> torch.optim.AdamW:
    """Weight decay for matrices alone; learned scales have a learning rate of their own.

    Biases, normalisation, tokens and position tables are trained without decay.
    """
    decayed, plain, scales = [], [], []
    for name, parameter in network.named_parameters():
        if name.endswith("log_scale"):
            scales.append(parameter)
        elif parameter.ndim < 2 or _NO_DECAY.search(name):
            plain.append(parameter)
        else:
            decayed.append(parameter)
    groups = [
        {"params": decayed, "weight_decay": options.weight_decay, "peak": options.lr},
        {"params": plain, "weight_decay": 0.0, "peak": options.lr},
        {"params": scales, "weight_decay": 0.0, "peak": options.scale_lr},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=options.lr)


def rate_factor(step: int, steps: int, options: Options) -> float:
    """Linear warm-up from 0, then a cosine from 1 to `min_lr`."""
    warm = round(options.warmup * steps)
    if step < warm:
        return (step + 1) / (warm + 1)
    done = (step - warm) / max(1, steps - warm)
    return options.min_lr + (1 - options.min_lr) * 0.5 * (1 + math.cos(math.pi * done))


def set_rate(optimizer: torch.optim.Optimizer, step: int, steps: int, options: Options) -> float:
    """Set the learning rates for a step; returns that of the weights."""
    factor = rate_factor(step, steps, options)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
    return options.lr * factor
