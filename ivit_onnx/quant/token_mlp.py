"""Feed-forward networks with a scale for each token: the steps of IntTokenMlpAdd in PyTorch."""

from __future__ import annotations

from torch import Tensor

from ivit_onnx.opset.int_token_mlp import TOKEN_GELU, TOKEN_SCALE
from ivit_onnx.quant.operators import Implementations

__all__ = ["IMPLEMENTATIONS"]


def _token_scale(hidden: Tensor, token_scale: Tensor, scales: int) -> Tensor:
    return token_scale.long()[hidden.amax(-1).long() + 128].clamp(max=scales - 1)


def _token_gelu(hidden: Tensor, scale: Tensor, gelu_tables: Tensor) -> Tensor:
    return gelu_tables.long()[scale[..., None], hidden.long() + 128]


IMPLEMENTATIONS: Implementations = {TOKEN_SCALE: _token_scale, TOKEN_GELU: _token_gelu}
