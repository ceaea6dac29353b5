"""Streams that are closed, full or gone, terminals that are narrow or of ASCII, text that would act on them."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bad_days import Arguments, assert_plain, make_inputs
from commands import MICRO, MICRO_OPTIONS, Result, call
from ivit_onnx.cli._output import print_pairs, print_table
from ivit_onnx.printable import printable
from streams import BROKEN, CLOSED, command

Capsys = pytest.CaptureFixture[str]

ESCAPES = "a\x1b[31mb\nc\x9b1m\u202ed"
PRINTED = r"a\x1b[31mb\nc\x9b1m\u202ed"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


#: Each command with an answer on standard output, and the status it ends with.
ANSWERS: dict[str, Callable[[Path], Arguments]] = {
    "bench": lambda i: ["--help"],
    "eval": lambda i: [i / "model.onnx", "--data", "digits", "--limit", "2"],
    "export": lambda i: [MICRO, "--explain"],
    "report": lambda i: ["--help"],
    "run": lambda i: [i / "model.onnx", i / "photos", "--top", "1"],
    "train": lambda i: ["--help"],
    "verify": lambda i: [i / "model.onnx", "--prove"],
}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize(
    ("stream", "reason"), [("/dev/full", "No space left on device"), (CLOSED, "Bad file descriptor"), (BROKEN, None)]
)
def test_standard_output_that_takes_nothing(name: str, stream: str, reason: str | None, inputs: Path) -> None:
    result = command(name, *ANSWERS[name](inputs), out=stream)
    if reason is None:  # the reader has what it wanted, and the status is that of the answer
        assert result == Result(0, "", "")
    else:
        assert result.error() == f"error: cannot write to standard output: {reason}\n"


def test_a_broken_pipe_keeps_the_verdict(inputs: Path, tmp_path: Path) -> None:
    proto = onnx.load(inputs / "model.onnx")
    for entry in proto.metadata_props:
        if entry.key == "ivit.proof":
            entry.value = entry.value.replace("1", "2")
    onnx.save(proto, tmp_path / "wrong.onnx")
    assert command("verify", tmp_path / "wrong.onnx", "--prove", out=BROKEN).status == 1
    missing = command("run", inputs / "model.onnx", inputs / "photos", tmp_path / "none.png", out=BROKEN)
    assert missing.status == 1
    assert "none.png" in missing.err


@pytest.mark.parametrize("stream", [CLOSED, "/dev/full", BROKEN])
def test_standard_error_that_takes_nothing(stream: str, inputs: Path, tmp_path: Path) -> None:
    arguments = [MICRO, *MICRO_OPTIONS, "--calib", inputs / "photos", "-o", tmp_path / "model.onnx"]
    result = command("export", *arguments, err=stream)
    assert result.status == 0
    assert result.out.startswith("wrote ")
    assert command("verify", tmp_path / "model.onnx", "--prove").status == 0
    assert command("run", tmp_path / "none.onnx", inputs / "photos", err=stream) == Result(2, "", "")


def test_closed_descriptors_are_not_taken_by_files(inputs: Path, tmp_path: Path) -> None:
    """What a library prints must not end in a file that was opened as descriptor 1 or 2."""

    output = tmp_path / "model.onnx"
    arguments = [MICRO, *MICRO_OPTIONS, "--calib", inputs / "photos", "-o", output]
    command("export", *arguments, out=CLOSED, err=CLOSED, prepare=_print_when_files_are_written)
    assert b"words of a library" not in output.read_bytes()
    assert command("verify", output, "--prove").status == 0


def _print_when_files_are_written() -> None:
    def watch(event: str, details: tuple[object, ...]) -> None:
        if event == "os.rename":
            for descriptor in (1, 2):
                os.write(descriptor, b"words of a library")

    sys.addaudithook(watch)


def test_a_terminal_of_ascii_only(inputs: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"ö{number}" for number in range(10)), encoding="utf-8")
    result = command("run", inputs / "model.onnx", inputs / "photos", "--labels", labels, encoding="ascii")
    assert (result.status, result.err) == (0, "")
    assert r"\xf6" in result.out
    assert r"k\xe4se.onnx" in command("run", tmp_path / "käse.onnx", inputs / "photos", encoding="ascii").error()
    assert command("verify", "--help", encoding="ascii").status == 0


def test_a_narrow_terminal_loses_no_letter(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "12")
    cells = [["probabilities", "abcdefghijklmnopqrstuvwxyz" * 3, "0123456789"] * 3] * 2
    print_table("title", ["first", "second", "third"] * 3, cells)
    print_pairs("title", [(row[0], row[1]) for row in cells])
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    words = ["title"] * 2 + ["first", "second", "third"] * 3 + [cell for row in cells for cell in (*row, *row[:2])]
    assert Counter("".join(shown.split())) == Counter("".join(words))


@given(st.text())
def test_printable_text_acts_on_no_terminal(text: str) -> None:
    shown = printable(text)
    assert not set(shown) & {*map(chr, (*range(32), *range(127, 160), 0x2028, 0x2029, *range(0x202A, 0x202F)))}
    assert printable(shown) == shown


def test_printable_text_keeps_words() -> None:
    words = "k\xe4se \u65e5\u672c\u3000\u8a9e \u0645\u06cc\u200c\u062e \U0001f469\u200d\U0001f52c \\"
    assert printable(words) == words
    assert printable(os.fsdecode(b"\xff\xfe.png")) == r"\xff\xfe.png"
    assert printable(ESCAPES) == PRINTED


def test_text_of_files_is_printed_escaped(capsys: Capsys, inputs: Path, tmp_path: Path) -> None:
    """Names of files and classes, and what the metadata says, in tables, lines, notes and errors."""
    proto = onnx.load(inputs / "model.onnx")
    for entry in proto.metadata_props:
        if entry.key == "ivit.arch":
            entry.value = entry.value.replace("vit_custom_patch8_32", "net\\u001b[31m")
    model = tmp_path / f"{ESCAPES}.onnx"
    onnx.save(proto, model)
    labels = tmp_path / "labels.json"
    labels.write_text('["' + '", "'.join(f"\\u001b]0;{number}\\u0007" for number in range(10)) + '"]')
    image = tmp_path / f"{ESCAPES}:cat:[red].png"
    image.write_bytes((inputs / "photos" / "0" / "a.png").read_bytes())
    (tmp_path / f"{ESCAPES}.jpg").touch()

    result = call(capsys, "run", model, image, tmp_path / f"{ESCAPES}.jpg", "--labels", labels)
    assert result.status == 1
    for text in (f"{PRINTED}.onnx (net\\x1b[31m)", f"{PRINTED}:cat:[red].png", r"\x1b]0;"):
        assert text in result.out
    assert f"{PRINTED}.jpg" in result.err
    assert result.err.count("\n") == 1
    for name, arguments in {
        "run": [tmp_path / ESCAPES, image],
        "verify": [tmp_path / ESCAPES],
        "eval": [model, "--data", tmp_path / ESCAPES],
        "report": [model, "--against", tmp_path / ESCAPES, "--data", "digits", "-o", tmp_path / "a.html"],
        "bench": [tmp_path / ESCAPES],
        "export": [tmp_path / ESCAPES, "--explain"],
        "train": ["--data", "digits", "--checkpoint", tmp_path / ESCAPES, "-o", tmp_path / "out"],
    }.items():
        assert_plain(call(capsys, name, *arguments).error().replace(r"\\", "\\"))
    assert_plain(result.out + result.err)
