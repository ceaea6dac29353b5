"""Operators' bad days: every command with bad paths, streams, disks, rights and environments.

The contract is `ivit_onnx.cli.STATUSES`: one line on standard error, no traceback, no half-written file, no lost word.
Commands that are killed, and models on full and read-only disks: test_killed_commands.py.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import stat
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from commands import MICRO, MICRO_OPTIONS, Result, call
from ivit_onnx.api import export
from ivit_onnx.cli import STATUSES
from ivit_onnx.cli._output import print_pairs, print_table
from ivit_onnx.datasets import open_dataset
from ivit_onnx.errors import IvitError
from ivit_onnx.evaluation import evaluate
from ivit_onnx.printable import printable
from killed import limit_files
from streams import BROKEN, CLOSED, command

Capsys = pytest.CaptureFixture[str]
Arguments = list[str | Path]
Cases = dict[str, tuple[str, Callable[[Path, Path], Arguments]]]

ESCAPES = "a\x1b[31mb\nc\x9b1m\u202ed"
PRINTED = r"a\x1b[31mb\nc\x9b1m\u202ed"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and two photos in a folder of a class each."""
    folder = tmp_path_factory.mktemp("inputs")
    for index in range(2):
        (folder / "photos" / str(index)).mkdir(parents=True)
        pixels = np.random.default_rng(index).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / str(index) / "a.png")
    export(MICRO, folder / "model.onnx", calib=folder / "photos", num_heads=2, mean=(0.3,) * 3, std=(0.4,) * 3)
    return folder


# -- streams

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


# -- text of files


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


def assert_plain(text: str) -> None:
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text), text


# -- bad inputs

KINDS = ("missing", "folder", "loop", "dangling", "255 bytes", "256 bytes", "not UTF-8")

#: Each command with one bad path among good ones.
READERS: Cases = {
    "run, model": ("run", lambda i, p: [p, i / "photos"]),
    "run, image": ("run", lambda i, p: [i / "model.onnx", p]),
    "run, labels": ("run", lambda i, p: [i / "model.onnx", i / "photos", "--labels", p]),
    "verify, model": ("verify", lambda i, p: [p]),
    "verify, proof": ("verify", lambda i, p: [p, "--prove"]),
    "verify, checkpoint": ("verify", lambda i, p: [i / "model.onnx", "--count", "1", "--against", p]),
    "verify, images": ("verify", lambda i, p: [i / "model.onnx", "--count", "1", "--images", p]),
    "eval, model": ("eval", lambda i, p: [p, "--data", "digits"]),
    "eval, data": ("eval", lambda i, p: [i / "model.onnx", "--data", p]),
    "eval, labels": ("eval", lambda i, p: [i / "model.onnx", "--data", i / "photos", "--labels", p]),
    "eval, classes": ("eval", lambda i, p: [i / "model.onnx", "--data", "digits", "--classes", p]),
    "eval, checkpoint": ("eval", lambda i, p: [i / "model.onnx", "--data", "digits", "--against", p]),
    "report, model": ("report", lambda i, p: [p, "--against", MICRO, "--data", "digits", "-o", i / "report.html"]),
    "report, checkpoint": (
        "report",
        lambda i, p: [i / "model.onnx", "--against", p, "--data", "digits", "-o", i / "report.html"],
    ),
    "report, data": (
        "report",
        lambda i, p: [i / "model.onnx", "--against", MICRO, "--data", p, "-o", i / "report.html"],
    ),
    "bench, model": ("bench", lambda i, p: [p]),
    "bench, checkpoint": (
        "bench",
        lambda i, p: ["--models", "deit_tiny_patch16_224", "--checkpoint", p, "--cache", i / "cache", "--starts", "1"],
    ),
    "export, checkpoint": ("export", lambda i, p: [p, "-o", i / "new.onnx"]),
    "export, explained": ("export", lambda i, p: [p, "--explain"]),
    "export, images": ("export", lambda i, p: [MICRO, *MICRO_OPTIONS, "--calib", p, "-o", i / "new.onnx"]),
    "train, checkpoint": ("train", lambda i, p: ["--data", "digits", "--checkpoint", p, "-o", i / "out"]),
    "train, data": (
        "train",
        lambda i, p: ["--data", p, "--checkpoint", MICRO, "--num-heads", "2", "-o", i / "out"],
    ),
}


def bad_path(kind: str, folder: Path) -> Path:
    if kind == "folder":
        (folder / kind).mkdir()
    elif kind in ("loop", "dangling"):
        (folder / kind).symlink_to({"loop": "loop", "dangling": "nowhere"}[kind])
    elif kind.endswith("bytes"):
        long = folder / ("x" * int(kind.split()[0]))
        if kind == "255 bytes":
            long.touch()
        return long
    elif kind == "not UTF-8":
        other = Path(os.fsdecode(os.fsencode(folder) + b"/\xff"))
        other.touch()
        return other
    return folder / kind


@pytest.mark.parametrize("reader", READERS)
def test_bad_inputs(reader: str, capsys: Capsys, inputs: Path, tmp_path: Path) -> None:
    name, arguments = READERS[reader]
    before = sorted(inputs.iterdir())
    for kind in KINDS:
        path = bad_path(kind, tmp_path)
        if reader == "bench, checkpoint" and kind in (
            "255 bytes",
            "not UTF-8",
        ):  # read by a process of its own, which takes seconds
            continue
        message = call(capsys, name, *arguments(inputs, path)).error()
        assert printable(path.name) in message or repr(str(path)).strip("'") in message, kind
        assert_plain(message)
    left = [path for path in sorted(inputs.iterdir()) if path not in before]
    assert [path.name for path in left] in ([], ["out"], ["cache"])


def test_good_files_with_bad_names(capsys: Capsys, inputs: Path, tmp_path: Path) -> None:
    """A name of 255 bytes is one like others. ONNX Runtime takes UTF-8 only; Python reads any name."""
    long, other = tmp_path / ("ö" * 127 + "x"), Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    for path in (long, other):
        path.write_bytes((inputs / "model.onnx").read_bytes())
        state = tmp_path / "state.json"
        state.unlink(missing_ok=True)
        commands: list[tuple[str, Arguments]] = [
            ("run", [path, inputs / "photos"]),
            ("eval", [path, "--data", "digits", "--limit", "2", "--state", state]),
            ("bench", [path, "--json", "--rounds", "1", "--seconds", "0", "--repeat", "1", "--starts", "1"]),
        ]
        for name, arguments in commands:
            result = call(capsys, name, *arguments)
            if path == long:
                assert (result.status, result.err) == (0, ""), result
            else:
                assert r"\xff cannot be loaded: expected a name in UTF-8" in result.error()
        assert call(capsys, "verify", path, "--prove").status == 0
        path.write_bytes(MICRO.read_bytes())
        assert call(capsys, "export", path, "--explain").status == 0


# -- outputs

EXPORT = [MICRO, *MICRO_OPTIONS, "--calib-preset", "fast"]

#: Each command with one output.
WRITERS: Cases = {
    "export": ("export", lambda i, p: [*EXPORT, "--calib", i / "photos", "-o", p]),
    "export, forced": ("export", lambda i, p: [*EXPORT, "--calib", i / "photos", "-o", p, "--force"]),
    "report": ("report", lambda i, p: [*REPORT(i), "-o", p]),
    "report, forced": ("report", lambda i, p: [*REPORT(i), "-o", p, "--force"]),
    "eval, state": ("eval", lambda i, p: [i / "model.onnx", "--data", "digits", "--limit", "2", "--state", p]),
    "bench, plot": ("bench", lambda i, p: [i / "model.onnx", "--plot", p]),
    "train": ("train", lambda i, p: ["--data", "digits", "--checkpoint", MICRO, "--num-heads", "2", "-o", p]),
}


def REPORT(inputs: Path) -> Arguments:  # noqa: N802
    return [inputs / "model.onnx", "--against", MICRO, "--data", inputs / "photos", "--limit", "1"]


@pytest.mark.parametrize("writer", WRITERS)
def test_outputs_are_regular_files_or_new_names(writer: str, capsys: Capsys, inputs: Path, tmp_path: Path) -> None:
    name, arguments = WRITERS[writer]
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "dangling.png").symlink_to("nowhere")
    (tmp_path / "to a file.png").symlink_to("file")
    (tmp_path / "to a device.png").symlink_to(device(tmp_path))
    os.mkfifo(tmp_path / "pipe.png")
    bad = ["loop.png", "dangling.png", "to a file.png", "to a device.png", "pipe.png", device(tmp_path).name]
    before = {path.name: os.lstat(path) for path in tmp_path.iterdir()}
    for path in bad:
        if writer == "bench, plot" and not path.endswith(".png"):
            continue
        message = call(capsys, name, *arguments(inputs, tmp_path / path)).error()
        assert message.startswith("error: cannot write "), message
        assert path in message
    after = {path.name: os.lstat(path) for path in tmp_path.iterdir()}
    assert {name: (s.st_ino, s.st_mode) for name, s in after.items()} == {
        name: (s.st_ino, s.st_mode) for name, s in before.items()
    }
    assert (tmp_path / "file").read_text() == "mine"


def device(folder: Path) -> Path:
    """A device of our own where that is allowed, else the null device, which nothing may touch either."""
    path = folder / "device"
    try:
        if not path.exists():
            os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        return Path(os.devnull)
    return path


def test_links_in_the_folder_of_a_training_are_refused(capsys: Capsys, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    for name in ("state.pt", "model.safetensors", "metrics.csv"):
        folder = tmp_path / name.replace(".", " ")
        folder.mkdir()
        (folder / name).symlink_to(tmp_path / "precious")
        arguments = ["--data", "digits", "--checkpoint", MICRO, "--num-heads", "2", "-o", folder]
        assert "it is a link" in call(capsys, "train", *arguments, "--resume").error()
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize("size", [255, 256])
def test_outputs_with_the_longest_names(size: int, capsys: Capsys, inputs: Path, tmp_path: Path) -> None:
    """255 bytes are allowed, in letters of several bytes too."""
    path = tmp_path / ("ö" * 127 + "x" * (size - 254))
    for writer in ("export", "export, forced", "report, forced", "eval, state"):
        name, arguments = WRITERS[writer]
        if writer == "eval, state" and size == 255:
            path.unlink()
        result = call(capsys, name, *arguments(inputs, path))
        if size == 255:
            assert (result.status, result.err) == (0, ""), result
        else:
            assert "File name too long" in result.error()
        assert [entry.name for entry in tmp_path.iterdir()] == ([path.name] if size == 255 else [])


def test_outputs_with_names_that_are_not_utf8(capsys: Capsys, inputs: Path, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    name, arguments = WRITERS["export"]
    assert r"\xff: expected a name in UTF-8" in call(capsys, name, *arguments(inputs, path)).error()
    assert list(tmp_path.iterdir()) == []
    name, arguments = WRITERS["report"]
    assert call(capsys, name, *arguments(inputs, path)).status == 0
    assert [os.fsencode(entry.name) for entry in tmp_path.iterdir()] == [b"\xff"]


#: Of each command one file that is read, and those that are written.
FORBIDDEN = [
    *("run, model", "verify, proof", "eval, model", "report, checkpoint", "bench, model", "export, explained"),
    *("train, checkpoint", "export", "report", "eval, state", "bench, plot", "train"),
]


@pytest.mark.parametrize("case", FORBIDDEN)
def test_without_rights(case: str, inputs: Path, tmp_path: Path) -> None:
    name, arguments = (READERS | WRITERS)[case]
    path = tmp_path / "closed" / "file.png"
    path.parent.mkdir()
    if case in READERS:
        path.touch(mode=0)
    path.parent.chmod(0o555)
    message = command(name, *arguments(inputs, path), prepare=give_up_privileges).error()
    assert str(path) in message
    assert ("is not readable" if case in READERS else "Permission denied") in message
    assert path.exists() == (case in READERS)


def give_up_privileges() -> None:
    """The superuser becomes an owner of files like others, who reads and writes what their modes allow."""
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(header, none) == 0


# -- disks, signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_leave_nothing_behind(number: signal.Signals, inputs: Path, tmp_path: Path) -> None:
    name, arguments = WRITERS["eval, state"]
    prepare = partial(_send_in_the_middle, number)
    result = command(name, *arguments(inputs, tmp_path / "state.json"), prepare=prepare)
    assert result.status == 128 + number
    assert result.status in STATUSES
    assert "Traceback" not in result.err
    assert list(tmp_path.iterdir()) == []


def _send_in_the_middle(number: int) -> None:
    """The signal, when the temporary file is opened."""

    def watch(event: str, details: tuple[object, ...]) -> None:
        if event == "open" and str(details[0]).endswith("state.json") and details[1] == "w":
            os.kill(os.getpid(), number)

    sys.addaudithook(watch)


def test_a_full_disk_keeps_the_state_of_a_training(tmp_path: Path) -> None:
    """The last state stays whole, and the training goes on from it once there is room again."""
    folder, data = tmp_path / "out", tmp_path / "data"
    for label in range(10):
        (data / str(label)).mkdir(parents=True)
        Image.new("RGB", (32, 32), (20 * label,) * 3).save(data / str(label) / "a.png")
    where = ["--data", data, "--checkpoint", MICRO, "--num-heads", "2", "-o", folder, "--ema", "0"]
    how = ["--no-augment", "--cpu", "--workers", "0", "--calib-preset", "fast", "--calib-images", "2"]
    every = ["--batch-size", "2", "--epochs", "1", "--save-every", "2", "--log-every", "100"]
    first = command("train", *where, *how, *every, prepare=partial(kill_at_state, str(folder)))
    assert first.status < 0
    before = (folder / "state.pt").read_bytes()
    size = len(before) - 1000
    result = command("train", *where, *how, *every, "--resume", prepare=partial(limit_files, size))
    assert result.error() == f"error: cannot write {folder / 'state.pt'}: File too large\n"
    assert (folder / "state.pt").read_bytes() == before
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    done = command("train", *where, *how, *every, "--resume", "--json")
    assert (done.status, done.err) == (0, "")


def kill_at_state(folder: str) -> None:
    """Kills the process after its first state."""

    def watch(event: str, details: tuple[object, ...]) -> None:
        if event == "open" and str(details[0]).endswith("state.pt") and Path(folder, "state.pt").exists():
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


# -- environments


@pytest.mark.parametrize("name", ["run", "verify", "eval", "bench"])
def test_wrong_kernels_in_the_environment(name: str, inputs: Path) -> None:
    more = {"run": [inputs / "photos"], "eval": ["--data", "digits", "--limit", "2"]}.get(name, [])
    result = command(name, inputs / "model.onnx", *more, environment={"IVIT_CPU": "abacus"})
    assert "IVIT_CPU=abacus is not available on this machine; available: " in result.error()


@pytest.mark.parametrize("name", ["run", "verify", "eval", "bench"])
@pytest.mark.parametrize("version", ["1.17.1", "0.5", None])
def test_an_old_onnxruntime(
    name: str, version: str | None, capsys: Capsys, monkeypatch: pytest.MonkeyPatch, inputs: Path
) -> None:
    old = ModuleType("onnxruntime")
    if version is not None:
        old.__version__ = version  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "onnxruntime", old)
    more = {"run": [inputs / "photos"], "eval": ["--data", "digits"]}.get(name, [])
    message = call(capsys, name, inputs / "model.onnx", *more).error()
    assert f"expected onnxruntime 1.23 or newer, found {version or 'one without a version'}" in message


def test_wrong_ranks_in_the_environment(tmp_path: Path) -> None:
    arguments = ["--data", "digits", "--checkpoint", MICRO, "--num-heads", "2", "--cpu", "-o", tmp_path / "out"]
    message = command("train", *arguments, environment={"WORLD_SIZE": "x"}).error()
    assert "cannot start the processes, see RANK, WORLD_SIZE" in message


def test_no_home(inputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    assert "pass --cache" in call(capsys, "bench", inputs / "model.onnx").error()


# -- states


def test_states_are_of_weights_whatever_their_file_is_called(inputs: Path, tmp_path: Path) -> None:
    model, weights, state = tmp_path / "model.onnx", tmp_path / "weights.bin", tmp_path / "state.json"
    proto = onnx.load(inputs / "model.onnx")
    onnx.save_model(proto, model, save_as_external_data=True, location=weights.name, size_threshold=1024)
    digits = open_dataset("digits")
    assert evaluate(model, digits, limit=20, state=state).resumed == 0
    assert evaluate(model, digits, limit=20, state=state).resumed == 20
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(IvitError, match="expected the same model;"):
        evaluate(model, digits, limit=20, state=state)


def test_states_are_of_images_and_not_of_their_names(capsys: Capsys, inputs: Path, tmp_path: Path) -> None:
    state, images = tmp_path / "state.json", tmp_path / "images"
    for label in range(10):
        (images / str(label)).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(images / str(label) / "a.png")
    arguments = [inputs / "model.onnx", "--data", images, "--state", state]
    assert call(capsys, "eval", *arguments).status == 0
    moved = images.rename(tmp_path / "moved")
    arguments[2] = moved
    assert call(capsys, "eval", *arguments).status == 0
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(moved / "3" / "a.png")
    assert "expected the same data" in call(capsys, "eval", *arguments).error()


# -- the contract


def test_the_documentation_has_every_status() -> None:
    page = (Path(__file__).parents[1] / "docs" / "usage.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", page, re.MULTILINE)
    assert {int(status): text for status, text in rows} == STATUSES
