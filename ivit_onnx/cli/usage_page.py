"""Writes the tables of docs/usage.md from the commands.

python -m ivit_onnx.cli.usage_page            writes docs/usage.md
python -m ivit_onnx.cli.usage_page --check    exits 1 if the file is not what would be written
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from functools import partial

from typer.models import OptionInfo

from ivit_onnx.cli import STATUSES
from ivit_onnx.generated_page import GeneratedPage, table

__all__ = ["PAGE"]

_DEFAULT = re.compile(r"\s*\\\[default: (.*)\]$")


def _options(command: str) -> str:
    """The options of a command: names, what they take, what --help says, and the default."""
    (registered,) = importlib.import_module(f"ivit_onnx.cli.{command}").app.registered_commands
    parameters = inspect.signature(registered.callback, eval_str=True).parameters.values()
    rows = [_row(parameter) for parameter in parameters if isinstance(_info(parameter), OptionInfo)]
    return table(["option", "value", "meaning", "default"], rows)


def _info(parameter: inspect.Parameter) -> object:
    return parameter.annotation.__metadata__[0]


def _row(parameter: inspect.Parameter) -> list[str]:
    info = _info(parameter)
    assert isinstance(info, OptionInfo)
    # typer has the first name of an annotated option in the place of its default.
    given = [name for name in (info.default, *(info.param_decls or ())) if isinstance(name, str)]
    flags = given or ["--" + parameter.name.replace("_", "-")]
    text = info.help or ""
    told = _DEFAULT.search(text)
    names = ", ".join(f"`{name}`" for name in flags)
    values = [] if info.metavar is None else info.metavar.strip("<>").split("|")
    default = told[1] if told else _default(parameter.default)
    return [names, ", ".join(f"`{value}`" for value in values), _DEFAULT.sub("", text).replace("\\", ""), default]


def _default(value: object) -> str:
    if value is inspect.Parameter.empty:
        return "required"
    return "" if value is None or value is False or value == "" else f"`{value}`"


PAGE = GeneratedPage(
    "docs/usage.md",
    "ivit_onnx.cli.usage_page",
    {
        "options of ivit-export": partial(_options, "export"),
        "options of ivit-train": partial(_options, "train"),
        "exit statuses": lambda: table(
            ["exit status", "meaning"], [[str(status), text] for status, text in STATUSES.items()]
        ),
    },
)

if __name__ == "__main__":
    sys.exit(PAGE.main())
