"""The numbers that options may be: one table for the command lines and the Python functions."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ivit_onnx.errors import IvitError, OptionError

__all__ = ["RANGES", "Range", "check_colours", "check_number", "check_numbers"]


@dataclass(frozen=True)
class Range:
    """Integers, or real numbers, from `least` to `most`, both included."""

    kind: type[int] | type[float]
    least: float
    most: float

    def has(self, value: object) -> bool:
        """Whether `value` is such a number. NaN, a truth value and text are none."""
        kind = numbers.Integral if self.kind is int else numbers.Real
        if not isinstance(value, kind) or isinstance(value, bool):
            return False
        return bool(self.least <= value <= self.most)  # type: ignore[operator] # numbers.Real has no comparisons

    @property
    def bounds(self) -> str:
        """Such as 1..1024."""
        return f"{_text(self.least)}..{_text(self.most)}"

    def __str__(self) -> str:
        return f"{'an integer' if self.kind is int else 'a number'} in {self.bounds}"


def _text(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"


def _whole(least: int, most: int) -> Range:
    return Range(int, least, most)


def _real(least: float, most: float) -> Range:
    return Range(float, least, most)


#: By the name of the option, with "_" for "-". Upper bounds are far above what is of use; they catch slips of the keys
#: before anything is started or allocated.
RANGES: Mapping[str, Range] = {
    # Networks.
    "num_heads": _whole(1, 1024),
    "img_size": _whole(1, 2**16),
    "mean": _real(-1e3, 1e3),
    "std": _real(1e-6, 1e3),
    # Images.
    "calib_images": _whole(1, 10**9),
    "limit": _whole(1, 10**9),
    "count": _whole(1, 10**4),
    "batch_size": _whole(1, 10**6),
    "seed": _whole(0, 2**31),
    # Machine. The provider's own option `threads` has the same bounds.
    "threads": _whole(1, 1024),
    "readers": _whole(1, 1024),
    "workers": _whole(0, 1024),
    # Output.
    "top": _whole(1, 10**6),
    # Training.
    "epochs": _whole(1, 10**6),
    "accumulate": _whole(1, 10**6),
    "lr": _real(0, 10),
    "min_lr": _real(0, 1),
    "scale_lr": _real(0, 1),
    "warmup": _real(0, 1),
    "weight_decay": _real(0, 10),
    "clip_grad": _real(0, 1e9),
    "ema": _real(0, 1),
    "distill_weight": _real(0, 1),
    "temperature": _real(0.01, 100),
    "smoothing": _real(0, 0.9),
    "color_jitter": _real(0, 1),
    "hflip": _real(0, 1),
    "vflip": _real(0, 1),
    "crop_scale": _real(0.01, 1),
    "random_erasing": _real(0, 1),
    "mixup": _real(0, 100),
    "cutmix": _real(0, 100),
    "log_every": _whole(1, 10**9),
    "save_every": _whole(1, 10**9),
    # Measurements.
    "rounds": _whole(1, 10**6),
    "seconds": _real(0, 86400),
    "repeat": _whole(1, 10**9),
    "starts": _whole(1, 1000),
}


def check_number(name: str, value: object, *, key: str | None = None, error: type[IvitError] = OptionError) -> None:
    """Raise `error` unless `value` is in the range of the option `name`, or of `key` where the table has another."""
    allowed = RANGES[name if key is None else key]
    if not allowed.has(value):
        raise error(f"{name}: expected {allowed}, found {value!r}")


def check_numbers(**values: object) -> None:
    """Raise OptionError for the first value that is not in its option's range. None stands for the default."""
    for name, value in values.items():
        if value is not None:
            check_number(name, value)


def check_colours(name: str, values: Sequence[float] | None) -> None:
    """Raise OptionError unless `values` are three numbers in the range of the option `name`. None is the default."""
    if values is None:
        return
    allowed = RANGES[name.removeprefix("--")]
    found = [*values] if isinstance(values, Iterable) else values
    if not isinstance(found, list) or len(found) != 3 or not all(allowed.has(value) for value in found):
        raise OptionError(f"{name}: expected three numbers, each {allowed}, found {found!r}")
