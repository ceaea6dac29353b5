"""What a zip archive holds, counted before anything of it is unpacked."""

from __future__ import annotations

import io
import os
import zipfile
from typing import BinaryIO

from ivit_onnx.budgets import MEMBERS, TEXT_BYTES, check_expansion

__all__ = ["members"]


def members(file: BinaryIO) -> list[zipfile.ZipInfo]:
    """The members of an archive. Raises ValueError where they are too many or would become too large.

    Raises what zipfile raises for a damaged one. No member gives more bytes than it says here.
    """
    size = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(_Listing(file)) as archive:
        found = archive.infolist()
    MEMBERS.check(len(found), "archive")
    check_expansion(size, sum(entry.file_size for entry in found), "archive")
    return found


class _Listing(io.RawIOBase, BinaryIO):
    """A file of which the list of members is read, at once, and which stays open afterwards."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1, /) -> bytes:
        TEXT_BYTES.check(size, "list of the members of an archive")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True
