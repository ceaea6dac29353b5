"""What the floating-point network computes on the images of corrections: the aim of everything that changes weights."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ivit_onnx.models import Twin
from ivit_onnx.quant.tensors import QuantTensor

__all__ = ["References", "image_means"]

#: Images of which inputs of attention are kept, and those that show what is important.
_FEW, _SOME = 4, 4
#: Random directions of the output that are taken.
_DIRECTIONS = 2


def image_means(x: Tensor) -> Tensor:
    """The mean [N, C] over all tokens of each image, of values [N, .., C]."""
    return x.reshape(len(x), -1, x.shape[-1]).mean(1)


def output_importance(model: Twin, images: Tensor, seed: int = 0) -> dict[str, Tensor]:
    """How much errors of each block's output [tokens, C] count in the output of a network in floating point.

    For an error d of a block's output, the output is off by J d. The mean of |J d|^2 over errors that are independent
    between elements weighs them with the diagonal of J^T J: the squared gradients of random projections of the output
    (the Fisher information of a Gaussian output; Li et al., BRECQ, 2021, section 3.3). Their square roots are returned:
    the class token has a hundred times the importance of a patch in late blocks, but few of them to learn from.
    """
    generator = torch.Generator().manual_seed(seed)
    kept: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(_: nn.Module, inputs: Any, output: QuantTensor) -> None:
            kept[name] = output.value

        return hook

    hooks = [block.register_forward_hook(keep(name)) for name, block in model.named_blocks().items()]
    sums: dict[str, Tensor] = {}
    try:
        with torch.enable_grad():
            for image in images:
                output = model(image[None])
                for index in range(_DIRECTIONS):
                    direction = torch.randn(output.shape, generator=generator)
                    gradients = torch.autograd.grad(
                        (output * direction).sum(), list(kept.values()), retain_graph=index + 1 < _DIRECTIONS
                    )
                    for name, gradient in zip(kept, gradients, strict=True):
                        sums[name] = sums.get(name, 0) + gradient[0].square()
    finally:
        for hook in hooks:
            hook.remove()
    roots = {name: total.sqrt() for name, total in sums.items()}
    return {name: root / root.mean().clamp(min=1e-30) for name, root in roots.items()}


@dataclass(frozen=True)
class References:
    """What is computed on normalised `images` [N, C, H, W].

    `means` [N, out] of the outputs of each linear layer with a bias, by the name of the activation that they become;
    `attention`: the real inputs of each attention that was asked for, of a few images, by its name. `blocks`
    [N, tokens, C]: the outputs of each block, by its name; `importance` [tokens, C]: how much the error of each counts
    in that of the network's output, 1 on average. Both are empty if nobody wants them.
    """

    images: Tensor
    means: dict[str, Tensor] = field(default_factory=dict)
    attention: dict[str, tuple[QuantTensor, ...]] = field(default_factory=dict)
    blocks: dict[str, Tensor] = field(default_factory=dict)
    importance: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def collect(cls, model: Twin, images: Tensor, *, with_blocks: bool, attention: Collection[str] = ()) -> References:
        """Run normalised float32 images [N, C, H, W] through the network in floating point."""
        found = cls(images)
        activations = model.activations()
        targets = [site.target for site in model.sites().linear if site.bias is not None and site.target]
        hooks = [activations[name].register_forward_pre_hook(found._mean(name)) for name in targets]
        hooks += [model.get_submodule(name).register_forward_pre_hook(found._inputs(name)) for name in attention]
        if with_blocks:
            hooks += [block.register_forward_hook(found._output(name)) for name, block in model.named_blocks().items()]
        model.set_quantized(False)
        try:
            with torch.no_grad():
                model(images)
            for hook in hooks:
                hook.remove()
            if with_blocks:
                found.importance.update(output_importance(model, images[:_SOME]))
        finally:
            model.set_quantized(True)
            for hook in hooks:
                hook.remove()
        return found

    def _mean(self, name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor]) -> None:
            # A layer runs again for the zeros around a grid of Swin; tokens come first.
            if name not in self.means:
                self.means[name] = image_means(inputs[0])

        return hook

    def _inputs(self, name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[QuantTensor, ...]) -> None:
            x, *others = inputs
            self.attention[name] = (QuantTensor(x.value[:_FEW], x.scale), *others)

        return hook

    def _output(self, name: str) -> Any:
        def hook(_: nn.Module, inputs: Any, output: QuantTensor) -> None:
            self.blocks[name] = output.value

        return hook
