"""Standard output and standard error, which may be closed, full, or pipes whose readers have gone."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

__all__ = ["StandardStreams", "standard_streams"]

OUTPUT, ERROR = 1, 2


class _Sink(io.RawIOBase):
    """Writes to a descriptor. What cannot be written is dropped, and `error` says why."""

    def __init__(self, descriptor: int, *, closed: bool) -> None:
        super().__init__()
        self._descriptor, self._absent, self.error = descriptor, closed, 0

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: object) -> int:
        content = memoryview(data)  # type: ignore[arg-type]
        while not self.error:
            try:
                if self._absent:
                    raise OSError(errno.EBADF, "closed")
                return os.write(self._descriptor, content)
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.error = error.errno or errno.EIO
        return len(content)


class StandardStreams:
    """What became of the streams of a command."""

    def __init__(self, output: _Sink | None) -> None:
        self._output = output

    def lost(self) -> str | None:
        """Why words of standard output were lost, None where none were.

        A reader that has gone, as in `ivit-run ... | head`, has all that it wanted.
        """
        if self._output is None:
            return None
        sys.stdout.flush()
        return None if self._output.error in (0, errno.EPIPE) else os.strerror(self._output.error)


@contextmanager
def standard_streams() -> Iterator[StandardStreams]:
    """Within the block, writing to standard streams raises nothing, whatever they are.

    Closed descriptors are opened on the null device, so that no file that is opened later takes their place and gets
    what libraries print. Streams that somebody else has put in the place of the interpreter's are left alone.
    """
    closed = {descriptor for descriptor in (0, OUTPUT, ERROR) if not _is_open(descriptor)}
    for _ in closed:
        os.open(os.devnull, os.O_RDWR)  # the lowest descriptor that is free
    before = sys.stdout, sys.stderr
    output, sys.stdout = _guarded(sys.stdout, OUTPUT, closed=OUTPUT in closed)
    _, sys.stderr = _guarded(sys.stderr, ERROR, closed=ERROR in closed)
    try:
        yield StandardStreams(output)
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


def _guarded(stream: TextIO | None, descriptor: int, *, closed: bool) -> tuple[_Sink | None, TextIO]:
    """The stream of a descriptor with another way to it, and what it ends in; or the stream as it is.

    What the encoding of a stream lacks, as that of a terminal of ASCII only, is written in escapes.
    """
    if stream is not None and _descriptor(stream) != descriptor:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        return None, stream
    encoding = "utf-8"
    if stream is not None:
        encoding = stream.encoding
        with suppress(OSError):
            stream.flush()
    sink = _Sink(descriptor, closed=closed)
    at_once = descriptor == ERROR or sink.isatty()
    buffer = io.BufferedWriter(sink)
    return sink, io.TextIOWrapper(buffer, encoding=encoding, errors="backslashreplace", line_buffering=at_once)


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
