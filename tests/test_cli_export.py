"""ivit-export: the file it writes, its summary, and every way to refuse bad input."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="the export extra is not installed")
onnx = pytest.importorskip("onnx", reason="the export extra is not installed")

from commands import MICRO, MICRO_OPTIONS, Result, call, installed  # noqa: E402
from ivit_onnx.architectures import KNOWN  # noqa: E402

StateDict = dict[str, Any]
Export = Callable[..., Result]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(4):
        Image.fromarray(rng.integers(0, 256, (40, 36, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    return folder


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "model.onnx"


@pytest.fixture
def export(capsys: pytest.CaptureFixture[str], photos: Path, output: Path) -> Export:
    """`ivit-export checkpoint -o output --calib photos ...`."""

    def run(checkpoint: Path = MICRO, *options: str | Path, calib: Path | None = photos) -> Result:
        calibration = () if calib is None else ("--calib", calib)
        return call(capsys, "export", checkpoint, "-o", output, *calibration, *options)

    return run


def test_summary_and_file(export: Export, output: Path) -> None:
    result = export(MICRO, *MICRO_OPTIONS)
    assert result.status == 0
    assert result.err == ""
    assert f"wrote {output}" in result.out
    for expected in (
        "164,234",
        "in float32",
        "IntDeferredAttention",
        "4 images, preset default, ranges by minmax",
        "2 heads",
    ):
        assert expected in result.out
    assert [path.name for path in output.parent.iterdir()] == ["model.onnx"]
    metadata = {entry.key: entry.value for entry in onnx.load(output).metadata_props}
    assert json.loads(metadata["ivit.preprocess"])["mean"] == [0.3, 0.3, 0.3]


def test_json_is_one_object_and_nothing_else(export: Export) -> None:
    result = export(MICRO, *MICRO_OPTIONS, "--json")
    assert result.status == 0
    report = json.loads(result.out)
    assert report["parameters"] == 164_234
    assert report["arch"]["heads"] == 2
    assert report["operators"]["IntDeferredAttention"] == 3
    assert report["calibration"] == {"preset": "default", "method": "minmax", "source": "images", "images": 4}


def test_options_reach_the_model(export: Export, output: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    options = ("--calib-method", "entropy", "--calib-images", "2", "--calib-cache", cache, "--softmax-bits", "8")
    first = export(MICRO, *MICRO_OPTIONS, *options, "--input", "int8", "--flat", "--json")
    assert first.status == 0
    expected = {"preset": "default", "method": "entropy", "source": "images", "images": 2}
    assert json.loads(first.out)["calibration"] == expected
    metadata = {entry.key: entry.value for entry in onnx.load(output).metadata_props}
    assert (metadata["ivit.softmax_bits"], metadata["ivit.input"], metadata["ivit.form"]) == ("8", "int8", "flat")
    options = ("--calib-preset", "fast", "--calib-cache", cache, "--force", "--json")
    again = export(MICRO, *MICRO_OPTIONS, *options, calib=None)
    assert again.status == 0
    assert json.loads(again.out)["calibration"] == {**expected, "preset": "fast", "method": "minmax"}


def test_without_images_some_are_drawn(
    capsys: pytest.CaptureFixture[str], export: Export, output: Path, tmp_path: Path
) -> None:
    result = export(MICRO, *MICRO_OPTIONS, calib=None)
    assert result.status == 0
    assert result.err == ""
    assert "48 drawn images (dead leaves), preset default, ranges by minmax" in result.out
    notes = [line for line in result.out.splitlines() if line.startswith("note: ")]
    assert len(notes) == 1
    assert "--calib" in notes[0]
    metadata = {entry.key: entry.value for entry in onnx.load(output).metadata_props}
    expected = {"preset": "default", "method": "minmax", "source": "dead leaves", "images": 48}
    assert json.loads(metadata["ivit.calibration"]) == expected
    verified = call(capsys, "verify", output, "--against", MICRO, "--count", "2")
    assert verified.status == 0
    assert "verified: bit-exact" in verified.out


def test_number_and_cache_of_drawn_images(export: Export, output: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    options = (*MICRO_OPTIONS, "--calib-cache", cache, "--force", "--json")
    first = export(MICRO, *options, "--calib-images", "3", calib=None)
    written = output.read_bytes()
    again = export(MICRO, *options, calib=None)
    expected = {"preset": "default", "method": "minmax", "source": "dead leaves", "images": 3}
    assert json.loads(first.out)["calibration"] == json.loads(again.out)["calibration"] == expected
    assert output.read_bytes() == written
    assert "found those of drawn images" in export(MICRO, *options).error()
    assert output.read_bytes() == written


def test_assumptions_are_warnings(export: Export) -> None:
    result = export(MICRO)
    assert result.status == 0
    assert "warning: the number of heads cannot be read from the file" in result.out
    assert "warning: nothing tells the normalisation" in result.out


class Malicious:
    """Would run a command when unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("true",)


def micro() -> StateDict:
    return dict(torch.load(MICRO, weights_only=True))


def changed(name: str, value: Any) -> StateDict:
    return {**micro(), name: value}


def without(name: str) -> StateDict:
    return {key: value for key, value in micro().items() if key != name}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (lambda: [1, 2, 3], "holds a list, expected a state_dict"),
        (lambda: {"model": Malicious()}, "refused because it contains code"),
        (dict, "empty state_dict"),
        (lambda: without("blocks.2.attn.proj.weight"), "tensor blocks.2.attn.proj.weight is missing"),
        (lambda: changed("head.bias", torch.zeros(11)), "head.bias has shape [11], expected [10]"),
        (lambda: changed("norm.bias", torch.full((64,), float("nan"))), "norm.bias has 64 NaN"),
        (lambda: changed("blocks.0.attn.q_norm.weight", torch.ones(64)), "not supported yet: normalised queries"),
    ],
    ids=["list", "code", "empty", "missing", "misshapen", "nan", "unsupported"],
)
def test_bad_content(export: Export, tmp_path: Path, output: Path, content: Callable[[], Any], expected: str) -> None:
    torch.save(content(), tmp_path / "bad.pth")
    assert expected in export(tmp_path / "bad.pth").error()
    assert list(output.parent.iterdir()) == []


def test_list_models() -> None:
    """One name per line for programs; no checkpoint and no output file needed."""
    done = installed("export", "--list-models")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [*KNOWN]


def test_list_models_for_people(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    done = call(capsys, "export", "--list-models")
    assert done.status == 0
    (row,) = [line for line in done.out.splitlines() if line.startswith("vit_small_patch14_reg4_dinov2")]
    assert row.rstrip().endswith("  register tokens (4), LayerScale, features")


def test_bad_files(export: Export, tmp_path: Path, output: Path) -> None:
    (tmp_path / "cut.pth").write_bytes(MICRO.read_bytes()[:5000])
    (tmp_path / "bytes.pth").write_bytes(bytes(range(200, 255)))
    assert "does not exist" in export(tmp_path / "nowhere.pth").error()
    assert "damaged or truncated" in export(tmp_path / "cut.pth").error()
    assert "neither a file of torch.save nor safetensors" in export(tmp_path / "bytes.pth").error()
    assert "is a folder" in export(tmp_path).error()
    assert list(output.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--arch", "vit_tyni_patch16_224"), "did you mean vit_tiny_patch16_224"),
        (("--arch", "vit_tiny_patch16_224"), "the file is not vit_tiny_patch16_224"),
        (("--num-heads", "3"), "3 heads do not divide the width 64"),
        (("--num-heads", "0"), "--num-heads"),
        (("--img-size", "50"), "patches of 8 pixels do not divide an image of 50"),
        (("--mean", "0.5"), "--mean expects three numbers"),
        (("--std", "1,2,x"), "--std expects three numbers"),
        (("--std", "1,0,1"), "--std: expected three numbers"),
        (("--calib-images", "-1"), "'--calib-images': expected an integer in 1..1000000000, found '-1'"),
        (("--calib-method", "magic"), "--calib-method"),
        (("--calib-preset", "slow"), "--calib-preset"),
        (("--softmax-bits", "9"), "--softmax-bits"),
        (("--input", "int4"), "--input"),
        (("--nonlinear", "exact"), "--nonlinear"),
        (("--no-such-option",), "No such option: --no-such-option"),
    ],
)
def test_bad_options(export: Export, output: Path, options: tuple[str, ...], expected: str) -> None:
    assert expected in export(MICRO, *options).error()
    assert list(output.parent.iterdir()) == []


def test_bad_calibration(export: Export, tmp_path: Path, photos: Path, output: Path) -> None:
    (tmp_path / "none").mkdir()
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    np.save(tmp_path / "small.npy", np.zeros((2, 3, 16, 16), np.float32))
    for calib, expected in {
        "none": "no images in",
        "nowhere": "does not exist",
        "other.npz": "has no key `images`",
        "small.npy": "expected normalised images [N, 3, 32, 32]",
    }.items():
        assert expected in export(MICRO, *MICRO_OPTIONS, calib=tmp_path / calib).error()
    (photos / "broken.png").write_bytes(b"no image")
    assert list(output.parent.iterdir()) == []
    done = export(MICRO, *MICRO_OPTIONS)
    assert done.status == 0
    assert re.search(r"warning: .*broken\.png", done.out)


def test_bad_calibration_cache(export: Export, tmp_path: Path, output: Path) -> None:
    cache = tmp_path / "cache"
    cache.write_text("no cache")
    assert str(cache) in export(MICRO, *MICRO_OPTIONS, "--calib-cache", cache).error()
    assert list(output.parent.iterdir()) == []


def test_output_exists(export: Export, output: Path) -> None:
    output.write_text("mine")
    assert "exists; pass --force" in export(output.parent / "not even read.pth").error()
    assert output.read_text() == "mine"
    assert "3 heads" in export(MICRO, "--force", "--num-heads", "3").error()
    assert output.read_text() == "mine"
    assert export(MICRO, *MICRO_OPTIONS, "--force").status == 0
    assert [path.name for path in output.parent.iterdir()] == ["model.onnx"]


def test_output_is_an_input(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.pth"
    checkpoint.write_bytes(MICRO.read_bytes())
    result = call(capsys, "export", checkpoint, "-o", tmp_path / "." / "checkpoint.pth", "--force", "--calib", tmp_path)
    assert "is also an input" in result.error()
    assert checkpoint.read_bytes() == MICRO.read_bytes()


def test_unwritable_output(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "none" / "a.onnx", tmp_path / "file" / "a.onnx", Path("/proc/a.onnx"), tmp_path):
        assert "cannot write" in call(capsys, "export", MICRO, "-o", path, "--calib", tmp_path).error()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_failure_while_writing_leaves_nothing(export: Export, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ivit_onnx import api

    def fail(model: object, path: Path) -> None:
        path.write_bytes(b"half a model")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(api, "save", fail)
    assert "No space left on device" in export(MICRO, *MICRO_OPTIONS).error()
    assert list(output.parent.iterdir()) == []


@pytest.mark.slow
def test_installed_command(photos: Path, output: Path, tmp_path: Path) -> None:
    torch.save([1], tmp_path / "list.pth")
    refused = installed("export", tmp_path / "list.pth", "-o", output, "--calib", photos)
    assert "holds a list" in refused.error()
    done = installed("export", MICRO, "-o", output, "--calib", photos, *MICRO_OPTIONS)
    assert done.status == 0, done.err
    assert f"wrote {output}" in done.out
    assert [path.name for path in output.parent.iterdir()] == ["model.onnx"]


@pytest.mark.slow
def test_without_images_two_processes_write_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for threads in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        done = installed("export", MICRO, "-o", tmp_path / threads, *MICRO_OPTIONS)
        assert done.status == 0, done.err
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_writing(photos: Path, output: Path, number: signal.Signals) -> None:
    """The process gets a signal in the middle of writing: status says so, no traceback, nothing is left."""
    program = f"""
import os, signal, sys
from ivit_onnx import api
from ivit_onnx.cli import export_main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it
def save(model, path):
    path.write_bytes(b"half a model")
    os.kill(os.getpid(), {int(number)})
    raise AssertionError("the signal was ignored")
api.save = save
sys.exit(export_main(sys.argv[1:]))
"""
    arguments = [MICRO, "-o", output, "--calib", photos, *MICRO_OPTIONS]
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 128 + number
    assert "Traceback" not in done.stderr
    assert list(output.parent.iterdir()) == []
