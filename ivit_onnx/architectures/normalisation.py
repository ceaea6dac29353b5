"""Which normalisations that somebody passes are possible. What files say about themselves is not checked here."""

from __future__ import annotations

from collections.abc import Sequence

from ivit_onnx.errors import IvitError

__all__ = ["MEANS", "STDS", "check_normalisation"]

#: Pixels are in 0..1, so their mean is. Their deviation is 0.5 at most; 1 leaves pixels as they are, and 1/255 (often
#: written 0.0039) makes them 0..255. Outside, pixels would saturate or vanish.
MEANS, STDS = (0.0, 1.0), (0.0039, 1.0)


def check_normalisation(mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
    """Raise IvitError unless what is given lies in MEANS and STDS; numbers for pixels in 0..255 are said in 0..1."""
    for name, values, (low, high) in (("mean", mean, MEANS), ("std", std, STDS)):
        if values is None or all(low <= value <= high for value in values):
            continue
        passed = _in_unit(mean, MEANS, whole=False), _in_unit(std, STDS, whole=mean is not None and max(mean) > 1)
        fits = [
            f"--{option} {','.join(f'{value:.4g}' for value in scaled)}"
            for option, scaled in zip(("mean", "std"), passed, strict=True)
            if scaled is not None
        ]
        given = sum(values is not None for values in (mean, std))
        advice = f"; for pixels in 0..255 as these seem to be, pass {' '.join(fits)}" if len(fits) == given else ""
        raise IvitError(
            f"--{name} expects numbers from {low:g} to {high:g}, of pixels in 0..1, found "
            f"{','.join(f'{value:g}' for value in values)}{advice}"
        )


def _in_unit(values: Sequence[float] | None, bounds: tuple[float, float], *, whole: bool) -> list[float] | None:
    """Numbers for pixels in 0..255 as those for 0..1; such as fit already stay, but `whole` ones, as 1,1,1 can be."""
    if values is None:
        return None
    low, high = bounds
    scaled = [value / 255 for value in values]
    if max(values) <= high and not (whole and min(scaled) >= low):
        scaled = list(values)
    return scaled if all(low <= value <= high for value in scaled) else None
