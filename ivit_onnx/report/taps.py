"""Looking into a twin while it runs, and leaving parts of it out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from ivit_onnx.models import Twin
from ivit_onnx.quant.modules import LayerNorm, QuantModule
from ivit_onnx.quant.tensors import QuantTensor

__all__ = [
    "layers_called",
    "replaced",
    "skipped",
    "take_reference_ivit_widths",
    "watch_layers",
    "watch_points",
]


@contextmanager
def watch_layers(
    twin: Twin, see: Callable[[QuantModule, tuple[QuantTensor, ...], QuantTensor], None]
) -> Iterator[None]:
    """Call `see(layer, inputs, output)` when a layer has run, the first time in each pass of the network.

    The linear layer before a padded window attention runs a second time, on padding.
    """
    seen: set[QuantModule] = set()

    def hook(module: QuantModule, inputs: tuple[QuantTensor, ...], output: QuantTensor) -> None:
        if module not in seen:
            seen.add(module)
            see(module, inputs, output)

    with ExitStack() as stack:
        stack.callback(twin.register_forward_pre_hook(lambda *_: seen.clear()).remove)
        for module in twin.modules():
            if isinstance(module, QuantModule):
                stack.callback(module.register_forward_hook(hook).remove)
        yield


@contextmanager
def watch_points(twin: Twin, see: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Call `see(name, value)` for the value at each quantisation point, on real values: as it is in floating point,
    rounded in training mode."""
    norms = {f"{name}.output": module for name, module in twin.named_modules() if isinstance(module, LayerNorm)}

    def hook(name: str) -> Callable[..., None]:
        return lambda module, inputs, output: see(name, output)

    def watched(name: str, norm: LayerNorm) -> Callable[..., QuantTensor]:
        def simulate(*inputs: QuantTensor) -> QuantTensor:
            result = type(norm).simulate(norm, *inputs)
            see(name, result.value)
            return result

        return simulate

    with ExitStack() as stack:
        for name, activation in twin.used_activations().items():
            if name in norms:  # an integer normalisation rounds by itself
                stack.enter_context(replaced(norms[name], "simulate", watched(name, norms[name])))
            else:
                stack.callback(activation.register_forward_hook(hook(name)).remove)
        yield


def layers_called(twin: Twin, image: Tensor) -> dict[str, QuantModule]:
    """The layers by name in the order in which they run; a module that only works inside another is none."""
    called: dict[str, QuantModule] = {}
    with watch_layers(twin, lambda module, inputs, output: called.update({module.path: module})):
        twin(image)
    return called


def take_reference_ivit_widths(layers: Iterable[QuantModule]) -> None:
    """Give 8 bits to the points that the weights of the reference I-ViT code have 8 bits at, where twins have 16."""
    for layer in layers:
        for point in layer.reference_ivit_bytes() if layer.reference_ivit else ():
            point.bits, point.levels = 8, 127


@contextmanager
def skipped(steps: list[Any], result: Any) -> Iterator[None]:
    """Leave the work of `steps`, the first of the stream, out: the last one returns `result`."""
    with ExitStack() as stack:
        for step in steps:
            stack.enter_context(replaced(step, "forward", lambda *_: result))
        yield


@contextmanager
def replaced(module: nn.Module, method: str, function: Callable[..., Any]) -> Iterator[None]:
    """Give a module another method for a while."""
    module.__dict__[method] = function
    try:
        yield
    finally:
        del module.__dict__[method]
