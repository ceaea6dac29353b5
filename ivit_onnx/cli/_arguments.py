"""The option --model-kwargs."""

from __future__ import annotations

import ast
from typing import Any

from ivit_onnx.errors import TrainingError

__all__ = ["arguments"]


def arguments(text: str) -> dict[str, Any]:
    """NAME=VALUE, ... as a dictionary; values are Python literals."""
    try:
        call = ast.parse(f"f({text})", mode="eval").body
        assert isinstance(call, ast.Call)
        if call.args or any(keyword.arg is None for keyword in call.keywords):
            raise ValueError
        return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError):
        raise TrainingError(
            f"--model-kwargs expects NAME=VALUE,... such as patch_size=8,depths=(2,2), found {text!r}"
        ) from None
