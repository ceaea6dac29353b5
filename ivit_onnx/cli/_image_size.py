"""The option --img-size."""

from __future__ import annotations

from ivit_onnx.architectures import Size
from ivit_onnx.errors import IvitError

__all__ = ["IMAGE_SIZE", "image_size"]

#: What the option takes, for help texts.
IMAGE_SIZE = "SIZE|HEIGHTxWIDTH"


def image_size(text: str | None) -> Size | None:
    """Height and width of a value of --img-size. Raises IvitError for anything but 224, or 64x256 and the like."""
    if text is None:
        return None
    try:
        return Size.parse(text)
    except IvitError as error:
        raise IvitError(f"--img-size: {error}") from None
