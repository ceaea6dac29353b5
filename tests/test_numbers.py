"""Numbers that options may be: 0, negative, huge, NaN and mistyped values of every option of every command."""

from __future__ import annotations

import importlib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.models import OptionInfo

import ivit_onnx
from commands import MICRO, call
from ivit_onnx.architectures import Size
from ivit_onnx.checkpoints import load_checkpoint
from ivit_onnx.datasets import open_dataset
from ivit_onnx.errors import IvitError, OptionError, TrainingError
from ivit_onnx.evaluation import evaluate
from ivit_onnx.images import read_images
from ivit_onnx.numbers import RANGES, check_colours, check_number
from ivit_onnx.training import Options
from ivit_onnx.verification import verify

COMMANDS = ("export", "run", "verify", "eval", "report", "train", "bench")

#: What a command needs besides the option; none of the files is there.
REQUIRED: dict[str, tuple[str, ...]] = {
    "export": ("absent.pth", "-o", "absent/out.onnx"),
    "run": ("absent.onnx", "absent.png"),
    "verify": ("absent.onnx",),
    "eval": ("absent.onnx", "--data", "absent"),
    "report": ("absent.onnx", "--against", "absent.pth", "--data", "absent"),
    "train": ("--data", "absent", "-o", "absent/out", "--checkpoint", "absent.pth"),
    "bench": ("absent.onnx",),
}

#: Options that are numbers but not of the table, by what they take.
CHOICES = {"softmax_bits": ("7", "8", "15")}


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def numeric_options(command: str) -> Iterator[tuple[str, Any]]:
    """Name and type of every option of a command that is a number, or a list of them, by its function's signature."""
    (registered,) = importlib.import_module(f"ivit_onnx.cli.{command}").app.registered_commands
    for name, hint in typing.get_type_hints(registered.callback, include_extras=True).items():
        if not (typing.get_origin(hint) is typing.Annotated and isinstance(hint.__metadata__[0], OptionInfo)):
            continue
        kinds = {int, float, *CHOICES["softmax_bits"]} & {str(k) if isinstance(k, int) else k for k in parts(hint)}
        if kinds or Size in parts(hint):
            yield name, float if float in kinds else int


def parts(hint: Any) -> Iterator[Any]:
    """The types and the literal values that an annotation consists of."""
    arguments = typing.get_args(hint)
    if not arguments:
        yield hint
    for argument in arguments[:1] if typing.get_origin(hint) is typing.Annotated else arguments:
        yield from parts(argument)


def options() -> list[tuple[str, str, Any]]:
    return [(command, name, kind) for command in COMMANDS for name, kind in numeric_options(command)]


def test_the_introspection_finds_options() -> None:
    found = {(command, name) for command, name, _ in options()}
    assert {("export", "img_size"), ("run", "threads"), ("bench", "seconds"), ("train", "softmax_bits")} <= found
    assert len(found) > 50


def is_documented(command: str, name: str, kind: Any, text: str) -> bool:
    """Whether the table has the value."""
    if name in CHOICES:
        return text in CHOICES[name]
    key = {"batch": "batch_size"}.get(name, "readers" if (command, name) == ("eval", "workers") else name)
    try:
        return RANGES[key].has(kind(text))
    except ValueError:
        return False


@pytest.mark.parametrize("text", ["0", "-1", "1000000000000000000000", "x", "1.5", "nan"])
@pytest.mark.parametrize(("command", "name", "kind"), options())
def test_every_number_of_every_command(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    command: str,
    name: str,
    kind: Any,
    text: str,
) -> None:
    """A value out of the range is refused with the option's name; another one lets the command go on to its files."""
    monkeypatch.chdir(tmp_path)
    message = call(capsys, command, *REQUIRED[command], flag(name), text).error()
    refused = not is_documented(command, name, kind, text)
    assert (flag(name) in message) == refused
    assert not refused or not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (
            "export",
            ("--img-size", "0"),
            "Invalid value for '--img-size': expected an integer in 1..65536, or HEIGHTxWIDTH",
        ),
        ("run", ("--threads", "20000"), "Invalid value for '--threads': expected an integer in 1..1024, found '20000'"),
        ("bench", ("--seconds", "nan"), "Invalid value for '--seconds': expected a number in 0..86400, found 'nan'"),
        ("bench", ("--batch", "1", "-2"), "Invalid value for '--batch': expected an integer in 1..1000000, found '-2'"),
        ("train", ("--smoothing", "1"), "Invalid value for '--smoothing': expected a number in 0..0.9, found '1'"),
        ("export", ("--mean", "nan,0,0"), "--mean: expected three numbers, each a number in -1000..1000, found [nan"),
        ("export", ("--std", "0,1,1"), "--std: expected three numbers, each a number in 1e-06..1000, found [0.0, 1.0"),
        ("train", ("--std", "1,1"), "--std expects three numbers such as 0.5,0.5,0.5, found '1,1'"),
    ],
)
def test_messages(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    command: str,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "absent").mkdir()
    assert message in call(capsys, command, *REQUIRED[command], *arguments).error()


def wrong(key: str) -> list[Any]:
    """Values that the option must not have."""
    allowed = RANGES[key]
    out = [allowed.least - 1, allowed.most * 2, -1e300, float("nan"), float("inf"), "1", True, [1], b"1"]
    return [*out, 1.5] if allowed.kind is int else out


@pytest.mark.parametrize("name", RANGES)
def test_the_table(name: str) -> None:
    allowed = RANGES[name]
    for value in (allowed.least, allowed.most):
        check_number(name, allowed.kind(value))
    for value in wrong(name):
        with pytest.raises(OptionError, match=rf"^{name}: expected an? \w+ in .*\.\..*, found "):
            check_number(name, value)


@given(st.integers())
def test_integers_are_in_a_range_or_refused(value: int) -> None:
    assert RANGES["threads"].has(value) == (1 <= value <= 1024)
    assert RANGES["threads"].has(float(min(value, 2**1000))) is False


def test_numpy_numbers_are_numbers() -> None:
    check_number("threads", np.int64(3))
    check_number("lr", np.float32(0.5))


@pytest.mark.parametrize("value", [0.5, (), (0.5,) * 4, ("a", 0, 0), (float("nan"), 0, 0), "abc", (True, 0, 0)])
def test_colours_are_three_numbers(value: Any) -> None:
    with pytest.raises(OptionError, match=r"^mean: expected three numbers, each a number in"):
        check_colours("mean", value)


@pytest.mark.parametrize("name", ["num_heads", "img_size", "calib_images"])
def test_export(tmp_path: Path, name: str) -> None:
    for value in wrong(name):
        with pytest.raises(OptionError, match=f"^{name}: expected an integer in"):
            ivit_onnx.export(MICRO, tmp_path / "out.onnx", **{name: value})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["mean", "std"])
def test_normalisation(tmp_path: Path, name: str) -> None:
    value: Any = (0.5, float("nan"), 0.5)
    for run in (
        lambda: ivit_onnx.export(MICRO, tmp_path / "out.onnx", **{name: value}),
        lambda: calibrate(name, value),
    ):
        with pytest.raises(OptionError, match=f"^{name}: expected three numbers"):
            run()
    with pytest.raises(OptionError, match=f"^{name}: expected three numbers"):
        Options(data="digits", output="o", checkpoint="c", **{name: value})


@pytest.mark.parametrize("value", [0, -1, 7.0, "7", True, 10**30, float("nan")])
def test_softmax_bits(tmp_path: Path, value: Any) -> None:
    with pytest.raises(IvitError, match=r"^softmax_bits .*: expected 7, 8, 15 or auto, found"):
        ivit_onnx.export(MICRO, tmp_path / "out.onnx", softmax_bits=value)
    with pytest.raises(IvitError, match=r"^softmax_bits .*: expected 7, 8 or 15, found"):
        Options(data="digits", output="o", checkpoint="c", softmax_bits=value)


def calibrate(name: str, value: Any) -> Any:
    return ivit_onnx.calibrate(MICRO, **{name: value})


@pytest.mark.parametrize("name", ["num_heads", "img_size", "limit"])
def test_calibrate(name: str) -> None:
    for value in wrong(name):
        with pytest.raises(OptionError, match=f"^{name}: expected an integer in"):
            calibrate(name, value)


@pytest.mark.parametrize(("name", "key"), [("heads", "num_heads"), ("image_size", "img_size")])
def test_load_checkpoint(name: str, key: str) -> None:
    for value in wrong(key):
        with pytest.raises(OptionError, match=f"^{key}: expected"):
            load_checkpoint(MICRO, **{name: value})


def test_an_empty_name_is_not_the_default() -> None:
    with pytest.raises(IvitError, match=r"expected an activation of gelu, .*, found ''"):
        load_checkpoint(MICRO, act="")


@pytest.mark.parametrize(
    "name", [name for name in Options.__dataclass_fields__ if name in RANGES and name not in ("mean", "std")]
)
def test_training(name: str) -> None:
    for value in wrong(name):
        with pytest.raises(TrainingError, match=f"^{flag(name)}: expected"):
            Options(data="digits", output="o", checkpoint="c", **{name: value})


def test_create_session() -> None:
    for value in wrong("threads"):
        with pytest.raises(OptionError, match=r"^threads: expected an integer in 1\.\.1024, found"):
            ivit_onnx.create_session("absent.onnx", threads=value)


@pytest.mark.parametrize("name", ["count", "seed", "threads"])
def test_verify(name: str) -> None:
    for value in wrong(name):
        with pytest.raises(OptionError, match=f"^{name}: expected an integer in"):
            verify("absent.onnx", **{name: value})


@pytest.mark.parametrize(
    ("name", "key"), [("batch", "batch_size"), ("limit", "limit"), ("workers", "readers"), ("threads", "threads")]
)
def test_evaluate(name: str, key: str) -> None:
    for value in wrong(key):
        with pytest.raises(OptionError, match=f"^{name}: expected an integer in"):
            evaluate("absent.onnx", open_dataset("generated", "val"), **{name: value})


def test_read_images() -> None:
    description: Any = None
    for value in wrong("limit"):
        with pytest.raises(OptionError, match=r"^limit: expected an integer in"):
            next(read_images(np.zeros((1, 3, 8, 8), np.uint8), description, value))
