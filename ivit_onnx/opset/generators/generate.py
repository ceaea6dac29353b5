"""Files that are made from the operator set: written, or compared with what would be written."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["generate"]


def generate(
    module: str, description: str, default: str, render: Callable[[], str], arguments: Sequence[str] | None
) -> int:
    """The command `python -m MODULE`: writes `default`, or with --check compares it; returns the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("-o", "--output", type=Path, default=Path(default), help="default: %(default)s")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if the file is out of date")
    options = parser.parse_args(arguments)
    text = render()
    if not options.check:
        options.output.write_text(text, encoding="utf-8")
    elif not options.output.is_file() or options.output.read_text(encoding="utf-8") != text:
        print(f"{options.output} is out of date: run {parser.prog}", file=sys.stderr)
        return 1
    return 0
