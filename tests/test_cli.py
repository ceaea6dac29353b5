"""What all command lines have in common: help, missing extras, light imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

from commands import call, installed

COMMANDS = ("export", "run", "verify", "eval", "report")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches(capsys: pytest.CaptureFixture[str], command: str) -> None:
    result = call(capsys, command, "--help")
    assert (result.status, result.err) == (0, "")
    assert f"ivit-{command} " in result.out
    assert "Examples:" in result.out
    assert "[default: " in result.out
    assert "\\[" not in result.out


@pytest.mark.parametrize("command", COMMANDS)
def test_usage_errors_are_one_line(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert "Missing argument" in call(capsys, command).error()
    assert f"(see ivit-{command} --help)" in call(capsys, command, "--nonsense").error()


@pytest.mark.parametrize(
    ("command", "extras"),
    [
        *(("export", "export"), ("run", "cpu"), ("verify", "cpu,export")),
        *(("eval", "cpu,export"), ("report", "report")),
    ],
)
@pytest.mark.parametrize("package", ["typer", "rich"])
def test_missing_extra(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str, extras: str, package: str
) -> None:
    for name in [name for name in sys.modules if name.startswith("ivit_onnx.cli.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    message = call(capsys, command, "--help").error()
    assert message == f'error: ivit-{command} needs the package {package}: pip install "ivit-onnx[{extras}]"\n'


def test_defects_are_not_hidden(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ivit_onnx.cli.run", None)
    with pytest.raises(ModuleNotFoundError, match=r"ivit_onnx\.cli\.run"):
        call(capsys, "run", "--help")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_needs_no_torch(command: str) -> None:
    program = f"""
import sys
import ivit_onnx.cli
assert not {{"typer", "rich", "torch", "onnx"}} & sys.modules.keys(), "importing ivit_onnx.cli is not light"
assert ivit_onnx.cli.{command}_main(["--help"]) == 0
assert "torch" not in sys.modules, "--help imports torch"
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=100)


@pytest.mark.parametrize("command", COMMANDS)
def test_installed_help(command: str) -> None:
    result = installed(command, "--help")
    assert result.status == 0
    assert f"Usage: ivit-{command}" in result.out
