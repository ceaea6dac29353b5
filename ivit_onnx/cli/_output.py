"""How the commands print: tables for people, one JSON object for scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ivit_onnx.printable import printable

__all__ = [
    "hush_runtime",
    "megabytes",
    "print_json",
    "print_lines",
    "print_pairs",
    "print_table",
    "print_unreadable",
]


#: The width of tables in files, which have none, in characters.
FILE_WIDTH = 150
#: Tables are not folded into less; the terminal itself wraps their lines.
NARROWEST = 60


def print_json(content: Mapping[str, Any]) -> None:
    """One JSON object on standard output."""
    print(json.dumps(content, indent=2, allow_nan=False))


def print_pairs(title: str, rows: Sequence[tuple[str, str]]) -> None:
    """A table of names and values."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    _print_table(title, table, rows)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """A table with a header; the columns numbered in `right` are aligned to the right."""
    table = Table(box=None, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(Text(column), justify="right" if index in right else "left", overflow="fold")
    _print_table(title, table, rows)


def _print_table(title: str, table: Table, rows: Sequence[Sequence[str]]) -> None:
    print_lines([title], style="bold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console()
    console.width = max(console.width, NARROWEST) if console.is_terminal else FILE_WIDTH
    console.print(table)


def print_lines(lines: Sequence[str], style: str = "") -> None:
    """Plain lines, never wrapped, so that scripts can search them."""
    console = Console()
    for line in lines:
        console.print(Text(printable(line), style=style), soft_wrap=True)


def print_unreadable(messages: Sequence[str]) -> None:
    """A line on standard error for each image that could not be read."""
    for message in messages:
        print(f"error: {printable(message)}", file=sys.stderr)


def hush_runtime() -> None:
    """Keep ONNX Runtime's own log off standard error: its failures come as exceptions, which we print in one line."""
    from ivit_onnx.runtime import load_runtime

    load_runtime().set_default_logger_severity(4)


def megabytes(size: int) -> str:
    """A size in bytes for people: 1000 bytes to the kilobyte."""
    return f"{size / 1e6:.2f} MB" if size >= 10**5 else f"{size / 1e3:.1f} kB"
