"""From statistics to integers: adjustments of weights, activation scales, n of the exponentials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ivit_onnx.calibration import adjustments as adjust
from ivit_onnx.calibration.adjustments import Adjustments
from ivit_onnx.calibration.collect import Calibration
from ivit_onnx.calibration.correction import correct_biases
from ivit_onnx.calibration.exponentials import fit_gelu, fit_softmax, flat_below
from ivit_onnx.calibration.neurons import neuron_codes
from ivit_onnx.calibration.presets import Recipe
from ivit_onnx.calibration.reconstruction import reconstruct
from ivit_onnx.calibration.references import References
from ivit_onnx.calibration.rounding import compensate_rounding
from ivit_onnx.calibration.scores import COARSE, score_range
from ivit_onnx.calibration.shapes import check_shapes
from ivit_onnx.calibration.smoothing import balance_codes, shifts, smoothing_codes
from ivit_onnx.calibration.weights import clip_codes
from ivit_onnx.errors import CalibrationError
from ivit_onnx.models import Twin
from ivit_onnx.options.choices import METHODS, Method, check_choice
from ivit_onnx.quant.modules import ActivationQuantizer, MlpAdd
from ivit_onnx.quant.observers import Histogram
from ivit_onnx.quant.recorders import Channels
from ivit_onnx.quant.sites import AttentionSite

__all__ = ["apply_calibration", "correction_images"]

Array = np.ndarray[Any, Any]

#: Unseen images go beyond the calibrated ones. 16-bit values have the resolution to leave headroom for them.
HEADROOM_16_BIT = 1.25
#: Tokens on which biases are corrected, and the fewest and most images that they are taken from.
CORRECTION_TOKENS = 4096
CORRECTION_IMAGES = (6, 16)


@dataclass
class _Seen:
    """Statistics of one activation, after the adjustments made so far."""

    histogram: Histogram
    channels: Channels | None
    rows: Array | None

    def divide(self, factors: Array) -> None:
        """The activation is divided by one factor per channel."""
        self._transform(factors, np.zeros_like(factors))

    def subtract(self, shift: Array) -> None:
        """One number per channel is subtracted from the activation."""
        self._transform(np.ones_like(shift), -shift)

    def _transform(self, factors: Array, offsets: Array) -> None:
        assert self.channels is not None
        assert self.rows is not None
        self.channels = self.channels.transformed(factors, offsets)
        self.rows = (self.rows.astype(np.float32) + offsets.astype(np.float32)) / factors.astype(np.float32)
        histogram = Histogram()
        histogram.update(torch.from_numpy(self.rows))
        histogram.low, histogram.high = float(self.channels.minimum.min()), float(self.channels.maximum.max())
        histogram.limit = max(histogram.limit, 1e-30)
        self.histogram = histogram


def apply_calibration(model: Twin, calibration: Calibration, recipe: Recipe | Method) -> None:
    """Set every activation scale and every n of the model, and adjust its weights.

    A method stands for the recipe with that method and nothing else. 16-bit activations take the largest value seen
    with headroom for unseen images; the input's range follows from mean and std.

    Raises:
        CalibrationError: the statistics are of another architecture, the method is unknown, or the model's weights
            have been adjusted before.
    """
    if not isinstance(recipe, Recipe):
        recipe = Recipe(method=recipe)
    check_choice("a calibration method", recipe.method, METHODS, CalibrationError)
    check_shapes(model, calibration)
    if model.adjustments:
        raise CalibrationError("the weights of this model are adjusted already; make it again from its checkpoint")
    seen = {
        name: _Seen(histogram, calibration.channels.get(name), calibration.rows.get(name))
        for name, histogram in calibration.histograms.items()
    }
    made: Adjustments = {}
    _preserving(model, recipe, calibration, seen, made)
    references = _references(model, recipe, calibration, seen)
    if recipe.scale_neurons:
        _scale_neurons(model, seen, references, made)
    _ranges(model, recipe, references, seen)
    _weights(model, recipe, references, calibration.sample, seen, made)
    model.adjustments = made


def _preserving(
    model: Twin, recipe: Recipe, calibration: Calibration, seen: dict[str, _Seen], made: Adjustments
) -> None:
    """The adjustments that do not change the function of the network."""
    for attention in model.sites().attention:
        name = attention.qkv.name
        if name in calibration.centers:
            made[f"{name}.center"] = calibration.centers[name]
            adjust.center(attention.qkv, calibration.centers[name])
        channels = seen[f"{name}.output"].channels
        if recipe.balance_heads and channels is not None:
            codes = balance_codes(channels)
            made[f"{name}.balance"] = codes
            adjust.balance(attention.qkv, attention.proj, codes)
            queries, values = (adjust.decode_factors(row).astype(np.float64) for row in codes)
            seen[f"{name}.output"].divide(np.concatenate([queries, 1 / queries, values]))
            seen[attention.proj.source].divide(values)
    for site in model.sites().linear:
        channels = seen[site.source].channels
        if site.norm is None or channels is None:
            continue
        if recipe.shifting and site.bias is not None and not site.padded:
            shift = shifts(channels, site.weight.detach().numpy())
            if shift is not None:
                made[f"{site.norm_name}.shift"] = shift
                adjust.shift(site, shift)
                for name in {f"{site.norm_name}.output", site.source}:
                    seen[name].subtract(shift.astype(np.float64))
        if recipe.smoothing and (channels := seen[site.source].channels) is not None:
            codes, _ = smoothing_codes(channels, site.weight.detach().numpy())
            made[f"{site.norm_name}.smoothing"] = codes
            adjust.smooth(site, codes)
            factors = adjust.decode_factors(codes).astype(np.float64)
            for name in {f"{site.norm_name}.output", site.source}:
                seen[name].divide(factors)


def _ranges(model: Twin, recipe: Recipe, references: References | None, seen: dict[str, _Seen]) -> None:
    """Scale and n of everything."""
    model.image.set_range()
    activations = model.activations()
    for name, statistics in seen.items():
        activation = activations[name]
        if activation.bits == 16:
            activation.set_range(HEADROOM_16_BIT * statistics.histogram.maximum)
        else:
            activation.set_range(statistics.histogram.range(recipe.method, activation.levels))
    if recipe.zero_points:
        for mlp in model.sites().mlp:
            if mlp.module.nonlinear == "table":
                _one_sided(mlp.module, seen[f"{mlp.name}.hidden"].histogram, seen[f"{mlp.name}.activated"].histogram)
    for mlp in model.sites().mlp:
        rows = seen[f"{mlp.name}.hidden"].rows
        mlp.module.fit_branch(np.zeros((0, 0)) if rows is None else rows)
    for attention in model.sites().attention:
        for point in attention.core.scores()[-1:]:
            _score_range(attention, point, recipe, references)
    model.choose_exponents()
    for mlp in model.sites().mlp if recipe.fit_exponentials else ():
        module, hidden = mlp.module, seen[f"{mlp.name}.hidden"]
        if module.nonlinear == "ivit":
            rows, largest = hidden.rows, hidden.histogram.maximum
            if rows is not None and (found := fit_gelu(rows, largest, module.act)) is not None:
                module.hidden.set_scale(float(found[0]))
                module.n.fill_(found[1])


def _score_range(
    attention: AttentionSite, point: ActivationQuantizer, recipe: Recipe, references: References | None
) -> None:
    """The scale of the argument of a softmax. Tables have the exact function at any scale."""
    core, largest = attention.core, float(point.scale) * point.levels
    if references is not None and core.path in references.attention:
        outgoing = attention.proj.weight.detach().square().sum(0)
        largest = score_range(core, references.attention[core.path], largest, outgoing)
    by_shifts = recipe.fit_exponentials and core.nonlinear == "ivit"
    if by_shifts and (scale := fit_softmax(largest)) is not None:
        point.set_scale(float(scale))


def _one_sided(mlp: MlpAdd, hidden: Histogram, activated: Histogram) -> None:
    """Ranges of the argument and the result of a GELU by table: what was seen, inside the symmetric ranges."""
    for activation, seen in ((mlp.activated, activated), (mlp.hidden, hidden)):
        largest = float(activation.scale) * activation.levels
        low, high = max(-largest, seen.low), min(largest, seen.high)
        if activation is mlp.hidden:
            # Below, the result is rounded to 0, even if the range itself is rounded.
            low = max(low, flat_below(mlp.act, float(mlp.activated.scale) / 4))
        activation.set_bounds(low, high)


def _references(model: Twin, recipe: Recipe, calibration: Calibration, seen: dict[str, _Seen]) -> References | None:
    """What the floating-point network computes on the images of corrections, if there are any."""
    every = recipe.reconstruction_steps > 0
    images = correction_images(model, calibration.sample, every=every)
    if not len(images) or not (recipe.clip_scores or recipe.correct_biases or recipe.reconstruction_steps):
        return None
    names = {activation: name for name, activation in model.activations().items()}
    coarse = []
    for attention in model.sites().attention if recipe.clip_scores else ():
        for point in attention.core.scores()[-1:]:
            if seen[names[point]].histogram.maximum > COARSE * point.levels:
                coarse.append(attention.core.path)
    return References.collect(model, images, with_blocks=every, attention=coarse)


def correction_images(model: Twin, sample: Array, *, every: bool = False) -> torch.Tensor:
    """Normalised float32 images [N, C, H, W] of a calibration's sample: as many as corrections take, or all."""
    images = torch.from_numpy(sample.astype(np.float32))
    fewest, most = CORRECTION_IMAGES
    count = min(max(CORRECTION_TOKENS // model.arch.tokens, fewest), most)
    return images if every else images[:: -(-len(images) // count) or 1]


def _scale_neurons(model: Twin, seen: dict[str, _Seen], references: References | None, made: Adjustments) -> None:
    for mlp in model.sites().mlp:
        hidden, activated = seen[f"{mlp.name}.hidden"], seen[f"{mlp.name}.activated"]
        if hidden.channels is None or hidden.rows is None or activated.channels is None:
            continue
        outgoing = mlp.fc2.weight.detach().square().sum(0).double().numpy()
        codes = neuron_codes(hidden.channels, hidden.rows, outgoing, mlp.module.act)
        if not codes.any():
            continue
        made[f"{mlp.name}.neurons"] = codes
        adjust.scale_neurons(mlp, codes)
        factors = adjust.decode_factors(codes).astype(np.float64)
        hidden.divide(factors)
        activated.divide(factors)
        if references is not None:
            references.means[mlp.fc1.target].div_(torch.from_numpy(factors).float())


def _weights(
    model: Twin,
    recipe: Recipe,
    references: References | None,
    sample: Array,
    seen: dict[str, _Seen],
    made: Adjustments,
) -> None:
    """The adjustments that change the function of the network."""
    sites = model.sites().linear
    for site in sites if recipe.clip_weights else ():
        if (channels := seen[site.source].channels) is not None:
            made[f"{site.name}.clip"] = clip_codes(site.weight.detach(), channels.mean_square)
            adjust.clip(site, made[f"{site.name}.clip"])
    if recipe.compensate_rounding and len(images := correction_images(model, sample, every=True)):
        made.update({f"{name}.rounding": offsets for name, offsets in compensate_rounding(model, images).items()})
    if references is None or not (recipe.correct_biases or recipe.reconstruction_steps):
        return
    biases = {site.name: site.bias.detach().clone() for site in sites if site.bias is not None}
    if recipe.correct_biases:
        correct_biases(model, references.images, references.means)
    if recipe.reconstruction_steps:
        aims = references.blocks, references.importance
        moves = reconstruct(model, references.images, *aims, recipe.reconstruction_steps)
        for name, moved in moves.items():
            made[f"{name}.rounding"] = made.get(f"{name}.rounding", np.int8(0)) + moved
    for site in sites:
        if site.bias is not None and site.target:
            made[f"{site.name}.correction"] = adjust.representable(site.bias.detach() - biases[site.name])
            with torch.no_grad():
                site.bias.copy_(biases[site.name])
            adjust.correct(site, made[f"{site.name}.correction"])
