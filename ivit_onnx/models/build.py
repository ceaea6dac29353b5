"""From weights to the twin of their family."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ivit_onnx.architectures import Architecture, Preprocess, family_of
from ivit_onnx.checkpoints import Checkpoint, load_checkpoint
from ivit_onnx.errors import CalibrationError, CheckpointError
from ivit_onnx.models.twin import Twin
from ivit_onnx.options.choices import Nonlinear

__all__ = ["from_checkpoint", "from_state_dict", "from_timm"]


def from_state_dict(
    state_dict: Mapping[str, Tensor], arch: Architecture, preprocess: Preprocess, softmax_bits: int = 15
) -> Twin:
    """The twin of a state_dict that has been validated against `arch`, not yet calibrated, in eval mode."""
    twin = family_of(arch).load_twin()(arch, preprocess, softmax_bits)
    with torch.no_grad():
        twin.load_weights(state_dict)
    return twin.eval()


def from_checkpoint(
    checkpoint: Checkpoint,
    preprocess: Preprocess,
    softmax_bits: int | None = None,
    nonlinear: Nonlinear | None = None,
) -> Twin:
    """The twin of a checkpoint, in eval mode; calibrated if the checkpoint has scales.

    `softmax_bits` and `nonlinear`: None takes the checkpoint's default. Raises CheckpointError when it was trained with
    other non-linear functions.
    """
    bits = checkpoint.default_softmax_bits if softmax_bits is None else softmax_bits
    twin = from_state_dict(checkpoint.state_dict, checkpoint.arch, preprocess, bits)
    twin.set_nonlinear(checkpoint.nonlinear(nonlinear))
    if checkpoint.scales is not None:
        twin.load_reference_ivit(checkpoint.scales)
    if checkpoint.trained is not None:
        try:
            twin.load_quantization_state(checkpoint.trained.state)
        except CalibrationError as error:
            raise CheckpointError(f"damaged metadata of a checkpoint of ivit-train: {error}") from None
    return twin


def from_timm(model: nn.Module, softmax_bits: int = 15) -> Twin:
    """The twin of a timm model, not yet calibrated, in eval mode.

    Raises:
        CheckpointError: the model uses a feature that is not supported.
    """
    loaded = load_checkpoint(model)
    preprocess, _ = loaded.preprocess()
    return from_state_dict(loaded.state_dict, loaded.arch, preprocess, softmax_bits)
