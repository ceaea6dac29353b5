"""Runs a command in a forked process that is killed at one of its file operations."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ivit_onnx import cli

#: File operations that change what a folder holds, as Python's audit hooks name them.
CHANGES = frozenset({"os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.truncate", "shutil.rmtree", "shutil.move"})
SECONDS = 300


def run_and_kill(command: str, arguments: Sequence[str | Path], folder: Path, at: int, *, after: bool = False) -> int:
    """The wait status of `ivit-<command>`, killed at its `at`-th change of something in `folder`, if it comes to it.

    0 kills never. With `after`, it is killed one event later than the change, whatever that is. The process is a fork:
    what this process has imported is there.
    """

    def prepare() -> None:
        count, due = 0, False

        def watch(event: str, details: tuple[Any, ...]) -> None:
            nonlocal count, due
            if event == "os.kill":  # the one that this function sends
                return
            if due:
                os.kill(os.getpid(), signal.SIGKILL)
            if not is_change(event, details) or not str(details[0]).startswith(str(folder)):
                return
            count += 1
            if count == at:
                due = True
                if not after:
                    os.kill(os.getpid(), signal.SIGKILL)

        if at:
            sys.addaudithook(watch)

    return forked(command, arguments, folder, prepare)


def run_with_small_files(command: str, arguments: Sequence[str | Path], folder: Path, size: int) -> int:
    """The wait status of `ivit-<command>` where no file can become larger than `size` bytes, as on a full disk."""

    def prepare() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return forked(command, arguments, folder, prepare)


def is_change(event: str, details: tuple[Any, ...]) -> bool:
    if event != "open":
        return event in CHANGES
    flags = details[2] if len(details) > 2 and isinstance(details[2], int) else 0
    return bool(flags & (os.O_WRONLY | os.O_RDWR))


def forked(command: str, arguments: Sequence[str | Path], folder: Path, prepare: Any) -> int:
    """Runs the command in a fork, output into files beside `folder`."""
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process == 0:
        status = 99
        try:
            # Those of this process may be a test's.
            sys.stdout = sys.stderr = (folder.parent / "output.txt").open("w", encoding="utf-8")
            prepare()
            status = getattr(cli, f"{command}_main")([str(argument) for argument in arguments])
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError):
                sys.stdout.flush()
            os._exit(status)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return status
        time.sleep(0.01)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    raise AssertionError(f"ivit-{command} did not end within {SECONDS} s")


def files(folder: Path) -> dict[str, bytes]:
    """What users see in a folder: its files without hidden ones, by name."""
    shown = (path for path in folder.rglob("*") if path.is_file() and not hidden(path, folder))
    return {str(path.relative_to(folder)): path.read_bytes() for path in shown}


def hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
