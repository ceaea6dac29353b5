"""Commands that are killed at any of their file operations, or find the disk full or read-only.

A killed command leaves every file whole or not there, and can be run again. COMMANDS has a row for each command.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from commands import MICRO, MICRO_OPTIONS
from ivit_onnx.api import export
from killed import files, run_and_kill, run_with_small_files

Arguments = Callable[[Path, Path], list[str | Path]]


@dataclass(frozen=True)
class Command:
    """A command line: its name, its arguments for a folder of inputs and one of outputs, and the files that it makes.

    `continues` says that a file may differ after a restart, because the command goes on where it was.
    """

    name: str
    arguments: Arguments
    makes: tuple[str, ...] = ()
    continues: bool = False


EXPORT = [MICRO, *MICRO_OPTIONS, "--calib-images", "2", "--json"]
BENCH = ["--json", "--rounds", "1", "--seconds", "0", "--repeat", "1", "--starts", "1", "--threads", "1"]

COMMANDS = {
    "export": Command("export", lambda i, o: [*EXPORT, "--calib", i, "-o", o / "model.onnx"], ("model.onnx",)),
    "export, calibration kept": Command(
        "export",
        lambda i, o: [*EXPORT, "--calib", i, "--calib-cache", o / "cache", "-o", o / "model.onnx"],
        ("cache", "model.onnx"),
    ),
    "export, replacing": Command(
        "export", lambda i, o: [*EXPORT, "--calib", i, "-o", o / "model.onnx", "--force"], ("model.onnx",)
    ),
    "verify": Command("verify", lambda i, o: [i / "model.onnx", "--json", "--count", "1"]),
    "bench": Command("bench", lambda i, o: [i / "model.onnx", *BENCH, "--cache", o / "cache"]),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos and an exported model."""
    folder = tmp_path_factory.mktemp("inputs")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    for index, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{index}.png")
    export(MICRO, folder / "model.onnx", calib=folder, num_heads=2, mean=(0.3,) * 3, std=(0.4,) * 3)
    return folder


def same(path: str, one: bytes, other: bytes) -> bool:
    """Whether two files of that name hold the same; the names in the header of a cache have no order."""
    if path != "cache":
        return one == other
    arrays = [safetensors.numpy.load(content) for content in (one, other)]
    return len(one) == len(other) and all(np.array_equal(arrays[0][name], arrays[1][name]) for name in arrays[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "after"), [*((name, False) for name in COMMANDS), ("export, calibration kept", True)], ids=str
)
def test_killed_at_every_change(name: str, inputs: Path, tmp_path: Path, after: bool) -> None:
    command = COMMANDS[name]
    outputs = tmp_path / "outputs"

    def start(at: int) -> int:
        shutil.rmtree(outputs, ignore_errors=True)
        outputs.mkdir()
        if "--force" in command.arguments(inputs, outputs):
            (outputs / "model.onnx").write_bytes(b"older")
        return run_and_kill(command.name, command.arguments(inputs, outputs), outputs, at, after=after)

    assert start(0) == 0, (tmp_path / "output.txt").read_text(encoding="utf-8")
    whole = files(outputs)
    assert set(command.makes) <= set(whole)
    kills = 0
    while (status := start(kills + 1)) < 0:
        assert status == -signal.SIGKILL
        kills += 1
        for path, content in files(outputs).items():
            if path in command.makes:
                intact = content == b"older" or same(path, content, whole[path])
                assert intact, f"{path} is half-written after kill {kills}"
        if not command.continues:
            continue
        arguments = command.arguments(inputs, outputs)
        assert run_and_kill(command.name, arguments, outputs, 0) == 0, f"cannot be run again after kill {kills}"
    assert status == 0
    assert kills > 2 * len(command.makes) or not command.makes
    # Once more where the last kill left it, without the file that it would not replace.
    if kills:
        start(kills)
        for path in set(command.makes) & set(files(outputs)) - {"cache"}:
            (outputs / path).unlink()
        assert run_and_kill(command.name, command.arguments(inputs, outputs), outputs, 0) == 0
        again = files(outputs)
        assert all(same(path, again[path], whole[path]) for path in command.makes)


WRITERS = [name for name, command in COMMANDS.items() if command.makes]


@pytest.mark.parametrize("size", [0, 5000, 100_000])
@pytest.mark.parametrize("name", WRITERS)
def test_full_disk(name: str, inputs: Path, tmp_path: Path, size: int) -> None:
    command = COMMANDS[name]
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    # The command's own messages go to a file too; they are short, and are lost where nothing can be written.
    status = run_with_small_files(command.name, command.arguments(inputs, outputs), outputs, size)
    message = (tmp_path / "output.txt").read_text(encoding="utf-8")
    assert status == 2 if size else status > 0, message
    assert "Traceback" not in message
    if size:
        assert "cannot write" in message
    left = files(outputs)
    assert "model.onnx" not in left
    assert [path.name for path in outputs.iterdir()] in ([], ["cache"])


@pytest.mark.parametrize("name", WRITERS)
def test_read_only_disk(name: str, inputs: Path, tmp_path: Path) -> None:
    """A folder of the kernel takes no files, whoever asks."""
    command = COMMANDS[name]
    arguments = command.arguments(inputs, Path("/proc/self"))
    status = run_and_kill(command.name, arguments, tmp_path / "outputs", 0)
    message = (tmp_path / "output.txt").read_text(encoding="utf-8")
    assert status == 2, message
    assert message.startswith("error: cannot write /proc/self/")
    assert message.count("\n") == 1
