"""What calibration does: one switch for each ingredient, and the three presets."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ivit_onnx.errors import CalibrationError
from ivit_onnx.options.choices import METHODS, PRESETS, Method, Preset, check_choice

__all__ = ["RECIPES", "Recipe", "recipe"]


@dataclass(frozen=True)
class Recipe:
    """The ingredients of one calibration; docs/accuracy.md has the equations.

    Attributes:
        method: how the range of an 8-bit activation follows from its statistics.
        balance_heads: spread queries, keys and values over the one scale that they share.
        zero_points: ranges of the arguments and results of a GELU by table that need not be symmetric.
        shifting: subtract the mean of each channel of a normalisation where it pays, add it to the bias after it.
        smoothing: divide the outputs of a normalisation by one factor per channel, multiply the weights after it.
        scale_neurons: divide neurons that reach far beyond the others before their GELU, multiply the columns after it.
        clip_scores: ranges of attention scores that are too large for 8 bits, by the attention's error.
        fit_exponentials: scale and n of each Shiftmax and ShiftGELU from the layer's own rows.
        clip_weights: the range of each row of weights with the least squared error of the layer's output.
        correct_biases: add to each bias what the mean output of its quantised layer lacks.
        compensate_rounding: round weights so that their errors make up for each other on the images.
        reconstruction_steps: steps of gradient descent on the weights of each block, 0 for none.
    """

    method: Method = "minmax"
    zero_points: bool = False
    balance_heads: bool = False
    shifting: bool = False
    smoothing: bool = False
    scale_neurons: bool = False
    clip_scores: bool = False
    fit_exponentials: bool = False
    clip_weights: bool = False
    correct_biases: bool = False
    compensate_rounding: bool = False
    reconstruction_steps: int = 0


#: Nothing is worth clipping: what is large carries information, such as the massive activations of a large ViT.
_DEFAULT = Recipe(
    method="minmax",
    zero_points=True,
    balance_heads=True,
    shifting=True,
    smoothing=True,
    scale_neurons=True,
    clip_scores=True,
    fit_exponentials=True,
    clip_weights=True,
    correct_biases=True,
    compensate_rounding=True,
)

RECIPES: dict[Preset, Recipe] = {
    "fast": Recipe(method="minmax", zero_points=True, balance_heads=True, shifting=True, smoothing=True),
    "default": _DEFAULT,
    "best": replace(_DEFAULT, reconstruction_steps=100),
}


def recipe(preset: Preset, method: Method | None = None) -> Recipe:
    """The recipe of a preset, with another method if one is given.

    Raises:
        CalibrationError: there is no such preset or method.
    """
    check_choice("a calibration preset", preset, PRESETS, CalibrationError)
    if method is None:
        return RECIPES[preset]
    check_choice("a calibration method", method, METHODS, CalibrationError)
    return replace(RECIPES[preset], method=method)
