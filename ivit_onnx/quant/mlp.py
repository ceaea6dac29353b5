"""Feed-forward networks with their activation functions."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ivit_onnx.opset import variant
from ivit_onnx.quant import fake_quant
from ivit_onnx.quant.act import ACTIVATIONS
from ivit_onnx.quant.activation_quantizer import ActivationQuantizer
from ivit_onnx.quant.exponents import LEAST_GELU_SCALE, choose_gelu_n, gelu_x0
from ivit_onnx.quant.quant_module import ResidualMixin
from ivit_onnx.quant.tables import FUNCTION_PARTS, gelu_table
from ivit_onnx.quant.tensors import Lowered, QuantTensor

__all__ = ["MlpAdd"]

_GELU_SCALE = np.float32(2.0**-7)


class MlpAdd(ResidualMixin):
    """IntMlpAdd or IntTableMlpAdd: fc1, GELU, fc2, residual. Buffer `n` as in Attention.

    `act` names the activation function of the floating-point network: that of the table, and what ShiftGELU stands for.

    With a table, its arguments `hidden` and its results `activated` may have zero points: the bias of fc1 adds the one,
    the table takes it off and adds the other, and the bias of fc2 takes that off. The operators know nothing of it.
    """

    role = "Feed-forward half of the block."
    n: Tensor
    reference_ivit_n = 23

    def __init__(self, width: int, hidden: int, act: str = "gelu") -> None:
        super().__init__()
        self.act_name = act
        self.act = ACTIVATIONS[act]
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.hidden = ActivationQuantizer(8, LEAST_GELU_SCALE, one_sided=True)
        self.activated = ActivationQuantizer(8, one_sided=True)
        self.register_buffer("n", torch.zeros((), dtype=torch.int64))

    def lower(self, *scales: np.float32) -> Lowered:
        s_x, s_residual = scales
        s_hidden, s_act, s_branch = (a.number(self.path) for a in (self.hidden, self.activated, self.branch))
        table = self.nonlinear == "table"
        zeros = self.hidden.zero, self.activated.zero
        assert table or zeros == (0, 0)
        constants = {
            **self.lower_linear(self.fc1.weight, self.fc1.bias + zeros[0] * float(s_hidden), s_x, s_hidden, "fc1_"),
            **(
                {"gelu_table": gelu_table(self.act_name, s_hidden, s_act, *zeros)}
                if table
                else self._dyadic(np.float64(s_hidden * _GELU_SCALE) / np.float64(s_act), "gelu_")
            ),
            **self.lower_linear(self.fc2.weight, self.fc2.bias, s_act, s_branch, "fc2_", zeros[1]),
            **self.lower_residual(s_residual),
        }
        operator = variant("IntMlpAdd", FUNCTION_PARTS[self.nonlinear])
        return Lowered(operator, constants, self.output.number(self.path), {} if table else self.exponential())

    def choose_exponent(self) -> None:
        if self.nonlinear == "ivit":
            self.n.fill_(choose_gelu_n(float(self.hidden.number(self.path))))

    def exponential(self) -> dict[str, int]:
        """Attributes x0 and n of ShiftGELU."""
        return {"x0": gelu_x0(self.hidden.number(self.path)), "n": int(self.n)}

    def simulate(self, *inputs: QuantTensor) -> QuantTensor:
        x, residual = inputs
        hidden = self.hidden(self.product(x.value, self.fc1.weight, self.fc1.bias))
        # With a table, what is left is the rounding of the result, below.
        if self.quantized and self.nonlinear == "ivit":
            activated = fake_quant.shift_gelu(hidden, self.hidden.scale, self.act, **self.exponential())
        else:
            activated = self.act(hidden)
        branch = self.product(self.activated(activated), self.fc2.weight, self.fc2.bias)
        return self.simulate_residual(branch, residual.value)
