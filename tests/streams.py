"""Runs commands as a shell would, with any standard output and standard error, in forks that have imported much."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from commands import Result
from ivit_onnx import cli
from killed import FORKS, SECONDS

#: A standard stream of the command: a file to open for writing, or one of these.
CLOSED, BROKEN, KEPT = "closed", "broken pipe", "kept"


def nothing() -> None:
    """No preparation."""


def command(
    name: str,
    *arguments: str | Path,
    out: str = KEPT,
    err: str = KEPT,
    encoding: str = "utf-8",
    environment: Mapping[str, str] | None = None,
    prepare: Callable[[], None] = nothing,
) -> Result:
    """`ivit-<name> arguments...` with these streams; those that are kept are in the result.

    The streams are what the interpreter makes of the descriptors at its start, with `encoding`. `prepare` runs in the
    command's process before it. The status is the interpreter's: 120 where the last words of a stream were lost, 1 for
    a traceback.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, stream) for stream in ("out", "err")]
        details = (
            [os.fspath(argument) for argument in arguments],
            (out, err),
            files,
            encoding,
            dict(environment or {}),
        )
        process = FORKS.Process(target=_run, args=(name, *details, prepare))
        process.start()
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise AssertionError(f"ivit-{name} did not end within {SECONDS} s")
        texts = [file.read_text(encoding, "surrogateescape") if file.exists() else "" for file in files]
        return Result(process.exitcode, *texts)


def _run(
    name: str,
    arguments: Sequence[str],
    streams: Sequence[str],
    files: Sequence[Path],
    encoding: str,
    environment: Mapping[str, str],
    prepare: Callable[[], None],
) -> None:
    os.environ.update(environment)
    for descriptor, stream, file in zip((1, 2), streams, files, strict=True):
        _redirect(descriptor, str(file) if stream == KEPT else stream)
    sys.stdout = None if streams[0] == CLOSED else io.TextIOWrapper(io.FileIO(1, "w"), encoding)
    sys.stderr = None if streams[1] == CLOSED else io.TextIOWrapper(io.FileIO(2, "w"), encoding, "backslashreplace")
    status = 1
    try:
        prepare()
        status = getattr(cli, f"{name}_main")(list(arguments))
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        if sys.stderr is not None:
            traceback.print_exc()
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        status = 120
    with contextlib.suppress(OSError, AttributeError):
        sys.stderr.flush()
    os._exit(status)


def _redirect(descriptor: int, stream: str) -> None:
    with contextlib.suppress(OSError):
        os.close(descriptor)
    if stream == CLOSED:
        return
    if stream == BROKEN:
        reader, opened = os.pipe()
        os.close(reader)
    else:
        opened = os.open(stream, os.O_WRONLY | os.O_CREAT)
    if opened != descriptor:
        os.dup2(opened, descriptor)
        os.close(opened)
