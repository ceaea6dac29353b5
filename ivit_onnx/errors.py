"""Errors that a user can act on: what was expected, what was found, what to do.

Command lines print them in one line and exit with status 2; anything else that is raised is a defect of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = [
    "CalibrationError",
    "CheckpointError",
    "ExportError",
    "ImageError",
    "IvitError",
    "MissingExtraError",
    "ModelError",
    "OptionError",
    "TrainingError",
    "damaged_model",
]


class IvitError(Exception):
    """Base of every error that the user of the package can act on."""


class CheckpointError(IvitError):
    """A checkpoint is missing, unreadable, unsafe, or not of a supported architecture."""


class ImageError(IvitError):
    """An image or a set of images is missing, empty, unreadable or of the wrong shape."""


class CalibrationError(IvitError):
    """Calibration data or a calibration cache is missing or does not fit the checkpoint."""


class ExportError(IvitError):
    """The model cannot be expressed in integers with the given ranges, or the output cannot be written."""


class ModelError(IvitError):
    """A model file is missing, damaged or not one of ours."""


class OptionError(IvitError):
    """An option is a number out of its range, or no number at all."""


class MissingExtraError(IvitError):
    """An optional dependency is not installed; the message names the extra that brings it."""


class TrainingError(IvitError):
    """A training cannot start or go on as asked: its options, its data or its saved state do not fit."""


@contextmanager
def damaged_model() -> Iterator[None]:
    """Whatever an analysis trips over in a model that does not fit together, as a ModelError."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"the model is not valid ({type(error).__name__}: {reason})") from error
