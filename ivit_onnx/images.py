"""Images from folders, arrays and iterables, resized and normalised as timm does for evaluation. No torch here."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from ivit_onnx.architectures import Preprocess
from ivit_onnx.errors import ImageError
from ivit_onnx.numbers import check_numbers

__all__ = ["IMAGE_SUFFIXES", "ImageSource", "count_images", "find_images", "normalize", "read_images", "read_pixels"]

Array: TypeAlias = np.ndarray[Any, Any]
ImageSource: TypeAlias = "str | os.PathLike[str] | Array | Iterable[Any]"

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def read_images(source: ImageSource, preprocess: Preprocess, limit: int | None = None) -> Iterator[Array]:
    """Yield normalised float32 images [3, size, size], one at a time.

    `source` is one of

    * a folder: every image below it, in sorted order; only one image is in memory at a time;
    * an image file;
    * an .npz file with the key `images`, an .npy file, or an array: uint8 pixels [N, 3, H, W] or [N, H, W, 3] (grey
      images with 1 channel are repeated), or normalised float [N, 3, size, size]; the first axis may be absent;
    * any iterable of such arrays (batches too), Pillow images or paths; of a tuple, as a data loader yields with
      labels, the first element is taken.

    Pixels of another size than the model's are resized and cropped like image files; floats of another size are an
    error. With `limit`, a folder or an array gives that many images, evenly spaced; an iterable its first ones.

    Raises OptionError for a wrong limit, and ImageError, when the first image is asked for or as soon as a bad image is
    met.
    """
    check_numbers(limit=limit)
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if path.is_dir():
            files = find_images(path)
            for index in _spaced(len(files), limit):
                yield normalize(read_pixels(files[index], preprocess), preprocess)
            return
        if path.suffix.lower() in (".npz", ".npy"):
            yield from _read_array(_load_array(path), preprocess, limit, str(path))
        else:
            yield normalize(read_pixels(path, preprocess), preprocess)
    elif isinstance(source, np.ndarray):
        yield from _read_array(source, preprocess, limit, "array")
    elif isinstance(source, Iterable):
        yield from _read_iterable(source, preprocess, limit)
    else:
        raise ImageError(f"expected a path, an array or an iterable of images, found {type(source).__name__}")


def count_images(source: ImageSource, limit: int | None = None) -> int | None:
    """How many images `read_images` will yield, or None when only reading can tell (an iterable without a limit)."""
    total: int | None = None
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if path.is_dir():
            total = len(find_images(path))
        elif path.suffix.lower() in (".npz", ".npy"):
            total = _count(_load_array(path))
        else:
            total = 1
    elif isinstance(source, np.ndarray):
        total = _count(source)
    if total is None or limit is None:
        return total
    return min(total, limit)


def find_images(folder: str | os.PathLike[str]) -> list[Path]:
    """Image files below `folder`, sorted by path; ImageError when there are none."""
    folder = Path(folder)
    files = sorted(
        Path(parent) / name
        for parent, _, names in os.walk(folder)
        for name in names
        if Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".")
    )
    if not files:
        raise ImageError(f"no images in {folder} (looked for {', '.join(sorted(IMAGE_SUFFIXES))} in it and below)")
    return files


def read_pixels(image: str | os.PathLike[str] | Image.Image, preprocess: Preprocess) -> Array:
    """An image file or a Pillow image as uint8 pixels [3, size, size]: resized, cropped to the centre, RGB.

    Bit-identical to timm's evaluation transform before its normalisation; like it, Exif orientation is not applied.
    Raises ImageError when the file is missing or is not a readable image.
    """
    if isinstance(image, Image.Image):
        return _resize_and_crop(image.convert("RGB"), preprocess)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(image) as opened:
                return _resize_and_crop(opened.convert("RGB"), preprocess)
    except FileNotFoundError:
        raise ImageError(f"image {image} does not exist") from None
    except IsADirectoryError:
        raise ImageError(f"{image} is a folder, expected an image file") from None
    except ImageError as error:
        raise ImageError(f"{image}: {error}") from None
    except Exception as error:  # decoders raise many types on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"cannot read image {image}: {reason}") from None


def normalize(pixels: Array, preprocess: Preprocess) -> Array:
    """uint8 [.., 3, H, W] to float32 (pixel / 255 - mean) / std of the same shape."""
    mean = np.asarray(preprocess.mean, np.float32)[:, None, None]
    std = np.asarray(preprocess.std, np.float32)[:, None, None]
    normalised: Array = (pixels.astype(np.float32) / np.float32(255) - mean) / std
    return normalised


def _resize_and_crop(image: Image.Image, preprocess: Preprocess) -> Array:
    """Shorter side to `preprocess.resize`, then the centre; rounding as in torchvision's Resize and CenterCrop."""
    width, height = image.size
    shorter, longer = sorted((width, height))
    short, size = preprocess.resize, preprocess.size
    if longer > 100 * shorter:
        raise ImageError(f"expected an image, found a strip of {width} x {height} pixels")
    long = max(short, int(short * longer / shorter))
    new_size = (short, long) if width <= height else (long, short)
    if new_size != image.size:
        image = image.resize(new_size, _RESAMPLING[preprocess.interpolation])
    left = round((new_size[0] - size) / 2.0)
    top = round((new_size[1] - size) / 2.0)
    image = image.crop((left, top, left + size, top + size))
    return np.ascontiguousarray(np.asarray(image, np.uint8).transpose(2, 0, 1))


def _spaced(total: int, limit: int | None) -> list[int]:
    """Indices of `limit` evenly spaced elements out of `total`, all of them when there are fewer."""
    if limit is None or limit >= total:
        return list(range(total))
    return [index * total // limit for index in range(limit)]


def _load_array(path: Path) -> Array:
    """The images of an .npz (key `images`) or .npy file; an .npy file is mapped, not read."""
    try:
        if path.suffix.lower() == ".npy":
            return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
        with np.load(path, allow_pickle=False) as archive:
            if "images" not in archive.files:
                found = ", ".join(archive.files[:8]) or "nothing"
                raise ImageError(f"{path} has no key `images`, found: {found}")
            return np.asarray(archive["images"])
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist") from None
    except ImageError:
        raise
    except Exception as error:  # numpy and zipfile raise many types on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"cannot read {path}: {reason}") from None


def _count(array: Array) -> int:
    return int(array.shape[0]) if array.ndim == 4 else 1


def _read_array(array: Array, preprocess: Preprocess, limit: int | None, where: str) -> Iterator[Array]:
    if array.ndim == 3:
        array = array[None]
    size = preprocess.size
    if array.ndim != 4 or 0 in array.shape:
        raise ImageError(
            f"{where}: expected images [N, 3, {size}, {size}] or [N, {size}, {size}, 3], "
            f"found shape {list(array.shape)}"
        )
    if array.dtype == np.uint8:
        channels_last = _channels_last(array.shape, size, where)
        for index in _spaced(len(array), limit):
            yield normalize(_pixels_of(array[index], channels_last, preprocess), preprocess)
        return
    if not np.issubdtype(array.dtype, np.floating):
        raise ImageError(f"{where}: expected uint8 pixels or normalised float32, found {array.dtype}")
    if array.shape[1:] != (3, size, size):
        raise ImageError(
            f"{where}: expected normalised images [N, 3, {size}, {size}], found shape {list(array.shape)}"
            " (floats are not resized; pass uint8 pixels for that)"
        )
    for index in _spaced(len(array), limit):
        image = np.ascontiguousarray(array[index], np.float32)
        if not np.isfinite(image).all():
            raise ImageError(f"{where}: image {index} has NaN or infinite values")
        yield image


def _channels_last(shape: tuple[int, ...], size: int, where: str) -> bool:
    """Whether pixels [N, .., .., ..] have their channels last; the model's size decides where both are possible."""
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if first and last:
        return shape[1:3] == (size, size)
    if not first and not last:
        raise ImageError(f"{where}: expected pixels [N, 3, H, W] or [N, H, W, 3], found shape {list(shape)}")
    return last


def _pixels_of(image: Array, channels_last: bool, preprocess: Preprocess) -> Array:
    """One uint8 image of any size and layout as uint8 [3, size, size]."""
    chw = image.transpose(2, 0, 1) if channels_last else image
    chw = np.repeat(chw, 3, axis=0) if chw.shape[0] == 1 else chw
    if chw.shape[1:] == (preprocess.size, preprocess.size):
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
