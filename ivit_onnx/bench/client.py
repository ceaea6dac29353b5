"""The parent's side of a worker process."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from ivit_onnx.errors import IvitError

__all__ = ["Worker", "WorkerError", "ask"]


class WorkerError(Exception):
    """A worker could not do what was asked. `missing` is the package it lacks, if that is why.

    Not for users: whoever asked decides whether a baseline is skipped or the command fails.
    """

    def __init__(self, message: str, missing: str | None = None) -> None:
        super().__init__(message)
        self.missing = missing


class Worker:
    """A worker process: pinned to `cpus` (none: not pinned), with `environment` on top of ours."""

    def __init__(self, cpus: Sequence[int] = (), environment: Mapping[str, str] | None = None) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed in close)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ivit_onnx.bench.worker", ",".join(map(str, cpus))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, **(environment or {})},
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send one request and wait for its reply.

        Raises WorkerError when the worker fails, IvitError when it says what the user can do.
        """
        line = ""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps({"do": do, **arguments}), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"the worker process ended ({self._process.wait()}): {self._last_words()}")
        answer = json.loads(line)
        if "error" not in answer:
            reply: dict[str, Any] = answer["reply"]
            return reply
        failure = answer["error"]
        if failure["kind"] == "ivit":
            raise IvitError(failure["message"])
        if failure["kind"] == "missing":
            raise WorkerError(f"needs {failure['message']}", missing=failure["message"])
        raise WorkerError(failure["message"])

    def close(self) -> None:
        """End the process; a busy one is killed."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def ask(
    do: str, *, cpus: Sequence[int] = (), environment: Mapping[str, str] | None = None, **arguments: Any
) -> dict[str, Any]:
    """One request to a worker of its own."""
    with Worker(cpus, environment) as worker:
        return worker.ask(do, **arguments)
