"""Calls the command lines: in this process for speed, as installed programs to be sure."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from ivit_onnx import cli

MICRO = Path(__file__).parent / "data" / "deit_micro_fp.pth"
#: What the micro checkpoint was trained with and shapes do not tell.
MICRO_OPTIONS = ("--num-heads", "2", "--mean", "0.3,0.3,0.3", "--std", "0.4,0.4,0.4")


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str

    def error(self) -> str:
        """The one-line message of a command that refused its input."""
        assert self.status == 2, self
        assert self.out == ""
        assert self.err.startswith("error: ")
        assert self.err.count("\n") == 1
        assert self.err.endswith("\n")
        assert "Traceback" not in self.err
        return self.err


def call(capsys: pytest.CaptureFixture[str], command: str, *arguments: str | Path) -> Result:
    """`ivit-<command> arguments...` in this process."""
    capsys.readouterr()
    status = getattr(cli, f"{command}_main")([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return Result(status, captured.out, captured.err)


def installed(command: str, *arguments: str | Path) -> Result:
    """The installed program `ivit-<command>`, or the same entry point where the package is only on the path."""
    program = Path(sys.executable).with_name(f"ivit-{command}")
    start = f"import sys; from ivit_onnx.cli import {command}_main as main; sys.exit(main(sys.argv[1:]))"
    head = [str(program)] if program.exists() else [sys.executable, "-c", start]
    done = subprocess.run([*head, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300)
    return Result(done.returncode, done.stdout, done.stderr)
