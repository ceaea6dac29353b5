"""What the summary of an export warns of: limits of its integer functions, what they cost here, and what to try."""

from __future__ import annotations

from dataclasses import replace

from ivit_onnx.calibration import LOW_DB, Calibration, Quality, Recipe, Reference, apply_calibration
from ivit_onnx.calibration.collect import DEAD_LEAVES
from ivit_onnx.checkpoints import Checkpoint
from ivit_onnx.models import Twin, from_checkpoint
from ivit_onnx.options.choices import Nonlinear
from ivit_onnx.quant.exponents import gelu_limit

__all__ = ["limits", "quality_remarks"]

#: Decibels that a choice has to cost before it is worth a warning.
_MUCH_DB = 1.0
_MOST_ACCURATE_BITS = 15


def limits(model: Twin, calibration: Calibration | None = None) -> list[str]:
    """Warnings about ranges that Shiftmax and ShiftGELU of a calibrated twin cannot represent, by layer."""
    found: list[str] = []
    names = {activation: name for name, activation in model.activations().items()}
    for block in model.named_blocks().values() if model.nonlinear == "ivit" else ():
        sites = block.sites()
        for core in (site.core for site in sites.attention):
            n, wanted = core.exponential()["n"], int(core.n)
            if n != wanted:
                found.append(
                    f"{core.path}: n = {n} instead of {wanted}: the exponentials of all tokens would not fit 31 bits"
                )
            point = core.scores()[-1]
            seen = 0.0 if calibration is None else calibration.histograms[names[point]].maximum
            largest = float(point.scale) * 127
            # Other methods than the largest value clip on purpose.
            if seen > 1.01 * largest and round(largest) >= 127:
                found.append(f"{core.path}: Shiftmax clips scores at {largest:.0f}; calibrated values reach {seen:.0f}")
        for module in (site.module for site in sites.mlp):
            largest, limit = float(module.hidden.scale) * module.hidden.levels, gelu_limit(int(module.n))
            if largest > limit:
                found.append(
                    f"{module.path}: ShiftGELU with n = {int(module.n)} tells negative inputs apart in rows with a "
                    f"maximum up to {limit:.1f}; calibrated values reach {largest:.1f}"
                )
    return found


def quality_remarks(
    loaded: Checkpoint,
    model: Twin,
    calibration: Calibration,
    recipe: Recipe,
    reference: Reference,
    quality: Quality,
) -> list[str]:
    """What the choices of the user cost in decibels, and a low quality with its layers and what to try.

    A choice is compared with the same calibration without it, on the same images; without reconstruction, which takes
    minutes.
    """
    remarks, remedies = [], []
    quick = replace(recipe, reconstruction_steps=0)
    choices: list[tuple[str, str, int, Nonlinear]] = []
    if model.nonlinear == "ivit":
        choices.append(("Shiftmax and ShiftGELU", "--nonlinear table", model.softmax_bits, "table"))
    if model.softmax_bits < _MOST_ACCURATE_BITS:
        bits = _MOST_ACCURATE_BITS
        kind = "probabilities" if model.nonlinear == "ivit" else "exponentials"
        cause = f"attention {kind} of {model.softmax_bits} bits"
        choices.append((cause, f"--softmax-bits {bits}", bits, model.nonlinear))
    for cause, remedy, bits, nonlinear in choices:
        other = from_checkpoint(loaded, model.preprocess, bits, nonlinear)
        apply_calibration(other, calibration, quick)
        gained = reference.compare(other).sqnr_db - quality.sqnr_db
        if gained >= _MUCH_DB:
            remedies.append(remedy)
            remarks.append(
                f"{cause} cost {gained:.1f} dB here: {quality.sqnr_db:.1f} dB instead of "
                f"{quality.sqnr_db + gained:.1f} dB with {remedy}"
            )
    if quality.sqnr_db < LOW_DB:
        remarks.append(_low(quality, remedies, calibration, recipe))
    return remarks


def _low(quality: Quality, remedies: list[str], calibration: Calibration, recipe: Recipe) -> str:
    layers = ", ".join(f"{name} ({part:.0%})" for name, part in quality.layers.items() if part >= 0.005)
    # What comes after the residual stream is all that is left.
    layers = layers or "the head"
    tries = [*remedies]
    if recipe.method != "minmax":
        tries.append("--calib-method minmax")
    if calibration.source == DEAD_LEAVES:
        tries.append("images of what the model sees in --calib")
    if not recipe.correct_biases:
        tries.append("--calib-preset default")
    elif not recipe.reconstruction_steps:
        tries.append("--calib-preset best")
    tries.append("ivit-train")
    return (
        f"the output has {quality.sqnr_db:.1f} dB of signal over noise, less than {LOW_DB:.0f}: most noise comes from "
        f"{layers}; try {', '.join(tries)}; ivit-report shows every layer"
    )
