"""What each non-linear function costs by itself: a table of docs/accuracy.md.

    python benchmarks/accuracy/functions.py vit vit_0.pt swin swin_0.pt -o functions.json

Two directions, both simulated by the forward of training on the 2400 evaluation images:

* alone: the network in floating point, but for one function, which is that of the integers;
* exact: the network in integers, but for one function, which is exact on its 8-bit or 16-bit argument. Its result is
  rounded to 8 bits where that of the integers is.

Scales are those of the preset `default`. Weights are adjusted in ways that keep the function of the network, so
that both directions have the same scales: neither rows of weights are clipped nor biases corrected.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from ablation import calibrate, compare, load, simulated_logits, twin
from torch import Tensor
from train_float import tensors

from ivit_onnx.calibration import apply_calibration
from ivit_onnx.calibration.presets import RECIPES
from ivit_onnx.models import Twin
from ivit_onnx.quant import fake_quant
from ivit_onnx.quant.modules import AttentionCore, LayerNorm, MlpAdd
from ivit_onnx.quant.softmax import IntegerSoftmax
from ivit_onnx.quant.tensors import QuantTensor

RECIPE = replace(RECIPES["default"], scale_neurons=False, clip_weights=False, correct_biases=False)
Change = Callable[[Twin], None]


def softmax_alone(model: Twin, nonlinear: Any = "ivit", bits: int = 15) -> None:
    """8-bit scores and the softmax of the integers; `bits`: fractional bits of probabilities."""
    for module in model.modules():
        if isinstance(module, AttentionCore):
            module.quantized, module.nonlinear, module.softmax_bits = True, nonlinear, bits
            module.scores()[-1].quantized = True


def gelu_alone(model: Twin, nonlinear: Any = "ivit") -> None:
    """ShiftGELU of an 8-bit argument, or the exact function, rounded to 8 bits as a table's results are."""
    for module in model.modules():
        if isinstance(module, MlpAdd):
            module.hidden.quantized = True
            if nonlinear == "ivit":
                module.act = partial(_shift_gelu, scale=module.hidden.scale, act=module.act, **module.exponential())
            else:
                module.activated.quantized = True


def _shift_gelu(x: Tensor, *, scale: Tensor, act: Callable[[Tensor], Tensor], x0: int, n: int) -> Tensor:
    return fake_quant.shift_gelu(x, scale, act, x0=x0, n=n)


def norms_alone(model: Twin) -> None:
    """IntLayerNorm, from 16 bits to 8."""
    for module in model.modules():
        if isinstance(module, LayerNorm):
            module.quantized = True


def norms_rounded(model: Twin) -> None:
    """The exact normalisation, rounded to 8 bits."""
    for module in model.modules():
        if isinstance(module, LayerNorm):
            module.output.quantized = True


def weights_and_activations(model: Twin) -> None:
    """All 8-bit weights and activations; softmax, GELU and normalisation are exact."""
    model.set_quantized(True)
    softmax_and_gelu_exact(model)
    norms_exact(model)


def softmax_exact(model: Twin) -> None:
    """The exact softmax of 8-bit scores, probabilities not rounded."""
    for module in model.modules():
        if isinstance(module, AttentionCore):
            module.softmax = partial(_ExactSoftmax, **vars(module.softmax()))  # type: ignore[method-assign]


class _ExactSoftmax(IntegerSoftmax):
    def simulate(self, scores: Tensor) -> Tensor:
        return torch.softmax(scores.double() * float(self.scale), -1)


def gelu_exact(model: Twin) -> None:
    """The exact activation function of an 8-bit argument."""
    for module in model.modules():
        if isinstance(module, MlpAdd):
            module.nonlinear = "table"


def softmax_and_gelu_exact(model: Twin) -> None:
    softmax_exact(model)
    gelu_exact(model)


def norms_exact(model: Twin) -> None:
    """The exact normalisation of a 16-bit argument."""
    for module in model.modules():
        if isinstance(module, LayerNorm):
            module.simulate = partial(_normalised, module)  # type: ignore[method-assign]


def _normalised(norm: LayerNorm, *inputs: QuantTensor) -> QuantTensor:
    y = F.layer_norm(inputs[0].value, (len(norm.weight),), norm.weight, norm.bias, norm.eps)
    return QuantTensor(norm.output(y), norm.output.scale)


#: From the network in floating point.
ALONE: dict[str, Change] = {
    "Shiftmax, 7 bits": partial(softmax_alone, bits=7),
    "Shiftmax, 8 bits": partial(softmax_alone, bits=8),
    "Shiftmax, 15 bits": softmax_alone,
    "table for softmax, 8 bits": partial(softmax_alone, nonlinear="table", bits=8),
    "table for softmax, 15 bits": partial(softmax_alone, nonlinear="table"),
    "ShiftGELU": gelu_alone,
    "table for GELU": partial(gelu_alone, nonlinear="table"),
    "IntLayerNorm": norms_alone,
    "normalisation, rounded": norms_rounded,
    "weights and activations": weights_and_activations,
}
#: From the network in integers.
EXACT: dict[str, Change] = {
    "none": lambda model: None,
    "softmax": softmax_exact,
    "GELU": gelu_exact,
    "normalisation": norms_exact,
    "softmax and GELU": softmax_and_gelu_exact,
    "all": weights_and_activations,
}


def measure(kind: str, path: str, images: Tensor, labels: Tensor) -> list[dict[str, Any]]:
    checkpoint = load(kind, path)
    model, seen = calibrate(checkpoint)
    real = simulated_logits(model, images)
    rows = []
    for direction, changes in (("alone", ALONE), ("exact", EXACT)):
        for name, change in changes.items():
            model = twin(checkpoint, by_table=frozenset())
            apply_calibration(model, seen, RECIPE)
            model.train()
            model.set_quantized(direction == "exact")
            change(model)
            row = {"direction": direction, "function": name, **compare(simulated_logits(model, images), real, labels)}
            rows.append({"model": Path(path).stem, **row})
            print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="pairs of vit or swin and a checkpoint")
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images, labels = tensors("val")
    pairs = zip(arguments.models[::2], arguments.models[1::2], strict=True)
    rows = [row for kind, path in pairs for row in measure(kind, path, images, labels)]
    arguments.output.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
