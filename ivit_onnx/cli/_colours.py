"""Values of options that are a number for each colour."""

from __future__ import annotations

from ivit_onnx.errors import IvitError
from ivit_onnx.numbers import check_colours

__all__ = ["colours"]


def colours(name: str, text: str | None) -> tuple[float, float, float] | None:
    """Three numbers, separated by commas or spaces, for the option --`name`. Raises IvitError for anything else."""
    if text is None:
        return None
    try:
        red, green, blue = (float(part) for part in text.replace(",", " ").split())
    except ValueError:
        raise IvitError(f"--{name} expects three numbers such as 0.5,0.5,0.5, found {text!r}") from None
    check_colours(f"--{name}", (red, green, blue))
    return red, green, blue
