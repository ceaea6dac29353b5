"""The parts of a layer: every rounding and every integer function in it, and a network with some of them alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from ivit_onnx.quant.modules import (
    ActivationQuantizer,
    Attention,
    Classifier,
    ImageInput,
    LayerNorm,
    Linear,
    LinearAdd,
    MlpAdd,
    PatchEmbed,
    QuantModule,
    TokenMean,
    WeightedModule,
)
from ivit_onnx.quant.swin import PatchEmbedNorm, PatchMerge, WindowAttention
from ivit_onnx.report.taps import replaced

__all__ = ["Part", "only_layer", "only_parts", "parts_of", "rounded"]


@dataclass(frozen=True)
class Part:
    """What becomes quantised at a time: `activations` are rounded, `modules` compute in integers what is neither
    weight nor activation, and weights that `weights` says yes to have 8 bits."""

    name: str
    activations: tuple[ActivationQuantizer, ...] = ()
    modules: tuple[QuantModule, ...] = ()
    weights: Callable[[Tensor], bool] = lambda weight: False


def parts_of(layer: QuantModule) -> list[Part]:
    """The parts of a layer in the order in which they compute; all of them together are the layer in integers.

    A function of 8-bit integers follows the rounding of its argument, without which it is not defined, and a
    normalisation the rounding of its result, which is built into its integer arithmetic.

    Raises:
        KeyError: the type of layer is not in the table at the end of this file.
    """
    return _PARTS[type(layer)](layer)


@contextmanager
def only_parts(layer: QuantModule, parts: Sequence[Part]) -> Iterator[None]:
    """Quantise these parts of one layer of a network in floating point."""

    with ExitStack() as stack:
        if isinstance(layer, WeightedModule):
            stack.enter_context(replaced(layer, "simulated_weight", partial(_simulated_weight, layer, parts)))
        modules: list[QuantModule | ActivationQuantizer] = []
        for part in parts:
            modules += [*part.activations, *part.modules]
        stack.enter_context(_quantizing(layer, modules))
        yield


@contextmanager
def only_layer(layer: QuantModule) -> Iterator[None]:
    """Quantise one layer of a network in floating point, all that is in it."""
    modules = [module for module in layer.modules() if isinstance(module, QuantModule | ActivationQuantizer)]
    with _quantizing(layer, modules):
        yield


def rounded(activation: ActivationQuantizer, x: Tensor) -> Tensor:
    """x as the activation rounds and clips it, whatever mode it is in; nothing that watches the activation sees it."""
    before, activation.quantized = activation.quantized, True
    try:
        return activation.forward(x)
    finally:
        activation.quantized = before


@contextmanager
def _quantizing(layer: QuantModule, modules: Sequence[QuantModule | ActivationQuantizer]) -> Iterator[None]:
    """The layer on real values, as in training, with these of its modules quantised."""
    try:
        layer.train()
        for module in modules:
            module.quantized = True
        yield
    finally:
        layer.eval()
        for module in modules:
            module.quantized = False


def _simulated_weight(layer: WeightedModule, parts: Sequence[Part], weight: Tensor) -> Tensor:
    """A weight as the layer quantises it if it belongs to one of the parts, else as it is."""
    if not any(part.weights(weight) for part in parts):
        return layer.exact_weight(weight)
    before, layer.quantized = layer.quantized, True
    try:
        return WeightedModule.simulated_weight(layer, weight)
    finally:
        layer.quantized = before


def _weights(name: str = "weights", weight: Tensor | None = None) -> Part:
    """All weights of a layer, or the matrix given."""
    return Part(name, weights=lambda found: weight is None or found is weight)


def _rounding(name: str, activation: ActivationQuantizer) -> Part:
    return Part(f"rounding of {name}", (activation,))


def _normalisation(prefix: str, norm: LayerNorm) -> list[Part]:
    rounding = _rounding(f"{prefix}output", norm.output)
    return [rounding, Part("integer normalisation", modules=(norm,))]


def _softmax(layer: Attention | WindowAttention) -> Part:
    return Part("softmax table" if layer.nonlinear == "table" else "Shiftmax", modules=(layer,))


def _attention(layer: Attention) -> list[Part]:
    if layer.deferred:
        return _deferred(layer)
    return [_rounding("score", layer.score), _softmax(layer), _rounding("output", layer.output)]


def _deferred(layer: Attention | WindowAttention) -> list[Part]:
    """Scores have no scale of their own; what there is to round belongs to the softmax."""
    return [Part("scores and exponentials", modules=(layer,)), _rounding("output", layer.output)]


def _window_attention(layer: WindowAttention) -> list[Part]:
    if layer.deferred:
        return _deferred(layer)
    return [
        _rounding("score", layer.score),
        _rounding("table", layer.table),
        _rounding("placed", layer.placed),
        _softmax(layer),
        _rounding("output", layer.output),
    ]


def _mlp(layer: MlpAdd) -> list[Part]:
    """A table has nothing but the rounding of its results, which are its only error."""
    table = Part("GELU table", (layer.activated,), (layer,))
    shifts = [Part("ShiftGELU", modules=(layer,)), _rounding("activated", layer.activated)]
    return [
        _weights("weights of fc1", layer.fc1.weight),
        _rounding("hidden", layer.hidden),
        *([table] if layer.nonlinear == "table" else shifts),
        _weights("weights of fc2", layer.fc2.weight),
        _rounding("branch", layer.branch),
        _rounding("output", layer.output),
    ]


def _patch_embed(layer: PatchEmbed) -> list[Part]:
    return [
        _weights(),
        _rounding("projection", layer.projection),
        Part("rounding of prefix tokens", modules=(layer,)),
        _rounding("position", layer.position),
        _rounding("output", layer.output),
    ]


def _patch_embed_norm(layer: PatchEmbedNorm) -> list[Part]:
    return [
        _weights(),
        _rounding("projection", layer.projection),
        *_normalisation("norm.", layer.norm),
        _rounding("output", layer.output),
    ]


def _patch_merge(layer: PatchMerge) -> list[Part]:
    return [*_normalisation("norm.", layer.norm), _weights(), _rounding("output", layer.output)]


_PARTS: dict[type[QuantModule], Callable[[Any], list[Part]]] = {
    ImageInput: lambda layer: [_rounding("output", layer.output)],
    PatchEmbed: _patch_embed,
    PatchEmbedNorm: _patch_embed_norm,
    LayerNorm: lambda layer: _normalisation("", layer),
    Linear: lambda layer: [_weights(), _rounding("output", layer.output)],
    Attention: _attention,
    WindowAttention: _window_attention,
    LinearAdd: lambda layer: [_weights(), _rounding("branch", layer.branch), _rounding("output", layer.output)],
    MlpAdd: _mlp,
    PatchMerge: _patch_merge,
    TokenMean: lambda layer: [_rounding("output", layer.output)],
    Classifier: lambda layer: [_weights()],
}
