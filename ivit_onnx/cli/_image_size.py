"""The option --img-size."""

from __future__ import annotations

from typing import Any

import typer

from ivit_onnx.architectures import Size
from ivit_onnx.errors import IvitError
from ivit_onnx.numbers import RANGES

__all__ = ["image_size"]


def image_size(metavar: str = "SIZE|HEIGHTxWIDTH") -> dict[str, Any]:
    """Arguments of `typer.Option` for a size: 224, or 64x256 for height and width."""

    def parse(given: str) -> Size:
        try:
            return Size.parse(given)
        except IvitError:
            raise typer.BadParameter(
                f"expected {RANGES['img_size']}, or HEIGHTxWIDTH such as 64x256, found {given!r}"
            ) from None

    return {"parser": parse, "metavar": metavar}
