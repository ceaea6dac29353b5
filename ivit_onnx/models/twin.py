"""What the integer twins of all families share: modes, calibration state, the image input, the logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ivit_onnx.architectures import Architecture, Preprocess
from ivit_onnx.errors import CalibrationError
from ivit_onnx.models.block import Block
from ivit_onnx.opset.int_token_mlp import MOST_SCALES
from ivit_onnx.options.choices import SOFTMAX_BITS, Nonlinear
from ivit_onnx.quant.exponents import MOST_N
from ivit_onnx.quant.modules import ActivationQuantizer, Classifier, ImageInput, LayerNorm, QuantModule, Step
from ivit_onnx.quant.sites import HasSites, LinearSite, Sites
from ivit_onnx.quant.tensors import QuantTensor

__all__ = ["Twin"]

#: What float32 takes as a scale.
_LARGEST_SCALE = float(np.finfo(np.float32).max)
_ZERO_POINT = ".zero_point"
_DEFERRED = ".deferred"
_TOKEN_SCALES = ".token_scales"
#: What states of before do not have, and new ones only where it is not 0.
_LATER = (_DEFERRED, _TOKEN_SCALES)
_SOFTMAX_BITS = ".softmax_bits"


class Twin(nn.Module):
    """Base of the twins.

    In eval mode a twin computes the exported graph's integers: uint8, int8 or normalised float32 images [N, C, H, W]
    to int64 logits [N, classes] (float logits = integers * `output_scale`). In train mode, and in floating point
    (`set_quantized(False)`), it maps uint8 or normalised float32 images to float32 logits.

    A twin without `head` returns features [N, channels] instead of logits.

    A subclass makes its modules, `norm` and `head` among them, and calls `name_modules` at the end of its constructor.
    """

    #: Final normalisation; it makes the channels that the head reads.
    norm: LayerNorm
    head: Classifier | None
    #: How softmax and GELU are computed.
    nonlinear: Nonlinear = "ivit"

    def __init__(self, arch: Architecture, preprocess: Preprocess, softmax_bits: int) -> None:
        super().__init__()
        self.arch, self.preprocess, self.softmax_bits = arch, preprocess, softmax_bits
        self.image = ImageInput(preprocess.mean, preprocess.std)
        #: What calibration changed in the weights of the checkpoint; see ivit_onnx.calibration.adjustments.
        self.adjustments: dict[str, np.ndarray[Any, Any]] = {}

    def prepare_images(self, preprocess: Preprocess) -> None:
        """Take another preprocessing; the image's range is set when the twin is calibrated."""
        self.preprocess = preprocess
        self.image = ImageInput(preprocess.mean, preprocess.std)
        self.name_modules()

    def name_modules(self) -> None:
        """Tell every step its name in the network, for messages and for its node."""
        for name, module in self.named_modules():
            if isinstance(module, Step):
                module.path = name

    def set_nonlinear(self, nonlinear: Nonlinear) -> None:
        """Choose how softmax and GELU are computed; before calibration."""
        self.nonlinear = nonlinear
        for module in self.modules():
            if isinstance(module, QuantModule):
                module.set_nonlinear(nonlinear)

    def set_softmax_bits(self, bits: Mapping[str, int]) -> None:
        """Take bits of exponentials for each attention by its name. If all have the same, the network has them."""
        if len({*bits.values()}) == 1:
            (self.softmax_bits,) = {*bits.values()}
        for site in self.sites().attention:
            site.core.set_softmax_bits(bits[site.core.path])

    def softmax_bits_of_layers(self) -> dict[str, int]:
        """Bits of the exponentials or probabilities of each attention by its name, in network order."""
        return {site.core.path: site.core.softmax_bits for site in self.sites().attention}

    def load_weights(self, state_dict: Mapping[str, Tensor]) -> None:
        """Copy the weights of a checkpoint that was validated against the architecture."""
        raise NotImplementedError

    def timm_weights(self) -> dict[str, Tensor]:
        """The weights under timm's names: what `load_weights` takes, bit for bit."""
        raise NotImplementedError

    def stream(self) -> list[nn.Module]:
        """The modules that the residual stream passes, in order: each takes the result of the one before, the first the
        image in integers."""
        raise NotImplementedError

    def named_blocks(self) -> dict[str, Block]:
        """The transformer blocks, in network order."""
        names = {module: name for name, module in self.named_modules()}
        return {names[step]: step for step in self.stream() if isinstance(step, Block)}

    def sites(self) -> Sites:
        """Linear layers, attention and feed-forward networks of the stream, and the head, in network order.

        The patch embedding, whose inputs are pixels, and a head of two tokens are not among them.
        """
        parts = [step.sites() for step in self.stream() if isinstance(step, HasSites)]
        head = self.head
        if head is not None and head.dist_weight is None:
            names = {activation: name for name, activation in self.activations().items()}
            source = names[self.feature_activation]
            parts.append(Sites((LinearSite(head.path, head, head.weight, head.bias, source, "", self.norm),)))
        return Sites.of(parts)

    def tokens(self, image: Tensor) -> QuantTensor:
        """The residual stream at its end, [N, tokens, channels], for images as `forward` takes them."""
        x: QuantTensor = self.image(QuantTensor(image, torch.ones(())))
        for step in self.stream():
            x = step(x)
        return x

    def features(self, image: Tensor) -> QuantTensor:
        """The features that the head reads, [N, channels], for images as `forward` takes them.

        The exported graph is traced through it: only a Step (ivit_onnx.quant.step) may compute with values.
        """
        raise NotImplementedError

    @property
    def feature_activation(self) -> ActivationQuantizer:
        """Where the features are quantised."""
        raise NotImplementedError

    def outputs(self, image: Tensor) -> QuantTensor:
        """Logits, or without a head features, with their scale; the exported graph is traced through it."""
        features = self.features(image)
        y: QuantTensor = features if self.head is None else self.head(features)
        return y

    def forward(self, image: Tensor) -> Tensor:
        return self.outputs(image).value

    @property
    def output_scale(self) -> float:
        """Float logits, or features, = integers * output_scale."""
        scale = self.feature_activation.number("features")
        return float(scale if self.head is None else self.head.lower(scale).scale)

    def set_quantized(self, quantized: bool) -> None:
        """True: integers in eval mode, fake quantisation in train mode. False: floating point, observers on."""
        for module in self.modules():
            if isinstance(module, QuantModule | ActivationQuantizer):
                module.quantized = quantized

    def activations(self) -> dict[str, ActivationQuantizer]:
        """Every quantisation point by name, in network order; the image's, which follows from mean and std, first."""
        return {name: module for name, module in self.named_modules() if isinstance(module, ActivationQuantizer)}

    def used_activations(self) -> dict[str, ActivationQuantizer]:
        """Those that the integers depend on: attention that is deferred leaves out its scores."""
        idle = {point for site in self.sites().attention for point in site.core.idle()}
        return {name: point for name, point in self.activations().items() if point not in idle}

    def learn_scales(self) -> None:
        """Make the scales of 8-bit activations trained parameters.

        The image's scale follows from mean and std; 16-bit ranges have headroom.
        """
        for name, activation in self.used_activations().items():
            if activation.bits == 8 and name != "image.output":
                activation.learn()

    def settle_scales(self) -> None:
        """Take trained scales for those of the integers; to be called after a step of an optimizer."""
        for activation in self.activations().values():
            activation.settle()

    def choose_exponents(self) -> None:
        """Choose n of every Shiftmax and ShiftGELU from the calibrated scales."""
        for module in self.modules():
            if isinstance(module, QuantModule):
                module.choose_exponent()

    def load_reference_ivit(self, scales: Mapping[str, float]) -> None:
        """Take the activation scales of a reference I-ViT checkpoint and compute as its code does, in integers."""
        for name, activation in self.activations().items():
            activation.scale.fill_(scales[name])
        for module in self.modules():
            if isinstance(module, QuantModule):
                module.reference_ivit = True
                if module.reference_ivit_n is not None:
                    module.get_buffer("n").fill_(module.reference_ivit_n)

    def quantization_state(self) -> dict[str, float | int]:
        """Every scale, zero point and n, which attentions are deferred, how many scales tokens have, and the bits of
        attentions that have others than the network, by buffer name: with the weights, all that integers depend on.

        Calibration changes weights; `adjustments` has what is to be repeated on those of the checkpoint.
        """
        values = {name: buffer.item() for name, buffer in self._quantization_buffers().items()}
        found = {name: value for name, value in values.items() if value or not name.endswith(_LATER)}
        bits = self.softmax_bits_of_layers()
        return found | {f"{name}{_SOFTMAX_BITS}": own for name, own in bits.items() if own != self.softmax_bits}

    def load_quantization_state(self, state: Mapping[str, float | int]) -> None:
        """The reverse of `quantization_state`; zero points, marks of deferred attention and numbers of scales of tokens
        that are absent are 0, as before there were any, and bits of attention those of the network.

        Raises:
            CalibrationError: names or values do not fit this network.
        """
        buffers = self._quantization_buffers()
        bits = self._loaded_bits(state)
        state = {name: value for name, value in state.items() if name.removesuffix(_SOFTMAX_BITS) not in bits}
        state = {name: 0 for name in buffers if name.endswith((_ZERO_POINT, *_LATER))} | dict(state)
        if set(state) != set(buffers):
            odd = sorted(set(state) ^ set(buffers))
            raise CalibrationError(
                f"expected {len(buffers)} scales of this architecture, found {len(state)} (first difference: {odd[0]})"
            )
        for name, buffer in buffers.items():
            self._check(name, state[name])
            buffer.fill_(state[name])
        for site in self.sites().attention:
            own = bits[site.core.path]
            if own != self.softmax_bits and not site.core.deferred:
                raise CalibrationError(f"{site.core.path}: expected deferred attention, as it has bits of its own")
            site.core.set_softmax_bits(own)

    def _loaded_bits(self, state: Mapping[str, float | int]) -> dict[str, int]:
        """Bits of each attention in a state: its own, or those of the network."""
        found: dict[str, int] = {}
        for site in self.sites().attention:
            name = f"{site.core.path}{_SOFTMAX_BITS}"
            value = state.get(name, self.softmax_bits)
            if isinstance(value, bool) or not isinstance(value, int) or value not in SOFTMAX_BITS:
                allowed = ", ".join(map(str, SOFTMAX_BITS))
                raise CalibrationError(f"{name}: expected one of {allowed}, found {value!r}")
            found[site.core.path] = value
        return found

    def _check(self, name: str, value: object) -> None:
        """Raises CalibrationError for a value that the buffer cannot have."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise CalibrationError(f"{name}: expected a number, found {value!r}")
        table = self.nonlinear == "table"
        if name.endswith(_DEFERRED):
            expected = "1 (deferred) or 0" if table else "0, as shifts are not deferred"
            if value not in range(1 + table):
                raise CalibrationError(f"{name}: expected {expected}, found {value!r}")
            return
        whole = {".n": (0, MOST_N), _TOKEN_SCALES: (0, MOST_SCALES * table), _ZERO_POINT: (-128 * table, 127 * table)}
        for suffix, (low, high) in whole.items():
            if name.endswith(suffix):
                if value not in range(low, high + 1):
                    raise CalibrationError(f"{name}: expected a whole number from {low} to {high}, found {value!r}")
                return
        if not 0 <= value <= _LARGEST_SCALE:
            raise CalibrationError(f"{name}: expected a scale from 0 to {_LARGEST_SCALE}, found {value!r}")

    def _quantization_buffers(self) -> dict[str, Tensor]:
        kept = (".scale", ".n", _ZERO_POINT, *_LATER)
        return {name: buffer for name, buffer in self.named_buffers() if name.endswith(kept)}
