"""What the floating-point network computes on the images of corrections: the aim of everything that changes weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ivit_onnx.calibration.sites import blocks, linear_sites
from ivit_onnx.models import Twin
from ivit_onnx.quant.tensors import QuantTensor

__all__ = ["References"]


@dataclass(frozen=True)
class References:
    """What is computed on normalised `images` [N, C, H, W].

    `means` [out] of the outputs of each linear layer with a bias, by the name of the activation that they become;
    `blocks` [N, tokens, C], the outputs of each block, by its name; empty if nobody wants them.
    """

    images: Tensor
    means: dict[str, Tensor]
    blocks: dict[str, Tensor]

    @classmethod
    def collect(cls, model: Twin, images: Tensor, *, with_blocks: bool) -> References:
        """Run normalised float32 images [N, C, H, W] through the network in floating point."""
        found = cls(images, {}, {})
        activations = model.activations()
        targets = [site.target for site in linear_sites(model) if site.bias is not None and site.target]
        hooks = [activations[name].register_forward_pre_hook(found._mean(name)) for name in targets]
        if with_blocks:
            hooks += [block.register_forward_hook(found._output(name)) for name, block in blocks(model).items()]
        model.set_quantized(False)
        try:
            with torch.no_grad():
                model(images)
        finally:
            model.set_quantized(True)
            for hook in hooks:
                hook.remove()
        return found

    def _mean(self, name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor]) -> None:
            # A layer runs again for the zeros around a grid of Swin; tokens come first.
            if name not in self.means:
                self.means[name] = inputs[0].flatten(0, -2).mean(0)

        return hook

    def _output(self, name: str) -> Any:
        def hook(_: nn.Module, inputs: Any, output: QuantTensor) -> None:
            self.blocks[name] = output.value

        return hook
