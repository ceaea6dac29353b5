"""Correction of biases on images: what the integer network is off on average, layer after layer.

Rounding and clipping, but above all the approximations of softmax and GELU, shift the mean of a layer's outputs. The
floating-point network and the quantised one see the same images; the difference of the means of each output channel
goes into the bias, with all layers before it corrected already (empirical bias correction, Nagel et al., 2019).

A few images show the mean of a channel with an error, which would be added to every token. So of a mean d with the
standard error e over images only d * d^2 / (d^2 + e^2) is corrected: all where it is certain, none where it is noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ivit_onnx.calibration.references import image_means
from ivit_onnx.calibration.simulation import check_finite, simulate
from ivit_onnx.models import Twin

__all__ = ["correct_biases"]


def correct_biases(model: Twin, images: Tensor, means: Mapping[str, Tensor]) -> None:
    """Add to the bias of every linear layer what its mean output lacks, in one run of the quantised network.

    `images`: normalised float32 [N, C, H, W]; `means`: what the floating-point network has on them, see `References`.
    Raises CalibrationError where values leave float32, as with weights of 1e30.
    """
    activations = model.activations()

    def correct(name: str, bias: Tensor, mean: Tensor) -> Any:
        corrected = False

        def hook(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor] | None:
            nonlocal corrected
            # A layer runs again for the zeros around a grid of Swin, with the bias that tokens have corrected.
            if corrected:
                return None
            corrected = True
            lost = _certain(mean - image_means(inputs[0]))
            check_finite(name, lost)
            bias.add_(lost)
            return (inputs[0] + lost,)

        return hook

    hooks = [
        activations[site.target].register_forward_pre_hook(correct(site.target, site.bias, means[site.target]))
        for site in model.sites().linear
        if site.bias is not None and site.target in means
    ]
    simulate(model, images, hooks)


def _certain(differences: Tensor) -> Tensor:
    """The part [C] of the mean of differences [N, C] that stands out of its error; of a single image all of it."""
    mean = differences.mean(0)
    if len(differences) < 2:
        return mean
    square, error = mean.square(), differences.var(0) / len(differences)
    return mean * square / (square + error).clamp(min=torch.finfo(mean.dtype).tiny)
