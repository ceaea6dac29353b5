"""The softmax of an attention module: by shifts or by table, as constants and attributes, and on tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ivit_onnx.opset import variant
from ivit_onnx.opset.arithmetic import Array
from ivit_onnx.options.choices import Nonlinear
from ivit_onnx.quant import fake_quant
from ivit_onnx.quant.nonlinear import table_softmax
from ivit_onnx.quant.tables import EXP_BITS, FUNCTION_PARTS, exponentials

__all__ = ["IntegerSoftmax"]


@dataclass(frozen=True)
class IntegerSoftmax:
    """Scores of `scale` to probabilities of scale 2^-frac_bits; `exponential` has x0 and n of Shiftmax."""

    nonlinear: Nonlinear
    scale: np.float32
    exponential: dict[str, int]
    frac_bits: int

    def operator(self, attention: str) -> str:
        """The name of an attention with this softmax, by that of its base."""
        return variant(attention, FUNCTION_PARTS[self.nonlinear])

    def constants(self) -> dict[str, Array]:
        """The inputs of the operator that belong to the softmax."""
        return {"exponentials": exponentials(self.scale)} if self.nonlinear == "table" else {}

    def attributes(self) -> dict[str, int]:
        """The attributes of the operator that belong to the softmax."""
        exponential = {} if self.nonlinear == "table" else self.exponential
        return {**exponential, "frac_bits": self.frac_bits}

    def simulate(self, scores: Tensor) -> Tensor:
        """Real probabilities of integer scores, MASKED where they must not count.

        In training the exponentials of a table come from float64, which rounds as the exact ones but for a rare tie.
        """
        if self.nonlinear == "table":
            distances = torch.arange(256, dtype=torch.float64, device=scores.device)
            table = torch.round(torch.exp(-distances * float(self.scale)) * 2**EXP_BITS)
            return table_softmax(scores, table, frac_bits=self.frac_bits) * 2.0**-self.frac_bits
        return fake_quant.shiftmax(scores, **self.attributes())
