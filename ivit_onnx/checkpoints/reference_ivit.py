"""Checkpoints that the reference I-ViT code writes after quantisation-aware training (github.com/zkkli/I-ViT).

Beside the float weights they hold the state of every quantised module. Only the scales of activations are needed: what
was derived from weights and scales (`weight_integer`, `bias_integer`, ...) may be stale and is computed again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

from ivit_onnx.checkpoints.tensors import StateDict, check_dense
from ivit_onnx.errors import CheckpointError

__all__ = ["activation_scales", "split_reference_ivit"]

_SCALE = ".act_scaling_factor"
_DERIVED = (
    ".weight_integer",
    ".bias_integer",
    ".fc_scaling_factor",
    ".conv_scaling_factor",
    ".norm_scaling_factor",
)
#: Modules whose scale follows from others or that never run.
_NOT_QUANTIZING = re.compile(r"(^|\.)(matmul_\d|(log_)?int_softmax|mlp\.act|qact_softmax|act_out)$")


def split_reference_ivit(state_dict: Mapping[str, torch.Tensor]) -> tuple[StateDict, StateDict | None]:
    """The float weights, and the scales of activations by module name; None for a floating-point checkpoint.

    Raises CheckpointError when the checkpoint was never calibrated, or a scale is no dense tensor.
    """
    scales = {name.removesuffix(_SCALE): tensor for name, tensor in state_dict.items() if name.endswith(_SCALE)}
    if not scales:
        return dict(state_dict), None
    for module, scale in scales.items():
        check_dense(f"{module}{_SCALE}", scale)
    if all(not tensor.any() for tensor in scales.values()):
        raise CheckpointError(
            "this I-ViT checkpoint was never calibrated: all its activation scales (act_scaling_factor) are zero; "
            "save it after training, or export the floating-point checkpoint with --calib"
        )
    weights = {name: tensor for name, tensor in state_dict.items() if not name.endswith((_SCALE, *_DERIVED))}
    return weights, scales


def activation_scales(found: Mapping[str, torch.Tensor], modules: Mapping[str, str]) -> dict[str, float]:
    """The scales of a network's activations. `modules`: the module of that code by activation name.

    Raises CheckpointError when a scale is missing, is not one positive number, or belongs to an unknown module.
    """
    missing = [module for module in modules.values() if module not in found]
    if missing:
        raise CheckpointError(f"tensor {missing[0]}{_SCALE} is missing")
    known = set(modules.values())
    for module, tensor in found.items():
        if module not in known and tensor.any() and not _NOT_QUANTIZING.search(module):
            raise CheckpointError(f"not supported yet: quantisation at {module}; found tensor {module}{_SCALE}")
    return {activation: _one_scale(module, found[module]) for activation, module in modules.items()}


def _one_scale(module: str, tensor: torch.Tensor) -> float:
    """A scale saved as [], [1] or, with equal numbers, [C]."""
    values = set(tensor.detach().to(torch.float32).reshape(-1).tolist())
    if len(values) != 1:
        raise CheckpointError(f"tensor {module}{_SCALE}: expected one scale, found {len(values)}")
    scale = float(values.pop())
    if not 0 < scale < float("inf"):
        reason = "; this module was never calibrated" if scale == 0 else ""
        raise CheckpointError(f"tensor {module}{_SCALE}: expected a positive scale, found {scale:g}{reason}")
    return scale
