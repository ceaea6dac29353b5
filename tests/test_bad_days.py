"""Operators' bad days: signals, full disks, wrong environments, states of something else.

Commands that are killed, and models on full and read-only disks: test_killed_commands.py. Bad paths and streams:
test_bad_paths.py and test_bad_streams.py.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from PIL import Image

from bad_days import WRITERS, make_inputs
from commands import MICRO, call
from ivit_onnx.cli import STATUSES
from ivit_onnx.datasets import open_dataset
from ivit_onnx.errors import IvitError
from ivit_onnx.evaluation import evaluate
from killed import limit_files
from streams import command

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


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
    """The signal, when the temporary file is opened; also where the tests run under nohup, which commands respect."""
    signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

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
