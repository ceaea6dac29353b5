"""Arrays of NumPy in files, read after what they would become has been compared with what the file has."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from ivit_onnx.inputs import check_input
from ivit_onnx.zip_members import members

__all__ = ["map_npy", "open_npz"]

Array = np.ndarray[Any, Any]

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0, (3, 0): npy.read_array_header_2_0}
_SUFFIX = ".npy"


def map_npy(path: str | os.PathLike[str]) -> Array:
    """The array of an .npy file, mapped: what nobody looks at is not read. Raises OSError or ValueError."""
    check_input(path)
    return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))


def open_npz(file: BinaryIO) -> Mapping[str, Array]:
    """The arrays of an .npz file by name, each read when it is asked for. The file has to stay open.

    Raises ValueError, and whatever zipfile raises, where the file is damaged or would take more than `check_expansion`
    allows.
    """
    return _Arrays(file)


class _Arrays(Mapping[str, Array]):
    def __init__(self, file: BinaryIO) -> None:
        entries = {entry.filename.removesuffix(_SUFFIX): entry for entry in members(file)}
        self._archive, self._entries = zipfile.ZipFile(file), entries

    def __getitem__(self, name: str) -> Array:
        entry = self._entries[name]
        with self._archive.open(entry) as opened:
            version = npy.read_magic(opened)
            if version not in _HEADERS:
                raise ValueError(f"array {name[:200]} is of an unknown version of the format, {version}")
            shape, fortran, dtype = _HEADERS[version](opened)
            size = math.prod(shape) * dtype.itemsize
            if dtype.hasobject or size < 0 or size > entry.file_size:
                raise ValueError(f"array {name[:200]} of shape {list(shape)} and type {dtype} is not in its file")
            data = np.frombuffer(bytearray(opened.read(size)), dtype)
        return data.reshape(shape, order="F" if fortran else "C")

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
