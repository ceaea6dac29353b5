"""Quantised modules, one per operator of the domain: real parameters and activation scales that lower to its integers.

Every module works in three modes:

* integer: `eval()`; computes the operator exactly, on int64 tensors.
* training: `train()`; fake quantisation with straight-through gradients, on real values. The non-linear functions
  take their exact integer result in the forward pass and the gradient of the real function in the backward pass.
* floating point: `quantized = False`; the original network, through which observers see its activations.

Scales are float32 and combined in the order of the reference I-ViT code, so that its checkpoints give its integers.
"""

from __future__ import annotations

from ivit_onnx.quant.act import ACTIVATIONS
from ivit_onnx.quant.activation_quantizer import ActivationQuantizer
from ivit_onnx.quant.attention import Attention, AttentionCore
from ivit_onnx.quant.embedding import ImageInput, PatchEmbed
from ivit_onnx.quant.linear import Classifier, Linear, LinearAdd
from ivit_onnx.quant.mlp import MlpAdd
from ivit_onnx.quant.norm import LayerNorm
from ivit_onnx.quant.quant_module import QuantModule, WeightedModule
from ivit_onnx.quant.step import Flatten, Step, TakeTokens
from ivit_onnx.quant.token_mean import TokenMean

__all__ = [
    "ACTIVATIONS",
    "ActivationQuantizer",
    "Attention",
    "AttentionCore",
    "Classifier",
    "Flatten",
    "ImageInput",
    "LayerNorm",
    "Linear",
    "LinearAdd",
    "MlpAdd",
    "PatchEmbed",
    "QuantModule",
    "Step",
    "TakeTokens",
    "TokenMean",
    "WeightedModule",
]
