"""Bits of the exponentials of deferred attention by layer: 8 where that costs little, else 15.

The calibrated network runs on the images of corrections with 15 bits in every layer. Each attention computes its result
with 8 bits as well, on the same inputs, and the output projection is applied to both. What the squared error of the
branch grows by with 8 bits, as a part of what it is with 15, decides: the error against floating point, which all
layers before have added to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ivit_onnx.calibration.apply import correction_images
from ivit_onnx.calibration.collect import Calibration
from ivit_onnx.calibration.quality import energy
from ivit_onnx.calibration.simulation import check_finite, simulate
from ivit_onnx.errors import CalibrationError
from ivit_onnx.models import Twin
from ivit_onnx.options.choices import FEW_BITS, MANY_BITS
from ivit_onnx.quant.sites import AttentionSite
from ivit_onnx.quant.tensors import QuantTensor

__all__ = ["LARGEST_COST", "BitsOfLayer", "Branches", "choose_softmax_bits"]

#: The largest part that 8 bits may add to the noise of a branch. If all layers take it, that is 0.2 dB of their
#: branches, less than what rounding does by chance, half a decibel.
LARGEST_COST = 0.05


@dataclass(frozen=True)
class BitsOfLayer:
    """Bits of an attention, and what 8 of them add to the noise of its branch, as a part of it."""

    bits: int
    cost: float

    def to_json(self) -> dict[str, Any]:
        return {"bits": self.bits, "cost": round(self.cost, 3)}


@dataclass(frozen=True)
class Branches:
    """What the output projection of each attention adds to the residual stream in floating point, on normalised images
    [N, C, H, W]: [N, .., C] by the name of the attention."""

    images: Tensor
    values: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def collect(cls, model: Twin, calibration: Calibration) -> Branches:
        """Run a twin whose weights are those of its checkpoint. Raises CalibrationError if statistics have no image."""
        images = correction_images(model, calibration.sample)
        if not len(images):
            raise CalibrationError("--softmax-bits auto: expected calibration images, found statistics without any")
        found, activations = cls(images), model.activations()

        def keep(name: str) -> Any:
            def hook(_: nn.Module, inputs: tuple[Tensor]) -> None:
                found.values[name] = inputs[0]

            return hook

        sites = model.sites().attention
        hooks = [activations[s.proj.target].register_forward_pre_hook(keep(s.core.path)) for s in sites]
        model.set_quantized(False)
        try:
            with torch.no_grad():
                model.eval()(images)
        finally:
            model.set_quantized(True)
            for hook in hooks:
                hook.remove()
        return found


def choose_softmax_bits(model: Twin, branches: Branches) -> dict[str, BitsOfLayer]:
    """Set the bits of every attention of a calibrated twin with deferred attention of 15 bits; returns them by name.

    Raises CalibrationError where values leave float32, as with weights of 1e30.
    """
    costs: dict[str, float] = {}
    activations, hooks = model.activations(), []
    for site in model.sites().attention:
        few: list[Tensor] = []
        hooks.append(site.core.register_forward_hook(_with_few_bits(site, few)))
        compare = _compare(site, few, branches.values[site.core.path], costs)
        hooks.append(activations[site.proj.target].register_forward_pre_hook(compare))
    simulate(model, branches.images, hooks)
    chosen = {name: BitsOfLayer(FEW_BITS if cost < LARGEST_COST else MANY_BITS, cost) for name, cost in costs.items()}
    model.set_softmax_bits({name: layer.bits for name, layer in chosen.items()})
    return chosen


def _with_few_bits(site: AttentionSite, found: list[Tensor]) -> Any:
    """Keeps the branch of an attention of 8 bits."""
    core, layer = site.core, site.proj.layer

    def hook(_: nn.Module, inputs: tuple[QuantTensor, ...], output: QuantTensor) -> None:
        before, core.softmax_bits = core.softmax_bits, FEW_BITS
        try:
            found.append(layer.product(core.simulate(*inputs).value, site.proj.weight, site.proj.bias))
        finally:
            core.softmax_bits = before

    return hook


def _compare(site: AttentionSite, few: list[Tensor], exact: Tensor, costs: dict[str, float]) -> Any:
    def hook(_: nn.Module, inputs: tuple[Tensor]) -> None:
        check_finite(site.core.path, inputs[0])
        noise = energy(inputs[0] - exact)
        costs[site.core.path] = (energy(few.pop() - exact) - noise) / max(noise, float(np.finfo(np.float32).tiny))

    return hook
