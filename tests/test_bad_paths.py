"""Every command with every kind of bad input and output, and without the right to read or write.

The contract is `ivit_onnx.cli.STATUSES`: one line on standard error, no traceback, nothing changed.
"""

from __future__ import annotations

import ctypes
import os
import stat
from pathlib import Path

import pytest

from bad_days import KINDS, READERS, WRITERS, Arguments, assert_plain, bad_path, make_inputs
from commands import MICRO, call
from ivit_onnx.printable import printable
from streams import command

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


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
                assert r"\xff: no model file: expected a name in UTF-8" in result.error()
        assert call(capsys, "verify", path, "--prove").status == 0
        path.write_bytes(MICRO.read_bytes())
        assert call(capsys, "export", path, "--explain").status == 0


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
    assert "Permission denied" in message or (case in READERS and "is not readable" in message)
    assert path.exists() == (case in READERS)


def give_up_privileges() -> None:
    """The superuser becomes an owner of files like others, who reads and writes what their modes allow."""
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(header, none) == 0
