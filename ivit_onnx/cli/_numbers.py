"""Options that are numbers: checked by the table of `ivit_onnx.numbers` while the command line is read."""

from __future__ import annotations

from typing import Any

import typer

from ivit_onnx.numbers import RANGES

__all__ = ["number"]


def number(key: str, metavar: str | None = None) -> dict[str, Any]:
    """Arguments of `typer.Option` for a number of the table. The help shows its bounds, or `metavar` instead."""
    allowed = RANGES[key]

    def parse(given: str | float) -> int | float:
        try:
            value = allowed.kind(given)
        except ValueError:
            pass
        else:
            if allowed.has(value):
                return value
        raise typer.BadParameter(f"expected {allowed}, found {str(given)!r}")

    return {"parser": parse, "metavar": allowed.bounds if metavar is None else metavar}
