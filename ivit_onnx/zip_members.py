"""What a zip archive holds, counted before anything of it is unpacked."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from typing import BinaryIO

from ivit_onnx.budgets import MEMBERS, TEXT_BYTES, check_expansion

__all__ = ["has_one_list", "members"]

#: Sizes of the records at the end of an archive, and the signature of the last one.
_END, _LOCATOR, _END64 = 22, 20, 56
_SIGNATURE = b"PK\x05\x06"


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


def has_one_list(file: BinaryIO) -> bool:
    """Whether the list of members stands where it says, before a last record at the very end of the file.

    Otherwise readers may find different lists in one file.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END - _LOCATOR - _END64))
    tail = file.read()
    end, locator, end64 = tail[-_END:], tail[-_END - _LOCATOR : -_END], tail[: -_END - _LOCATOR]
    if not end.startswith(_SIGNATURE) or end[-2:] != b"\0\0":
        return False
    if locator.startswith(b"PK\x06\x07"):
        length, start = struct.unpack("<QQ", end64[-16:])
        (place,) = struct.unpack("<Q", locator[8:16])
        return bool(start + length == place == size - len(tail) and end64.startswith(b"PK\x06\x06"))
    length, start = struct.unpack("<II", end[12:20])
    return bool(start + length == size - _END)


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
