"""Changes that calibration makes to the weights of a checkpoint, as small arrays from which they can be repeated.

Every change is elementwise and in float32: repeating it gives the same weights on every machine. Arrays by name:

    LINEAR.center      float16 [C]     subtracted from the biases of the keys
    LINEAR.balance     int8 [2, C]     factors (codes): queries divided and keys multiplied by the first row, values
                                       divided and the columns of the output projection multiplied by the second
    NORM.shift         float16 [C]     subtracted from the outputs of a normalisation; the bias after it makes up for it
    NORM.smoothing     int8 [C]        factors (codes): weight and bias of a normalisation divided, columns multiplied
    MLP.neurons        int8 [H]        factors (codes): arguments of the activation function divided, columns after it
                                       multiplied; changes the function a little
    LINEAR.clip        uint8 [out]     rows of weights clipped to (1 - code / 256) of their largest absolute value
    LINEAR.rounding    int8 [out, in]  integer weights less those of rounding to nearest, at most FARTHEST
    LINEAR.correction  float16 [out]   added to the biases

They are made, and repeated, in this order.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ivit_onnx.budgets import inflated
from ivit_onnx.errors import CalibrationError
from ivit_onnx.models import Twin
from ivit_onnx.quant.sites import LinearSite, MlpSite

__all__ = [
    "COMPENSATED",
    "FARTHEST",
    "Adjustments",
    "adjustments_from_text",
    "adjustments_to_text",
    "balance",
    "center",
    "clip",
    "correct",
    "decode_factors",
    "encode_factors",
    "is_free",
    "is_rounded",
    "replay",
    "recovered_offsets",
    "representable",
    "scale_neurons",
    "round_weights",
    "shift",
    "smooth",
    "weight_scales",
]

Array = np.ndarray[Any, Any]
Adjustments = dict[str, Array]

#: Most steps that an integer weight is off the nearest one: those of compensated rounding, and one of reconstruction.
FARTHEST = 16
COMPENSATED = FARTHEST - 1


def encode_factors(factors: Array) -> Array:
    """int8 codes of the nearest (1 + k / 4) * 2^j to positive `factors`: exact in float32, and nothing else is."""
    exponent = np.floor(np.log2(factors))
    quarter = np.rint(4 * (factors / np.exp2(exponent) - 1))
    codes: Array = np.clip(4 * exponent + quarter, -96, 95).astype(np.int8)
    return codes


def decode_factors(codes: Array) -> Array:
    """float32 factors of int8 codes."""
    wide = codes.astype(np.int64)
    factors: Array = np.ldexp(1 + (wide & 3) / 4, wide >> 2).astype(np.float32)
    return factors


def center(site: LinearSite, shift: Array) -> None:
    """Subtract `shift` from the biases of the keys of a layer that makes queries, keys and values."""
    assert site.bias is not None
    width = len(shift)
    with torch.no_grad():
        site.bias[width : 2 * width].sub_(_tensor(shift))


def balance(qkv: LinearSite, proj: LinearSite, codes: Array) -> None:
    """Spread queries, keys and values; the function of the network stays the same."""
    assert qkv.bias is not None
    queries, values = (_tensor(decode_factors(row)) for row in codes)
    width = len(queries)
    with torch.no_grad():
        for parameter in (qkv.weight, qkv.bias):
            by_row = (slice(None), None) if parameter.ndim == 2 else (slice(None),)
            parameter[:width] /= queries[by_row]
            parameter[width : 2 * width] *= queries[by_row]
            parameter[2 * width :] /= values[by_row]
        proj.weight.mul_(values)


def shift(site: LinearSite, shifts: Array) -> None:
    """Subtract `shifts` from the outputs of the normalisation, add what they amount to to the bias after it."""
    assert site.norm is not None
    assert site.bias is not None
    with torch.no_grad():
        site.norm.bias.sub_(_tensor(shifts))
        site.bias.add_(_exact_product(site.weight.detach().numpy(), shifts))


def _exact_product(weight: Array, vector: Array) -> Tensor:
    """float32 [out] of weights [out, in] and a float16 vector [in], in integers: the same in any order of addition."""
    products = weight.astype(np.float64) * vector.astype(np.float64)
    _, exponent = np.frexp(np.abs(products).max(1))
    # 2^44 for the largest product of a row leaves headroom for 2^18 of them.
    sums = np.rint(np.ldexp(products, 44 - exponent[:, None])).astype(np.int64).sum(1)
    return torch.from_numpy(np.ldexp(sums.astype(np.float64), exponent - 44).astype(np.float32))


def smooth(site: LinearSite, codes: Array) -> None:
    """Divide the outputs of the normalisation, multiply the weights that read them."""
    assert site.norm is not None
    factors = _tensor(decode_factors(codes))
    with torch.no_grad():
        site.norm.weight.div_(factors)
        site.norm.bias.div_(factors)
        site.weight.mul_(factors)


def scale_neurons(mlp: MlpSite, codes: Array) -> None:
    """Divide the arguments of the activation function, multiply the weights that read its results."""
    assert mlp.fc1.bias is not None
    factors = _tensor(decode_factors(codes))
    with torch.no_grad():
        mlp.fc1.weight.div_(factors[:, None])
        mlp.fc1.bias.div_(factors)
        mlp.fc2.weight.mul_(factors)


def clip(site: LinearSite, codes: Array) -> None:
    """Clip each row of weights, from whose largest value its scale follows."""
    with torch.no_grad():
        largest = site.weight.abs().amax(1) * _tensor(1 - codes.astype(np.float32) / 256)
        site.weight.clamp_(-largest[:, None], largest[:, None])


def weight_scales(weight: Tensor) -> Tensor:
    """The scale of each row of weights [out, in], as WeightedModule.quantize_linear has it where rows are not zero."""
    return (weight.amax(1).maximum(-weight.amin(1)) / 127).clamp(min=1e-12)


def is_free(scale: Tensor) -> Tensor:
    """Whether rows of these scales may get other integers than the nearest: not those of nearly no weight, whose scale
    is that of their bias."""
    return scale > 1e-4 * scale.median()


def round_weights(site: LinearSite, offsets: Array) -> None:
    """Replace weights by multiples of their row's scale: the nearest, plus `offsets`.

    In floating-point mode the network keeps the weights that it had before the first time.
    """
    site.layer.keep_exact(site.weight)
    with torch.no_grad():
        scale = weight_scales(site.weight)[:, None]
        integers = torch.round(site.weight / scale) + torch.from_numpy(offsets)
        site.weight.copy_(integers.clamp(-127, 127) * scale)


def recovered_offsets(site: LinearSite, integers: Array) -> Array:
    """What the integer weights [out, in] of a model differ from the nearest ones, for `round_weights`.

    Raises:
        CalibrationError: by more than FARTHEST steps.
    """
    with torch.no_grad():
        nearest = torch.round(site.weight / weight_scales(site.weight)[:, None]).clamp(-127, 127).numpy()
    offsets: Array = integers - nearest
    # Rows of nearly no weight have the scale that their bias needs; see `is_free`.
    offsets[np.abs(integers.astype(np.int64)).max(1) < 127] = 0
    if np.abs(offsets).max(initial=0) > FARTHEST:
        raise CalibrationError(
            f"{site.name}: integer weights are more than {FARTHEST} steps from those of the checkpoint"
        )
    rounding: Array = offsets.astype(np.int8)
    return rounding


def correct(site: LinearSite, correction: Array) -> None:
    """Add to the biases."""
    assert site.bias is not None
    with torch.no_grad():
        site.bias.add_(_tensor(correction))


def is_rounded(adjustments: Mapping[str, Array]) -> bool:
    """Whether the integer weights of the model are needed to repeat the adjustments."""
    return any(name.endswith(".rounding") for name in adjustments)


def replay(model: Twin, adjustments: Mapping[str, Array], integers: Mapping[str, Array] | None = None) -> None:
    """Make the changes of a calibration to a twin with the weights of its checkpoint, and remember them there.

    `integers`: the int8 matrices [in, out] of the exported model by name, from which empty arrays of rounding, as
    `adjustments_from_text` gives them, are filled.

    Raises:
        CalibrationError: names or shapes are not those of the network.
    """
    todo = dict(adjustments)
    try:
        _replay_attention(model, todo)
        _replay_norms(model, todo)
        _replay_neurons(model, todo)
        _replay_weights(model, todo, integers or {})
    except (RuntimeError, AssertionError, ValueError) as error:
        raise CalibrationError(f"the adjustments are of another architecture: {error}") from None
    if todo:
        raise CalibrationError(f"the adjustments are of another architecture: {min(todo)} has no place in it")
    model.adjustments = dict(adjustments)


def _replay_attention(model: Twin, todo: Adjustments) -> None:
    for attention in model.sites().attention:
        if (means := todo.pop(f"{attention.qkv.name}.center", None)) is not None:
            center(attention.qkv, means)
        if (codes := todo.pop(f"{attention.qkv.name}.balance", None)) is not None:
            balance(attention.qkv, attention.proj, codes)


def _replay_norms(model: Twin, todo: Adjustments) -> None:
    for site in model.sites().linear:
        if site.norm_name and (shifts := todo.pop(f"{site.norm_name}.shift", None)) is not None:
            shift(site, shifts)
        if site.norm_name and (codes := todo.pop(f"{site.norm_name}.smoothing", None)) is not None:
            smooth(site, codes)


def _replay_neurons(model: Twin, todo: Adjustments) -> None:
    for mlp in model.sites().mlp:
        if (codes := todo.pop(f"{mlp.name}.neurons", None)) is not None:
            scale_neurons(mlp, codes)


def _replay_weights(model: Twin, todo: Adjustments, integers: Mapping[str, Array]) -> None:
    for site in model.sites().linear:
        for kind, change in (("clip", clip), ("rounding", round_weights), ("correction", correct)):
            if (array := todo.pop(f"{site.name}.{kind}", None)) is not None:
                if kind == "rounding" and array.size == 0:
                    array = recovered_offsets(site, _matrix(site, integers))
                change(site, array)


def adjustments_to_text(adjustments: Mapping[str, Array]) -> str:
    """Base64 of a compressed safetensors file. Arrays of rounding are empty there: the model's integers show it."""
    from safetensors.numpy import save

    empty = np.zeros(0, np.int8)
    small = {name: empty if name.endswith(".rounding") else array for name, array in sorted(adjustments.items())}
    return base64.b64encode(zlib.compress(save(small), 9)).decode("ascii")


def adjustments_from_text(text: str) -> Adjustments:
    """The reverse of `adjustments_to_text`.

    Raises:
        ValueError: the text is damaged, or stands for more than a file may.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return dict(load(inflated(base64.b64decode(text, validate=True), "adjustments")))
    except SafetensorError as error:
        raise ValueError(f"damaged adjustments: {error}") from None


def representable(values: Tensor) -> Array:
    """float16, which is how changes of biases are kept."""
    limit = float(np.finfo(np.float16).max)
    return values.clamp(-limit, limit).numpy().astype(np.float16)


def _matrix(site: LinearSite, integers: Mapping[str, Array]) -> Array:
    """The integer weights [out, in] of a layer."""
    name = site.constant
    if name not in integers or integers[name].shape != tuple(site.weight.shape[::-1]):
        raise CalibrationError(f"expected integer weights {name} in the model, found none of that name and shape")
    return np.ascontiguousarray(integers[name].T)


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.asarray(array, np.float32))
