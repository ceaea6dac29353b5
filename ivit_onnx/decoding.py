"""Image files as upright RGB of 8 bits: Pillow's own conversion, but for 16 bits, Exif orientation and its messages."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from ivit_onnx.budgets import IMAGE_BYTES, PIXELS
from ivit_onnx.errors import ImageError
from ivit_onnx.inputs import open_input, reason_of

__all__ = ["IMAGE_SUFFIXES", "decode_rgb", "find_images", "is_hidden", "open_rgb", "remarks_of", "to_rgb"]

#: Suffixes of files that a folder is searched for. Those that Pillow cannot read (HEIC, without a plug-in) are among
#: them, so that such a file is named instead of passed over.
IMAGE_SUFFIXES = frozenset(
    {
        *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
        *(".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),
    }
)

#: What Pillow is asked for, HEIF with a plug-in. Its reader of EPS, for one, would start another program.
_FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")

#: What puts an image upright, by its Exif orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED = "turned upright by the Exif orientation"
_SCALED = "16 bits per channel scaled to 8, 65535 is white"
_FIRST = "only the first frame or page"


def find_images(folder: str | os.PathLike[str]) -> list[Path]:
    """Image files below `folder`, sorted by path; ImageError when there are none, or when a folder cannot be listed.

    Links to folders are followed, each folder is entered once. What file managers hide is left out: see `is_hidden`.
    """
    folder, seen, files = Path(folder), set(), []
    for parent, folders, names in os.walk(folder, onerror=_cannot_list, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        files += [Path(parent) / name for name in names if _is_image(name)]
    if not files:
        raise ImageError(f"no images in {folder} (looked for {', '.join(sorted(IMAGE_SUFFIXES))} in it and below)")
    return sorted(files)


def is_hidden(name: str) -> bool:
    """Whether the name of a file or folder is one that only programs look at: .name, and the likes of __MACOSX."""
    return name.startswith(".") or name in ("__MACOSX", "@eaDir")


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_SUFFIXES and not is_hidden(name)


def _cannot_list(error: OSError) -> None:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return  # nothing there: the caller says so
    raise ImageError(f"cannot list the folder {error.filename}: {error.strerror}")


def open_rgb(path: str | os.PathLike[str]) -> Image.Image:
    """The image of a file as `to_rgb` makes it; of a file with several frames or pages the first.

    Raises ImageError, which names the file, when it is missing or is not a readable image.
    """
    file = Path(path)
    if not file.exists():
        raise ImageError(f"image {path} does not exist")
    if file.is_dir():
        raise ImageError(f"{path} is a folder, expected an image file")
    try:
        with open_input(file, IMAGE_BYTES) as opened, Image.open(opened, formats=_formats()) as image:
            return to_rgb(image)
    except UnidentifiedImageError:
        with open_input(file) as opened:
            reason = _unknown(opened.read(16), file.suffix)
    except OSError as error:
        reason = reason_of(error)
    except Exception as error:  # decoders raise many types on damaged files
        reason = _reason(error)
    raise ImageError(f"cannot read image {path}: {reason}")


def decode_rgb(content: bytes) -> Image.Image:
    """The image of a file in memory as `to_rgb` makes it. Raises ImageError where it is no readable image."""
    try:
        IMAGE_BYTES.check(len(content), error=ImageError)
        with Image.open(io.BytesIO(content), formats=_formats()) as image:
            return to_rgb(image)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(_unknown(content[:16])) from None
    except Exception as error:  # decoders raise many types on damaged files
        raise ImageError(_reason(error)) from None


def to_rgb(image: Image.Image) -> Image.Image:
    """A Pillow image as one in RGB of 8 bits per channel, upright; the given one stays as it is.

    The Exif orientation is applied. 16 bits per channel are scaled to 8 by their upper byte, as Pillow itself reads
    colour images of 16 bits. Everything else is Pillow's `convert("RGB")`, as in timm: transparency is dropped, grey
    repeated. `remarks_of` the result says what was done.

    Raises ImageError when the image cannot be read, or when nothing says which value is white: floating point, integers
    of 32 bits, and values up to 255 in 16 bits.
    """
    try:
        PIXELS.check(image.width * image.height, error=ImageError)
        remarks = [_FIRST] if _has_frames(image) else []
        # Pillow turns a TIFF when it loads it, and forgets the orientation.
        before = image.tag_v2.get(ExifTags.Base.Orientation) if hasattr(image, "tag_v2") else None
        image.load()
        turn = _TURNS.get(_orientation(image))
        if turn is not None or before in _TURNS:
            remarks.append(_TURNED)
        upright = image if turn is None else image.transpose(turn)
        if upright.mode == "F":
            low, high = upright.getextrema()
            raise ImageError(
                f"floating-point pixels from {low:g} to {high:g}: nothing says which value is white; scale them to "
                "0..255 and save 8 bits"
            )
        if upright.mode == "I" or upright.mode.startswith("I;16"):
            remarks.append(_SCALED)
            upright = Image.fromarray(_upper_byte(np.asarray(upright)))
        rgb = upright.convert("RGB")
    except ImageError:
        raise
    except Exception as error:  # decoders raise many types on damaged files
        raise ImageError(_reason(error)) from None
    # Without the orientation, which would be applied a second time.
    rgb.info = {"remarks": tuple(remarks)}
    return rgb


def remarks_of(image: Image.Image) -> tuple[str, ...]:
    """What `to_rgb` did to an image beyond converting its colours."""
    return tuple(image.info.get("remarks", ()))


def _has_frames(image: Image.Image) -> bool:
    """Whether there are images behind the first. Those in a photograph of a telephone (MPO) are previews of it."""
    return image.format != "MPO" and bool(getattr(image, "is_animated", False))


def _orientation(image: Image.Image) -> Any:
    """The Exif orientation; None where there is none, or the Exif data are damaged, which is no fault of the image."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # whatever the parser trips over
        return None


def _upper_byte(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """0..65535 to 0..255, uint8 [H, W]."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ImageError(
            f"expected 8 or 16 bits per channel, found integers from {low} to {high}; scale them to 0..255 and save 8 "
            "bits"
        )
    if 0 < high < 256:
        raise ImageError(
            f"expected 16 bits per channel with values up to 65535, found none above {high}: all would be black; "
            "save 8 bits if white is 255"
        )
    upper: np.ndarray[Any, Any] = (values >> 8).astype(np.uint8)
    return upper


def _formats() -> list[str]:
    """Those of `_FORMATS` that this Pillow has."""
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _unknown(head: bytes, suffix: str = "") -> str:
    """What a file is that begins so, and is of none of the formats."""
    if not head:
        return "the file is empty"
    if head[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1") or suffix.lower() in (".heic", ".heif"):
        return "Pillow does not read HEIC; convert it to JPEG or PNG"
    return f"expected an image in a format that Pillow reads, found a file that begins with {head!r}"


def _reason(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        most = min(PIXELS.most, 2 * (Image.MAX_IMAGE_PIXELS or PIXELS.most))
        return f"expected at most {most:,} {PIXELS.what}, found more; {PIXELS.advice}"
    return " ".join(str(error).split()) or type(error).__name__
