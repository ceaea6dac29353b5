"""Images from folders, arrays and iterables, resized and normalised as timm does for evaluation. No torch here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from ivit_onnx.architectures import Preprocess, Size
from ivit_onnx.arrays import map_npy, open_npz
from ivit_onnx.budgets import PIXELS, WEIGHT_BYTES
from ivit_onnx.decoding import IMAGE_SUFFIXES, find_images, open_rgb, remarks_of, to_rgb
from ivit_onnx.errors import ImageError
from ivit_onnx.inputs import open_input, reason_of
from ivit_onnx.numbers import check_numbers

__all__ = [
    "ARRAY_SUFFIXES",
    "IMAGE_SUFFIXES",
    "ImageSource",
    "count_images",
    "find_images",
    "left_out",
    "normalize",
    "read_file",
    "read_images",
    "read_pixels",
]

Array: TypeAlias = np.ndarray[Any, Any]
ImageSource: TypeAlias = "str | os.PathLike[str] | Array | Iterable[Any]"

#: Files of arrays, which hold any number of images.
ARRAY_SUFFIXES = frozenset({".npy", ".npz"})

#: How far normalised values may lie outside of what pixels give, as a multiple of that range: for augmentations.
_HEADROOM = 3

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def read_images(
    source: ImageSource, preprocess: Preprocess, limit: int | None = None, unreadable: list[str] | None = None
) -> Iterator[Array]:
    """Yield normalised float32 images [3, height, width], one at a time.

    `source` is one of

    * a folder: every image below it, in sorted order; only one image is in memory at a time;
    * an image file;
    * an .npz file with the key `images`, an .npy file, or an array: uint8 pixels [N, 3, H, W] or [N, H, W, 3] (grey
      images with 1 channel are repeated), or normalised float [N, 3, height, width]; the first axis may be absent;
    * any iterable of such arrays (batches too), Pillow images or paths; of a tuple, as a data loader yields with
      labels, the first element is taken.

    Pixels of another size than the model's are resized and cropped like image files; floats of another size are an
    error. With `limit`, a folder or an array gives that many images, evenly spaced; an iterable its first ones.

    With a list for `unreadable`, files of a folder that cannot be read are left out, and what is wrong with each is
    put there; without, they are errors.

    Raises OptionError for a wrong limit, ImageError when the first image is asked for or as soon as a bad image is met,
    and at the end, when no file of a folder could be read.
    """
    check_numbers(limit=limit)
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if path.is_dir():
            yield from _read_folder(path, preprocess, limit, unreadable)
            return
        if path.suffix.lower() in ARRAY_SUFFIXES:
            yield from _read_array(_load_array(path), preprocess, limit, str(path))
        else:
            yield normalize(read_pixels(path, preprocess), preprocess)
    elif isinstance(source, np.ndarray):
        yield from _read_array(source, preprocess, limit, "array")
    elif isinstance(source, Iterable):
        yield from _read_iterable(source, preprocess, limit)
    else:
        raise ImageError(f"expected a path, an array or an iterable of images, found {type(source).__name__}")


def _read_folder(
    folder: Path, preprocess: Preprocess, limit: int | None, unreadable: list[str] | None
) -> Iterator[Array]:
    files = find_images(folder)
    indices, failed = _spaced(len(files), limit), 0
    for index in indices:
        try:
            pixels = read_pixels(files[index], preprocess)
        except ImageError as error:
            if unreadable is None:
                raise
            unreadable.append(str(error))
            failed += 1
            if failed == len(indices):
                raise ImageError(f"none of {failed} images in {folder} can be read, the last: {error}") from None
            continue
        yield normalize(pixels, preprocess)


def left_out(what: str, unreadable: list[str]) -> list[str]:
    """A line about images that `read_images` left out of `what`, if there are any, with each of them."""
    count = len(unreadable)
    return [f"{what} left out {count} image{'s' * (count > 1)}: {'; '.join(unreadable)}"] if unreadable else []


def count_images(source: ImageSource, limit: int | None = None) -> int | None:
    """How many images `read_images` will yield, or None when only reading can tell (an iterable without a limit)."""
    total: int | None = None
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if path.is_dir():
            total = len(find_images(path))
        elif path.suffix.lower() in ARRAY_SUFFIXES:
            total = _count(_load_array(path))
        else:
            total = 1
    elif isinstance(source, np.ndarray):
        total = _count(source)
    if total is None or limit is None:
        return total
    return min(total, limit)


def read_pixels(image: str | os.PathLike[str] | Image.Image, preprocess: Preprocess) -> Array:
    """An image file or a Pillow image as uint8 pixels [3, height, width]: upright RGB, resized, cropped to the centre.

    Bit-identical to timm's evaluation transform before its normalisation, except that the Exif orientation is applied,
    which timm leaves out, and that 16 bits per channel are scaled to 8, where Pillow clips them; see
    `ivit_onnx.decoding.to_rgb`. Raises ImageError when the file is missing or is not a readable image.
    """
    if isinstance(image, Image.Image):
        return _resize_and_crop(to_rgb(image), preprocess)
    return read_file(image, preprocess)[0]


def read_file(path: str | os.PathLike[str], preprocess: Preprocess) -> tuple[Array, tuple[str, ...]]:
    """What `read_pixels` makes of an image file, and the `ivit_onnx.decoding.remarks_of` the image."""
    rgb = open_rgb(path)
    try:
        return _resize_and_crop(rgb, preprocess), remarks_of(rgb)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None


def normalize(pixels: Array, preprocess: Preprocess) -> Array:
    """uint8 [.., 3, H, W] to float32 (pixel / 255 - mean) / std of the same shape."""
    mean = np.asarray(preprocess.mean, np.float32)[:, None, None]
    std = np.asarray(preprocess.std, np.float32)[:, None, None]
    normalised: Array = (pixels.astype(np.float32) / np.float32(255) - mean) / std
    return normalised


def _resize_and_crop(image: Image.Image, preprocess: Preprocess) -> Array:
    """Resized, then the centre; rounding as in timm's evaluation transform and torchvision's CenterCrop."""
    resized, size = _resized(Size(image.height, image.width), preprocess), preprocess.size
    PIXELS.check(resized.area, "the resized image", ImageError)
    if (resized.width, resized.height) != image.size:
        image = image.resize((resized.width, resized.height), _RESAMPLING[preprocess.interpolation])
    left = round((resized.width - size.width) / 2.0)
    top = round((resized.height - size.height) / 2.0)
    image = image.crop((left, top, left + size.width, top + size.height))
    return np.ascontiguousarray(np.asarray(image, np.uint8).transpose(2, 0, 1))


def _resized(image: Size, preprocess: Preprocess) -> Size:
    """What an image of that size is resized to before its centre is cut out.

    With "center", proportions stay. timm rounds the longer side down for square networks and to the nearest otherwise.
    """
    target = preprocess.resize
    if preprocess.crop_mode == "squash":
        return target
    shorter, longer = sorted(image)
    if longer > 100 * shorter:
        raise ImageError(f"expected an image, found a strip of {image.width} x {image.height} pixels")
    if target.square:
        short = target.height
        long = max(short, int(short * longer / shorter))
        return Size(long, short) if image.width <= image.height else Size(short, long)
    ratio = min(image.height / target.height, image.width / target.width)
    return Size(round(image.height / ratio), round(image.width / ratio))


def _spaced(total: int, limit: int | None) -> Sequence[int]:
    """Indices of `limit` evenly spaced elements out of `total`, all of them when there are fewer."""
    if limit is None or limit >= total:
        return range(total)
    return [index * total // limit for index in range(limit)]


def _load_array(path: Path) -> Array:
    """The images of an .npz (key `images`) or .npy file; an .npy file is mapped, not read."""
    try:
        if path.suffix.lower() == ".npy":
            return map_npy(path)
        with open_input(path, WEIGHT_BYTES) as file:
            arrays = open_npz(file)
            if "images" not in arrays:
                found = ", ".join(list(arrays)[:8]) or "nothing"
                raise ImageError(f"{path} has no key `images`, found: {found}")
            return arrays["images"]
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist") from None
    except ImageError:
        raise
    except Exception as error:  # numpy and zipfile raise many types on damaged files
        raise ImageError(f"cannot read {path}: {reason_of(error) or type(error).__name__}") from None


def _count(array: Array) -> int:
    return int(array.shape[0]) if array.ndim == 4 else 1


def _read_array(array: Array, preprocess: Preprocess, limit: int | None, where: str) -> Iterator[Array]:
    if array.ndim == 3:
        array = array[None]
    height, width = preprocess.size
    if array.ndim != 4 or 0 in array.shape:
        raise ImageError(
            f"{where}: expected images [N, 3, {height}, {width}] or [N, {height}, {width}, 3], "
            f"found shape {list(array.shape)}"
        )
    if array.dtype == np.uint8:
        channels_last = _channels_last(array.shape, preprocess.size, where)
        for index in _spaced(len(array), limit):
            yield normalize(_pixels_of(array[index], channels_last, preprocess), preprocess)
        return
    if not np.issubdtype(array.dtype, np.floating):
        raise ImageError(
            f"{where}: expected uint8 pixels or normalised float32, found {array.dtype}, which does not say what white "
            "is; scale the pixels to 0..255 and convert them to uint8"
        )
    if array.shape[1:] != (3, height, width):
        raise ImageError(
            f"{where}: expected normalised images [N, 3, {height}, {width}], found shape {list(array.shape)}"
            " (floats are not resized; pass uint8 pixels for that)"
        )
    for index in _spaced(len(array), limit):
        image = np.ascontiguousarray(array[index], np.float32)
        _check_normalised(image, preprocess, f"{where}: image {index}")
        yield image


def _check_normalised(image: Array, preprocess: Preprocess, where: str) -> None:
    """Raise ImageError for values that no pixels can have given, by far: those in 0..255, for example."""
    if not np.isfinite(image).all():
        raise ImageError(f"{where} has NaN or infinite values")
    mean, std = np.asarray(preprocess.mean), np.asarray(preprocess.std)
    low, high = float((-mean / std).min()), float(((1 - mean) / std).max())
    headroom = _HEADROOM * (high - low)
    if image.min() < low - headroom or image.max() > high + headroom:
        raise ImageError(
            f"{where} has values from {image.min():g} to {image.max():g}, normalised ones are from {low:.3g} to "
            f"{high:.3g}; normalise them, or pass pixels as uint8"
        )


def _channels_last(shape: tuple[int, ...], size: Size, where: str) -> bool:
    """Whether pixels [N, .., .., ..] have their channels last; the model's size decides where both are possible."""
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if first and last:
        return shape[1:3] == size
    if not first and not last:
        raise ImageError(f"{where}: expected pixels [N, 3, H, W] or [N, H, W, 3], found shape {list(shape)}")
    return last


def _pixels_of(image: Array, channels_last: bool, preprocess: Preprocess) -> Array:
    """One uint8 image of any size and layout as uint8 [3, height, width]."""
    chw = image.transpose(2, 0, 1) if channels_last else image
    chw = np.repeat(chw, 3, axis=0) if chw.shape[0] == 1 else chw
    if chw.shape[1:] == preprocess.size:
        return np.ascontiguousarray(chw)
    return read_pixels(Image.fromarray(np.ascontiguousarray(chw.transpose(1, 2, 0))), preprocess)


def _read_iterable(source: Iterable[Any], preprocess: Preprocess, limit: int | None) -> Iterator[Array]:
    count = 0
    for position, entry in enumerate(source):
        item = entry[0] if isinstance(entry, tuple | list) and len(entry) > 0 else entry
        if isinstance(item, str | os.PathLike):
            images: Iterable[Array] = read_images(item, preprocess)
        elif isinstance(item, Image.Image):
            images = [normalize(read_pixels(item, preprocess), preprocess)]
        else:
            images = _read_array(_as_array(item, position), preprocess, None, f"item {position}")
        for image in images:
            yield image
            count += 1
            if count == limit:
                return
    if count == 0:
        raise ImageError("no images: the iterable is empty")


def _as_array(item: Any, position: int) -> Array:
    """A numpy array of an array or of a tensor that lives on the CPU."""
    if hasattr(item, "detach"):
        item = item.detach().cpu()
    try:
        return np.asarray(item)
    except (TypeError, ValueError) as error:
        raise ImageError(f"item {position}: expected an array, found {type(item).__name__} ({error})") from None
