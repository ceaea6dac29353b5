"""How images are prepared, as `preprocessor_config.json` of Hugging Face transformers says it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ivit_onnx.checkpoints.facts import Facts
from ivit_onnx.checkpoints.values import image_size
from ivit_onnx.errors import CheckpointError

__all__ = ["preprocessor_facts"]

#: Filters by Pillow's numbers.
_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
#: Classes whose sizes of one number are the shorter side; those of others are height and width.
_SHORTER = ("CLIP", "Bit", "ChineseCLIP")


def preprocessor_facts(content: Mapping[str, Any], path: Path) -> Facts:
    """The facts in a preprocessor's configuration, also in one of a processor that holds an image processor.

    Pixels are multiplied by `rescale_factor`, then normalised: both become mean and std of pixels in 0..1.
    Raises CheckpointError where images are prepared in a way that mean and std cannot say.
    """
    inner = content.get("image_processor")
    content = inner if isinstance(inner, dict) else content
    origin = path.name
    if content.get("rescale_offset") or content.get("offset"):
        raise CheckpointError(f"{path}: not supported yet: pixels that are rescaled with an offset")
    mean, std = _normalisation(content, path)
    size, crop_pct, crop_mode = _geometry(content)
    resample = content.get("resample")
    interpolation = _FILTERS.get(resample) if type(resample) is int else None
    return Facts.told(
        origin,
        image_size=size,
        mean=mean,
        std=std,
        crop_pct=crop_pct,
        crop_mode=crop_mode,
        interpolation=interpolation if content.get("do_resize", True) else None,
    )


def _normalisation(content: Mapping[str, Any], path: Path) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Mean and standard deviation for pixels in 0..1; (None, None) where nothing is said of them."""
    said = {"image_mean", "image_std", "do_normalize", "do_rescale", "rescale_factor"} & content.keys()
    if not said:
        return None, None
    factor = content.get("rescale_factor", 1 / 255)
    if not content.get("do_rescale", True):
        factor = 1.0
    if type(factor) not in (int, float) or not math.isfinite(factor) or factor <= 0:
        raise CheckpointError(f"{path}: expected a rescale_factor above 0, found {factor!r}")
    mean, std = [0.0] * 3, [1.0] * 3
    if content.get("do_normalize", True):
        mean, std = (_three(content.get(name)) for name in ("image_mean", "image_std"))
        if not (mean and std):
            return None, None
    # What one unit of a pixel in 0..1 becomes by rescaling; usually 1, and then nothing is rounded.
    unit = 255 * factor
    unit = 1.0 if abs(unit - 1) < 1e-6 else unit
    return tuple(float(value) / unit for value in mean), tuple(float(value) / unit for value in std)


def _three(values: Any) -> list[float]:
    """Three finite numbers; none where the values are anything else."""
    listed = values if isinstance(values, list | tuple) and len(values) == 3 else []
    return list(map(float, listed)) if all(type(one) in (int, float) and math.isfinite(one) for one in listed) else []


def _geometry(content: Mapping[str, Any]) -> tuple[int | tuple[int, int] | None, float | None, str | None]:
    """Size of the network's images, the share of the resized image that is kept, and how the size is reached.

    All None where the configuration does not say one size, or the image is not resized.
    """
    shorter, resized = _sizes(content, "size")
    _, cropped = _sizes(content, "crop_size", square=True)
    crops = content.get("do_center_crop", False) and cropped is not None
    if not content.get("do_resize", True):
        return (cropped, None, None) if crops else (None, None, None)
    if not crops:
        return (resized, 1.0, "squash") if resized is not None else (None, None, None)
    if shorter is not None and type(cropped) is int and cropped <= shorter:
        return cropped, _share(cropped, shorter), "center"
    if type(resized) is int and type(cropped) is int and cropped <= resized:
        return cropped, _share(cropped, resized), "squash"
    return None, None, None


def _sizes(
    content: Mapping[str, Any], key: str, square: bool = False
) -> tuple[int | None, int | tuple[int, int] | None]:
    """The shorter side, or height and width; one number means either, as the class has it, unless `square`."""
    size = content.get(key)
    if isinstance(size, dict):
        shorter, both = size.get("shortest_edge"), image_size((size.get("height"), size.get("width")))
        return (shorter if type(shorter) is int and image_size(shorter) and both is None else None), both
    kind = content.get("image_processor_type") or content.get("feature_extractor_type")
    one = image_size(size)
    if type(size) is not int or square:
        return None, one
    if not isinstance(kind, str):
        return None, None
    return (size, None) if kind.startswith(_SHORTER) and one is not None else (None, one)


def _share(kept: int, whole: int) -> float:
    """kept / whole, so that floor(kept / share) is `whole` again."""
    share = kept / whole
    while math.floor(kept / share) < whole:
        share = math.nextafter(share, 0)
    return share
