"""Feed-forward networks with their activation functions."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ivit_onnx.opset import Part, variant
from ivit_onnx.opset.arithmetic import Array
from ivit_onnx.options.choices import Nonlinear
from ivit_onnx.quant import fake_quant
from ivit_onnx.quant.act import ACTIVATIONS
from ivit_onnx.quant.activation_quantizer import ActivationQuantizer
from ivit_onnx.quant.exponents import LEAST_GELU_SCALE, choose_gelu_n, gelu_x0
from ivit_onnx.quant.quant_module import ResidualMixin
from ivit_onnx.quant.tables import FUNCTION_PARTS, gelu_table, gelu_tables
from ivit_onnx.quant.tensors import Lowered, QuantTensor
from ivit_onnx.quant.token_mlp import SCALES, TokenScales, token_scales

__all__ = ["MlpAdd"]

_GELU_SCALE = np.float32(2.0**-7)
#: The branches of some tokens stand for those of all: others may be so much larger.
_BRANCH_HEADROOM = 4
#: How much coarser the branch of the largest tokens may become where it is not finer than the stream anyway.
_MOST_COARSER = 8


class MlpAdd(ResidualMixin):
    """IntMlpAdd, IntTableMlpAdd or IntTokenMlpAdd: fc1, GELU, fc2, residual. Buffer `n` as in Attention.

    `act` names the activation function of the floating-point network: that of the table, and what ShiftGELU stands for.

    With a table, its arguments `hidden` and its results `activated` may have zero points: the bias of fc1 adds the one,
    the table takes it off and adds the other, and the bias of fc2 takes that off. The operators know nothing of it.

    Buffer `token_scales`: how many scales a token may choose from for its results (ivit_onnx.quant.token_mlp); 0 where
    all tokens have that of `activated`. The branch of a token whose scale is s_i has 16 bits at `branch`'s scale times
    s_i / s_0: `fit_branch` sees to it that they suffice.
    """

    role = "Feed-forward half of the block."
    n: Tensor
    token_scales: Tensor
    reference_ivit_n = 23

    def __init__(self, width: int, hidden: int, act: str = "gelu") -> None:
        super().__init__()
        self.act_name = act
        self.act = ACTIVATIONS[act]
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.hidden = ActivationQuantizer(8, LEAST_GELU_SCALE, one_sided=True)
        self.activated = ActivationQuantizer(8, one_sided=True)
        self.register_buffer("n", torch.zeros((), dtype=torch.int64))
        # States of before have none.
        self.register_buffer("token_scales", torch.zeros((), dtype=torch.int64), persistent=False)

    def set_nonlinear(self, nonlinear: Nonlinear) -> None:
        super().set_nonlinear(nonlinear)
        self.token_scales.fill_(SCALES if nonlinear == "table" else 0)

    def scales_of_tokens(self, count: int | None = None) -> TokenScales:
        """Those that tokens choose from, of a ladder of at most `count`, or `token_scales`."""
        s_hidden, s_act = (float(point.number(self.path)) for point in (self.hidden, self.activated))
        most = int(self.token_scales) if count is None else count
        return token_scales(self.act_name, s_hidden, self.hidden.zero, s_act, self.activated.zero, most)

    @torch.no_grad()
    def fit_branch(self, rows: Array) -> None:
        """Choose the scale of the branch, and how many scales tokens have, from some real rows [R, H] of `hidden`.

        The branch of a token in steps of its scale may be larger than that of the largest token is: where all of it is
        bias, by s_0 / s_i. `branch` becomes coarser so that it holds 4 times what the rows need. Scales that would
        need it to be coarser than the stream, and than 8 times its scale, are left out. Without any scale below s_0,
        there is one for all.
        """
        if not len(rows):
            self.token_scales.zero_()
        if not self.token_scales:
            return
        hidden = torch.from_numpy(np.asarray(rows, np.float32))
        branch = F.linear(self.act(hidden), self.fc2.weight, self.fc2.bias).abs().amax(-1).double().numpy()
        largest = self._integers(hidden.amax(-1)).numpy()
        s_branch = float(self.branch.number(self.path))
        coarsest = max(_MOST_COARSER * s_branch, float(self.output.number(self.path)))
        for count in range(int(self.token_scales), 1, -1):
            tokens = self.scales_of_tokens(count)
            needed = _BRANCH_HEADROOM * float((branch / tokens.ratios[tokens.of(largest)]).max()) / self.branch.levels
            if needed <= coarsest:
                self.token_scales.fill_(count)
                self.branch.set_scale(max(s_branch, needed))
                return
        self.token_scales.zero_()

    def _integers(self, hidden: Tensor) -> Tensor:
        """int64: real values in steps of `hidden`."""
        low, high = self.hidden.bounds
        return (hidden / self.hidden.scale.detach()).round().clamp(low, high).long() + self.hidden.zero

    def lower_tokens(self, *scales: np.float32) -> Lowered:
        """IntTokenMlpAdd. Its weights of fc2 are those of the smallest scale, which leaves its bias the least room."""
        s_x, s_residual = scales
        s_hidden, s_act, s_branch = (a.number(self.path) for a in (self.hidden, self.activated, self.branch))
        zero, tokens = self.hidden.zero, self.scales_of_tokens()
        weight, bias = self.fc2.weight, self.fc2.bias
        integers, s_w = self.quantize_weight(weight, bias, tokens.scales[-1])
        biases = [
            self.quantize_bias(integers, bias, s_i, s_w, int(z_i))
            for s_i, z_i in zip(tokens.scales, tokens.zeros, strict=True)
        ]
        residual = self.lower_residual(s_residual)
        of_branch = np.float64(s_branch) * tokens.ratios / np.float64(self.output.number(self.path))
        constants = {
            **self.lower_linear(self.fc1.weight, self.fc1.bias + zero * float(s_hidden), s_x, s_hidden, "fc1_"),
            "token_scale": tokens.of_largest,
            "gelu_tables": gelu_tables(self.act_name, s_hidden, list(tokens.scales), zero, tokens.zeros.tolist()),
            "fc2_weight": integers,
            "fc2_bias": np.stack(biases),
            **self._dyadic((s_w * s_act).astype(np.float64) / np.float64(s_branch), "fc2_"),
            **residual,
            **self._dyadic(of_branch, "branch_"),
        }
        operator = variant("IntMlpAdd", FUNCTION_PARTS[self.nonlinear] | {Part.TOKEN})
        return Lowered(operator, constants, self.output.number(self.path))

    def lower(self, *scales: np.float32) -> Lowered:
        if self.token_scales:
            return self.lower_tokens(*scales)
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
        if self.token_scales and (self.activated.quantized or self.branch.quantized):
            return self._simulate_tokens(hidden, residual.value)
        # With a table, what is left is the rounding of the result, below.
        if self.quantized and self.nonlinear == "ivit":
            activated = fake_quant.shift_gelu(hidden, self.hidden.scale, self.act, **self.exponential())
        else:
            activated = self.act(hidden)
        branch = self.product(self.activated(activated), self.fc2.weight, self.fc2.bias)
        return self.simulate_residual(branch, residual.value)

    def _simulate_tokens(self, hidden: Tensor, residual: Tensor) -> QuantTensor:
        """What follows `hidden`, by the scales of the tokens."""
        activated = self.act(hidden)
        if self.activated.quantized:
            self.activated.follow(activated)
        tokens = self.scales_of_tokens()
        chosen = torch.from_numpy(tokens.of(self._integers(hidden.detach().amax(-1, keepdim=True)).cpu().numpy()))

        def of_tokens(numbers: Array) -> Tensor:
            return torch.from_numpy(numbers)[chosen].to(hidden)

        scale, zero, ratio = (of_tokens(numbers) for numbers in (tokens.scales, tokens.zeros, tokens.ratios))
        activated = self.activated(activated, tokens=(scale, -128 - zero, 127 - zero))
        branch = self.product(activated, self.fc2.weight, self.fc2.bias)
        if self.branch.quantized:
            self.branch.follow(branch / ratio)
        low, high = (torch.full_like(zero, bound) for bound in self.branch.bounds)
        branch = self.branch(branch, tokens=(self.branch.scale * ratio, low, high))
        return QuantTensor(self.output.add(branch, residual), self.output.scale)
