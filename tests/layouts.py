"""Small networks of other libraries for tests: every parameter is random, so that each of them matters."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ivit_onnx.checkpoints import Checkpoint, Facts, Source, check_source
from ivit_onnx.models import from_checkpoint

__all__ = ["assert_same_network", "opened", "randomised"]


def randomised(network: torch.nn.Module) -> Any:
    """The network in eval mode, with random parameters that keep activations of moderate size."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            spread = 0.3 if parameter.ndim == 1 or re.search(r"token|pos|embedding|table|probe", name) else 0.15
            around = 1.0 if parameter.ndim == 1 and re.search(r"weight$|lambda1|gamma", name) else 0.0
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread + around)
    return network.eval()


def opened(
    tensors: Mapping[str, torch.Tensor],
    config: Mapping[str, Any] | None = None,
    prefix: str | None = None,
    **asked: Any,
) -> Checkpoint:
    """The checkpoint of tensors with what stands in `config.json` beside them, {} where nothing does."""
    source = Source("model.pth", dict(tensors), config=config or {})
    return check_source(source, Facts.asked(**asked), prefix)


def assert_same_network(
    checkpoint: Checkpoint, forward: Callable[[torch.Tensor], torch.Tensor], size: int = 32
) -> None:
    """The twin in floating point gives what the library's own network gives, within 1e-5 of its largest output."""
    twin = from_checkpoint(checkpoint, checkpoint.preprocess()[0])
    twin.set_quantized(False)
    images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, found = forward(images), twin(images)
    assert expected.shape == found.shape
    assert (expected[0] - expected[1]).abs().max() > 1e-2 * expected.abs().max(), "the network ignores its input"
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
