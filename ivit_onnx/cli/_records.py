"""Commands that take records of `ivit_onnx.options`: an option for each field, and the record whole to the function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from typing import Annotated, Any, get_args, get_type_hints

import typer

from ivit_onnx.architectures import Size
from ivit_onnx.cli._arguments import arguments
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
        # None stands for the default, which the record knows.
        found = {name: value for name, value in values.items() if value is not None}
        given = {name: record.of(found) for name, record in records.items()}
        taken = {field.name for record in records.values() for field in fields(record)}  # type: ignore[arg-type]
        function(**{name: value for name, value in values.items() if name not in taken}, **given)

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _options(record: type[Record]) -> list[inspect.Parameter]:
    hints = get_type_hints(record, include_extras=True)
    panels = {
        field.name: panel
        for base, panel in record.panels.items()
        for field in fields(base)  # type: ignore[arg-type]
    }
    return [
        _option(field, hints[field.name], panels.get(field.name))
        for field in sorted(fields(record), key=_has_default)  # type: ignore[arg-type]
    ]


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _option(field: Field[Any], hint: Any, panel: str | None) -> inspect.Parameter:
    hint, flag = get_args(hint)
    help = flag.help + (f"  \\[default: {flag.default}]" if flag.default else "")
    kind, settings = _kind(field.name, hint, flag)
    names = flag.names or ("--" + field.name.replace("_", "-"),)
    option = typer.Option(*names, help=help, rich_help_panel=flag.panel or panel, **settings)
    annotation = Annotated[kind, option]  # type: ignore[valid-type]
    default: Any = field.default
    if default is MISSING:
        default = inspect.Parameter.empty if field.default_factory is MISSING else None
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _kind(name: str, hint: Any, flag: Flag) -> tuple[Any, dict[str, Any]]:
    """The type of an option for typer, and how its text is read."""
    if literals(hint):
        return hint, choice(hint)
    if name in ("mean", "std"):
        return str | None, {"parser": lambda text: colours(name, text), "metavar": flag.metavar}
    if name == "img_size":
        return Size | None, image_size()
    if name == "model_kwargs":
        return str | None, {"parser": arguments, "metavar": flag.metavar}
    if name in RANGES:
        return hint, number(name, flag.metavar)
    return hint, {} if flag.metavar is None else {"metavar": flag.metavar}
