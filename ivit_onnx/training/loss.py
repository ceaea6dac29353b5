"""What training minimises: cross entropy with the labels, and with distillation what a floating-point teacher says."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ivit_onnx.options.training import Options

__all__ = ["total_loss"]


def total_loss(logits: Tensor, target: Tensor, taught: Tensor | None, options: Options) -> Tensor:
    """(1 - w) * cross entropy + w * distillation, w the distillation weight, 0 without a teacher.

    `target` has labels [N] or probabilities [N, classes], `taught` the teacher's logits. Soft distillation is
    T^2 * KL(softmax(taught / T), softmax(logits / T)) (Hinton et al.), hard distillation the cross entropy with the
    teacher's choice (Touvron et al., DeiT).
    """
    smoothing = options.smoothing if target.ndim == 1 else 0.0
    labelled = F.cross_entropy(logits, target, label_smoothing=smoothing)
    if taught is None:
        return labelled
    if options.distill == "hard":
        distilled = F.cross_entropy(logits, taught.argmax(-1))
    else:
        heat = options.temperature
        student, teacher = (torch.log_softmax(v / heat, -1) for v in (logits, taught.float()))
        distilled = heat**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)
    return torch.lerp(labelled, distilled, options.distill_weight)
