"""The tables of CONTRIBUTING.md's recipes."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["PAGE", "ROOT", "recipe", "table"]

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def table(name: str) -> str:
    return PAGE.split(f"<!-- recipe: {name} -->\n")[1].split("<!-- end of recipe -->")[0]


def recipe(name: str) -> list[tuple[str, str]]:
    """File and text to find of each row."""
    return re.findall(r"^\| `([^`]+)` \|[^|]*\| `([^`]+)` \|$", table(name), re.MULTILINE)
