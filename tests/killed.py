"""Runs a command in a forked process that is killed at one of its file operations."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ivit_onnx import cli

#: File operations that change what a folder holds, as Python's audit hooks name them.
CHANGES = frozenset({"os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.truncate", "shutil.rmtree", "shutil.move"})
SECONDS = 300
#: Forks of a process that has imported what commands import and has done nothing else. A fork of this process could
#: wait for ever: the threads of OpenMP are not in it.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["ivit_onnx.api", "ivit_onnx.bench.measure", "ivit_onnx.cli.export", "ivit_onnx.cli.verify"]
)


def run_and_kill(command: str, arguments: Sequence[str | Path], folder: Path, at: int, *, after: bool = False) -> int:
    """The status of `ivit-<command>`, killed at its `at`-th change of something in `folder`, if it comes to it.

    0 kills never. With `after`, it is killed one event later than the change, whatever that is. A negative status is
    that of a signal.
    """
    return forked(command, arguments, folder, partial(kill_at, str(folder), at, after))


def run_with_small_files(command: str, arguments: Sequence[str | Path], folder: Path, size: int) -> int:
    """The status of `ivit-<command>` where no file can become larger than `size` bytes, as on a full disk."""
    return forked(command, arguments, folder, partial(limit_files, size))


def kill_at(folder: str, at: int, after: bool) -> None:
    count, due = 0, False

    def watch(event: str, details: tuple[Any, ...]) -> None:
        nonlocal count, due
        if event == "os.kill":  # the one that this function sends
            return
        if due:
            os.kill(os.getpid(), signal.SIGKILL)
        if not is_change(event, details) or not str(details[0]).startswith(folder):
            return
        count += 1
        if count == at:
            due = True
            if not after:
                os.kill(os.getpid(), signal.SIGKILL)

    if at:
        sys.addaudithook(watch)


def limit_files(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def is_change(event: str, details: tuple[Any, ...]) -> bool:
    if event != "open":
        return event in CHANGES
    flags = details[2] if len(details) > 2 and isinstance(details[2], int) else 0
    return bool(flags & (os.O_WRONLY | os.O_RDWR))


def forked(command: str, arguments: Sequence[str | Path], folder: Path, prepare: Callable[[], None]) -> int:
    """Runs the command in a fork, output into a file beside `folder`; returns its status, negative for a signal."""
    output = folder.parent / "output.txt"
    process = FORKS.Process(target=run, args=(command, [str(argument) for argument in arguments], output, prepare))
    process.start()
    process.join(SECONDS)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise AssertionError(f"ivit-{command} did not end within {SECONDS} s")
    return process.exitcode


def run(command: str, arguments: list[str], output: Path, prepare: Callable[[], None]) -> None:
    status = 99
    try:
        sys.stdout = sys.stderr = output.open("w", encoding="utf-8")
        prepare()
        status = getattr(cli, f"{command}_main")(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(status)


def files(folder: Path) -> dict[str, bytes]:
    """What users see in a folder: its files without hidden ones, by name."""
    shown = (path for path in folder.rglob("*") if path.is_file() and not hidden(path, folder))
    return {str(path.relative_to(folder)): path.read_bytes() for path in shown}


def hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
