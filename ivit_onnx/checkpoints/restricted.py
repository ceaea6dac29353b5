"""PyTorch's own restricted reader of files of torch.save, with the bounds that it does not have."""

from __future__ import annotations

import argparse
import io
import os
import warnings
import zipfile
from typing import Any, BinaryIO

import torch

from ivit_onnx.budgets import OverBudgetError
from ivit_onnx.checkpoints.inert import measure
from ivit_onnx.zip_members import has_one_list, members

__all__ = ["restricted_load"]

#: Pickles at the beginning of a file of torch.save before 1.6.
_PICKLES = 5


def restricted_load(file: BinaryIO) -> Any:
    """What PyTorch makes of an open file: tensors and plain containers; None where it refuses, whatever the reason.

    Raises OverBudgetError where it would make more than fits in the file. A file that cannot be measured is not given
    to it: it may read what is damaged, or stands in the file twice, in another way.
    """
    if not _is_measured(file):
        return None
    file.seek(0)
    try:
        # Training scripts keep their options beside the weights. A Namespace is plain data: making one runs no code.
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")
            # It would unpack a tar file into the folder of temporary files; not one without a descriptor.
            return torch.load(_NoDescriptor(file), map_location="cpu", weights_only=True)
    except Exception:  # also of a damaged file, which the second reader finds out
        return None


def _is_measured(file: BinaryIO) -> bool:
    """Whether every pickle that the reader may come to was measured, to its end."""
    size = file.seek(0, os.SEEK_END)
    try:
        if zipfile.is_zipfile(file):
            entries = [entry for entry in members(file) if entry.filename.lower().endswith("data.pkl")]
            with zipfile.ZipFile(file) as archive:
                for entry in entries:
                    with archive.open(entry) as opened:
                        measure(io.BytesIO(opened.read()), entry.file_size)
            return has_one_list(file)
        file.seek(0)
        for _ in range(_PICKLES):
            measure(file, size)
    except OverBudgetError:
        raise
    except Exception:  # a damaged file, or one of another kind
        return False
    return True


class _NoDescriptor(io.BufferedReader):
    """An open file that only Python can read."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(_Raw(file))

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


class _Raw(io.RawIOBase):
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer)  # type: ignore[attr-defined, no-any-return]

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
