"""Commands that take records of `ivit_onnx.options`: an option for each field, and the record whole to the function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import Field, fields
from typing import Annotated, Any, get_args, get_type_hints

import typer

from ivit_onnx.architectures import Size
from ivit_onnx.cli._choice import choice
from ivit_onnx.cli._colours import colours
from ivit_onnx.cli._image_size import image_size
from ivit_onnx.cli._numbers import number
from ivit_onnx.numbers import RANGES
from ivit_onnx.options.fields import literals
from ivit_onnx.options.records import Flag, Record

__all__ = ["expanded"]


def expanded(function: Callable[..., None]) -> Callable[..., None]:
    """The command for a function: a parameter that is a record becomes an option for each field of the record."""
    hints = get_type_hints(function, include_extras=True)
    records = {name: hint for name, hint in hints.items() if isinstance(hint, type) and issubclass(hint, Record)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in records:
            parameters += _options(records[name])
        else:
            parameters.append(parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))

    def command(**values: Any) -> None:
        given = {name: record.of(values) for name, record in records.items()}
        taken = {field.name for record in records.values() for field in fields(record)}  # type: ignore[arg-type]
        function(**{name: value for name, value in values.items() if name not in taken}, **given)

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _options(record: type[Record]) -> list[inspect.Parameter]:
    hints = get_type_hints(record, include_extras=True)
    return [_option(field, *get_args(hints[field.name])) for field in fields(record)]  # type: ignore[arg-type]


def _option(field: Field[Any], hint: Any, flag: Flag) -> inspect.Parameter:
    help = flag.help + (f"  \\[default: {flag.default}]" if flag.default else "")
    kind, settings = _kind(field.name, hint, flag)
    option = typer.Option("--" + field.name.replace("_", "-"), help=help, **settings)
    annotation = Annotated[kind, option]  # type: ignore[valid-type]
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=annotation)


def _kind(name: str, hint: Any, flag: Flag) -> tuple[Any, dict[str, Any]]:
    """The type of an option for typer, and how its text is read."""
    if literals(hint):
        return hint, choice(hint)
    if name in ("mean", "std"):
        return str | None, {"parser": lambda text: colours(name, text), "metavar": flag.metavar}
    if name == "img_size":
        return Size | None, image_size()
    if name in RANGES:
        return hint, number(name, flag.metavar)
    return hint, {} if flag.metavar is None else {"metavar": flag.metavar}
