"""What one change to a network in floating point does to its output."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from functools import partial

from torch import Tensor, nn

from ivit_onnx.models import Twin
from ivit_onnx.quant.modules import QuantModule
from ivit_onnx.quant.tensors import QuantTensor
from ivit_onnx.report.distributions import Error
from ivit_onnx.report.taps import skipped, watch_layers

__all__ = ["Costs"]


class Costs:
    """Runs of a twin in floating point on the same batches, normalised images [n, 3, H, W], with one thing changed.

    What comes before the changed block is not computed again: the residual stream between blocks is kept.
    """

    def __init__(self, twin: Twin, batches: list[Tensor]) -> None:
        self._twin, self._batches = twin, batches
        self._steps = twin.stream()
        self._place = {
            module.path: place
            for place, step in enumerate(self._steps)
            for module in step.modules()
            if isinstance(module, QuantModule)
        }
        self._streams: list[list[QuantTensor]] = []
        self._outputs: list[Tensor] = []
        for batch in batches:
            streams: list[QuantTensor] = []
            with ExitStack() as stack:
                for step in self._steps:
                    stack.callback(step.register_forward_hook(partial(_keep, streams)).remove)
                self._outputs.append(twin(batch))
            self._streams.append(streams)

    def of(self, layer: QuantModule, change: AbstractContextManager[None]) -> tuple[Error, Error]:
        """Errors of the network's output, and of that of the layer itself, when it works under `change`."""
        first = 0 if layer is self._twin.image else self._place.get(layer.path, len(self._steps))
        calls: list[tuple[tuple[QuantTensor, ...], QuantTensor]] = []
        found: list[Tensor] = []

        def see(module: QuantModule, inputs: tuple[QuantTensor, ...], output: QuantTensor) -> None:
            if module is layer:
                calls.append((inputs, output))

        with change, watch_layers(self._twin, see):
            for batch, streams in zip(self._batches, self._streams, strict=True):
                with skipped(self._steps[:first], streams[first - 1] if first else None):
                    found.append(self._twin(batch))
        whole, own = Error(), Error()
        for expected, output in zip(self._outputs, found, strict=True):
            whole.add(expected, output)
        for inputs, result in calls:
            own.add(layer(*inputs).value, result.value)
        return whole, own


def _keep(kept: list[QuantTensor], module: nn.Module, inputs: tuple[QuantTensor, ...], output: QuantTensor) -> None:
    kept.append(output)
