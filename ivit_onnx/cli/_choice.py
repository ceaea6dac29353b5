"""Options that are a choice of `ivit_onnx.options.choices`: shown, checked and refused alike in every command."""

from __future__ import annotations

from typing import Any

import typer

from ivit_onnx.options.fields import literals

__all__ = ["choice"]


def choice(hint: Any, more: str = "") -> dict[str, Any]:
    """Arguments of `typer.Option` for a Literal. The help shows its values, and `more` after them."""
    by_text = {str(value): value for value in literals(hint)}

    def parse(given: str) -> object:
        try:
            return by_text[str(given)]
        except KeyError:
            raise typer.BadParameter(f"expected one of {', '.join(by_text)}, found {str(given)!r}") from None

    return {"parser": parse, "metavar": f"<{'|'.join(by_text)}>{more}"}
