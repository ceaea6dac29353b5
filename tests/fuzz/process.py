"""A worker process with a time limit for each case."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

#: Seconds of processor time for one case. On a busy machine the clock says more.
CASE_SECONDS = 60
#: Seconds for one case that waits for something that never comes, and for the start of a process.
CLOCK_SECONDS = 600
#: Megabytes by which one case may raise the memory of its process. Models and files of the harnesses are far smaller.
MOST_MEGABYTES = 1500


class FindingError(Exception):
    """A case that went wrong, and how."""


class Worker:
    """A process that runs cases of a harness with some environment, started again after each finding."""

    def __init__(self, harness: str, folder: Path, environment: dict[str, str]) -> None:
        self.command = [sys.executable, "-P", "-m", "fuzz.worker", harness, str(folder)]
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker

    def run(self, seed: int) -> str:
        """What became of the case. Raises FindingError."""
        if self.process is None:
            self._start()
        assert self.process is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(f"{seed}\n".encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # found out below
        self._await_answer()
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait()
            self.process = None
            name = signal.Signals(-status).name if status < 0 else f"status {status}"
            raise FindingError(f"the process ended: {name}\n{self._tail()}")
        answer = json.loads(line)
        if answer["error"] is not None:
            raise FindingError(answer["error"])
        if answer["megabytes"] > MOST_MEGABYTES and "IVIT_SANITIZER" not in os.environ:
            self.stop()
            raise FindingError(f"memory grew by {answer['megabytes']} MB")
        return str(answer["result"])

    def _await_answer(self) -> None:
        assert self.process is not None
        started, used = time.monotonic(), self._processor_seconds()
        while not select.select([self.process.stdout], [], [], 1)[0]:
            clock, processor = time.monotonic() - started, self._processor_seconds() - used
            if clock > CLOCK_SECONDS or processor > CASE_SECONDS:
                self.stop()
                raise FindingError(f"no answer within {clock:.0f} s, {processor:.0f} s of processor time")

    def _processor_seconds(self) -> float:
        """What the process has used so far, all its threads together."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.process = None

    def _start(self) -> None:
        self.log.seek(0)
        self.log.truncate()
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            bufsize=0,
            env={**os.environ, **self.environment},
        )

    def _tail(self) -> str:
        size = self.log.seek(0, os.SEEK_END)
        self.log.seek(max(0, size - 6000))
        return self.log.read().decode(errors="replace")
