"""Files that are read: regular ones only, opened without waiting, and no more bytes of them than there may be.

A name that somebody else chose may be a pipe, which waits for ever, or a device, which never ends.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

from ivit_onnx.budgets import Budget

__all__ = ["check_input", "open_input", "read_input", "reason_of"]

PathLike = str | os.PathLike[str]

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def check_input(path: PathLike, most: Budget | None = None) -> int:
    """The size in bytes of the regular file at `path`, for libraries that open it themselves.

    Raises OSError when there is none, IsADirectoryError for a folder, ValueError when it has more than `most` bytes.
    """
    return _checked(Path(path).stat(), path, most)


def open_input(path: PathLike, most: Budget | None = None) -> io.BufferedReader:
    """The regular file at `path`, open for reading bytes. Raises as `check_input`."""
    check_input(path)  # opening a device can have effects
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _checked(os.fstat(descriptor), path, most)  # it may be another file by now
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_input(path: PathLike, most: Budget) -> bytes:
    """All bytes of the regular file at `path`. Raises as `check_input`."""
    with open_input(path, most) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(size + 1)  # Python makes room for as much as is asked for
    if len(content) != size:
        raise ValueError(f"expected {size} bytes, found {len(content)}: the file is being written; try again")
    return content


def reason_of(error: Exception) -> str:
    """What went wrong with a file, in one line without its name where the system knows a word for it."""
    return " ".join(str(getattr(error, "strerror", None) or error).split())


def _checked(found: os.stat_result, path: PathLike, most: Budget | None) -> int:
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, "expected a file, found a folder", os.fspath(path))
    if kind != stat.S_IFREG:
        what = _KINDS.get(kind, "something else")
        raise OSError(errno.EINVAL, f"expected a regular file, found {what}", os.fspath(path))
    if most is not None:
        most.check(found.st_size)
    return found.st_size
