"""How near the integers come to the floating-point network, on images that calibration did not see.

Two figures of the output: the signal to noise ratio, 10 log10(sum x^2 / sum (x - y)^2) over all images, and the cosine
of each image's outputs. Where they are low, the noise that each layer adds to the residual stream says where it arises.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ivit_onnx.calibration.collect import Calibration
from ivit_onnx.models import Twin
from ivit_onnx.quant.modules import ActivationQuantizer
from ivit_onnx.quant.tensors import QuantTensor

__all__ = ["LOW_DB", "Quality", "Reference", "energy"]

#: Less than this many decibels of signal over noise deserve a warning: more than 1 % of the energy is noise.
LOW_DB = 20.0
#: What an output without any noise is said to have.
_MOST_DB = 99.0
_WORST = 3
#: Images where none are held back, and those that integers are computed of at once, for the memory that takes.
_FEW, _AT_ONCE = 4, 2


@dataclass(frozen=True)
class Quality:
    """Signal to noise ratio (dB) and cosines of the output over so many images.

    `held_back`: calibration has not seen them. `layers`: those that add most noise to the residual stream, and which
    part of all that is added (0..1).
    """

    images: int
    held_back: bool
    sqnr_db: float
    cosine: float
    worst_cosine: float
    layers: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Rounded to what is worth reading, so that the order of additions does not show."""
        return {
            "images": self.images,
            "held_back": self.held_back,
            "sqnr_db": round(self.sqnr_db, 1),
            "cosine": round(self.cosine, 4),
            "worst_cosine": round(self.worst_cosine, 3),
            "layers": {name: round(part, 2) for name, part in self.layers.items()},
        }


@dataclass(frozen=True)
class Reference:
    """What the floating-point network computes on normalised images: output [N, C], residual stream by layer."""

    images: Tensor
    held_back: bool
    output: Tensor
    stream: dict[str, Tensor]

    @classmethod
    def collect(cls, model: Twin, calibration: Calibration) -> Reference | None:
        """Run the images held back through a twin whose weights are those of its checkpoint; else a few of the others.

        None where the statistics came without any image.
        """
        held_back = len(calibration.held) > 0
        found = calibration.held if held_back else calibration.sample[:_FEW]
        if not len(found):
            return None
        images = torch.from_numpy(found.astype(np.float32))
        model.set_quantized(False)
        try:
            with torch.inference_mode(), _stream(model) as stream:
                return cls(images, held_back, model.eval()(images), {name: x.value for name, x in stream.items()})
        finally:
            model.set_quantized(True)

    def compare(self, model: Twin) -> Quality:
        """The quality of the integers of a calibrated twin."""
        outputs: list[Tensor] = []
        errors: dict[str, float] = {}
        with torch.inference_mode(), _stream(model) as stream:
            for first in range(0, len(self.images), _AT_ONCE):
                some = slice(first, first + _AT_ONCE)
                outputs.append(model.eval()(self.images[some]) * model.output_scale)
                for name, x in stream.items():
                    exact = self.stream[name][some]
                    errors[name] = errors.get(name, 0.0) + energy(x.value * x.scale - exact)
        output = torch.cat(outputs)
        cosines = torch.nn.functional.cosine_similarity(self.output.double(), output.double(), dim=1)
        noise = [error / max(energy(self.stream[name]), 1e-30) for name, error in errors.items()]
        added = np.diff(noise, prepend=0.0).clip(min=0)
        parts = dict(zip(errors, added / max(float(added.sum()), 1e-30), strict=True))
        worst = sorted(parts, key=lambda name: -parts[name])[:_WORST]
        return Quality(
            len(self.images),
            self.held_back,
            _decibels(energy(self.output - output) / max(energy(self.output), 1e-30)),
            float(cosines.mean()),
            float(cosines.min()),
            {name: float(parts[name]) for name in worst},
        )


@contextmanager
def _stream(model: Twin) -> Iterator[dict[str, QuantTensor]]:
    """The residual stream after each module that makes it, filled by a run of the model."""
    found: dict[str, QuantTensor] = {}

    def keep(name: str) -> Any:
        def hook(_: nn.Module, inputs: Any, output: QuantTensor) -> None:
            found[name] = output

        return hook

    makers = [(n, m) for n, m in model.named_modules() if isinstance(getattr(m, "output", None), ActivationQuantizer)]
    hooks = [m.register_forward_hook(keep(n)) for n, m in makers if m.output.bits == 16]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def energy(x: Tensor) -> float:
    """The sum of squares."""
    return float(x.double().square().sum())


def _decibels(noise: float) -> float:
    return min(_MOST_DB, -10 * float(np.log10(max(noise, 1e-30))))
