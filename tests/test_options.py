"""Options stand once: commands offer the choices of `ivit_onnx.options`, and each of these is computed."""

from __future__ import annotations

import importlib
import typing
from typing import Any

import pytest
from typer.models import OptionInfo

from commands import MICRO, call
from ivit_onnx.calibration.presets import RECIPES
from ivit_onnx.errors import TrainingError
from ivit_onnx.options import choices
from ivit_onnx.options.fields import choices_of, literals
from ivit_onnx.quant import act
from ivit_onnx.runtime import DEVICES
from ivit_onnx.training import Options

COMMANDS = ("export", "run", "verify", "eval", "report", "train", "bench")
#: Options that different commands give different choices.
OWN = {
    ("bench", "device"): choices.BenchDevice,
    ("bench", "provider"): choices.BenchProvider,
    ("export", "softmax_bits"): choices.SoftmaxBitsOrAuto,
}
SHARED = {
    "act": choices.Act,
    "pool": choices.Pool,
    "weights": choices.Weights,
    "calib_preset": choices.Preset,
    "calib_method": choices.Method,
    "softmax_bits": choices.SoftmaxBits,
    "nonlinear": choices.Nonlinear,
    "device": choices.Device,
}
START = {
    "export": ("absent.pth", "-o", "absent/out.onnx"),
    "train": ("--data", "absent", "-o", "absent/out", "--checkpoint", "absent.pth"),
    "bench": ("--models", "deit_tiny_patch16_224"),
    "run": ("absent.onnx", "absent.png"),
    "verify": ("absent.onnx",),
    "eval": ("absent.onnx", "--data", "absent"),
}


def options(command: str) -> dict[str, Any]:
    """Type of each option of a command by name."""
    (registered,) = importlib.import_module(f"ivit_onnx.cli.{command}").app.registered_commands
    hints = typing.get_type_hints(registered.callback, include_extras=True)
    return {
        name: typing.get_args(hint)[0]
        for name, hint in hints.items()
        if typing.get_origin(hint) is typing.Annotated and isinstance(hint.__metadata__[0], OptionInfo)
    }


CLOSED = [(command, name) for command in START for name in options(command) if (command, name) in OWN or name in SHARED]


def test_the_commands_share_options() -> None:
    assert {("export", "act"), ("train", "act"), ("train", "softmax_bits"), ("bench", "nonlinear")} <= {*CLOSED}
    assert len(CLOSED) == 21


@pytest.mark.parametrize(("command", "name"), CLOSED)
def test_an_option_has_the_same_choices_in_every_command(
    capsys: pytest.CaptureFixture[str], command: str, name: str
) -> None:
    allowed = typing.get_args(OWN.get((command, name), SHARED.get(name)))
    assert literals(options(command)[name]) in (allowed, ())
    flag = "--" + name.replace("_", "-")
    message = call(capsys, command, *START[command], flag, "sideways").error()
    assert f"Invalid value for '{flag}': expected one of {', '.join(map(str, allowed))}, found 'sideways'" in message


def test_no_choice_of_a_command_stands_there_only() -> None:
    known = {typing.get_args(value) for value in vars(choices).values() if typing.get_origin(value) is typing.Literal}
    known |= {("train", "val"), ("natural", "text")}  # of ivit_onnx.datasets
    found = {literals(hint) for command in COMMANDS for hint in options(command).values()} - {()}
    assert len(found) > 9
    assert found <= known


def test_every_choice_is_computed() -> None:
    assert tuple(act.ACTIVATIONS) == tuple(act.EXACT) == choices.ACTIVATIONS
    assert tuple(RECIPES) == choices.PRESETS
    assert tuple(DEVICES) == typing.get_args(choices.Device)
    assert {*typing.get_args(choices.BenchProvider)} < {*DEVICES}


@pytest.mark.parametrize("name", ["act", "pool", "weights", "nonlinear", "distill", "scales"])
def test_a_training_refuses_other_choices(name: str) -> None:
    allowed = choices_of(Options)[name]
    message = rf"^expected --{name} of {', '.join(map(str, allowed))}, found 'sideways'$"
    with pytest.raises(TrainingError, match=message):
        Options(data="digits", output="o", checkpoint=str(MICRO), **{name: "sideways"})
