"""Writes the tables of docs/models.md from the code that reads checkpoints.

    python -m ivit_onnx.checkpoints.document            writes docs/models.md
    python -m ivit_onnx.checkpoints.document --check    exits 1 if the file is not what would be written

Each table stands between two marks of the page; what is between them is replaced.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from ivit_onnx.architectures import KNOWN, UNSUPPORTED
from ivit_onnx.checkpoints.facts import FIELDS
from ivit_onnx.checkpoints.layouts import LAYOUTS
from ivit_onnx.checkpoints.layouts.refused import REFUSED

__all__ = ["main", "render"]

_END = "<!-- end of table -->"


def _mark(name: str) -> str:
    return f"<!-- {name}: written by python -m ivit_onnx.checkpoints.document -->"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def _layouts() -> str:
    rows = [
        [layout.title, f"`{layout.anchor}`".replace("\\", ""), ", ".join(f"`{kind}`" for kind in layout.model_types)]
        for layout in LAYOUTS
    ]
    return _table(["layout", "recognised by the tensor", "`model_type` in config.json"], rows)


def _facts() -> str:
    rows = [[f"`{name}`", words, f"`{option}`" if option else ""] for name, (words, option) in FIELDS.items()]
    return _table(["fact", "what it is", "option that settles it"], rows)


def _refused() -> str:
    by_name = dict.fromkeys((refused.title, refused.why) for refused in REFUSED)
    return _table(["network", "why, or what to do"], by_name)


def _features() -> str:
    names = "\n".join(f"* {feature}" for feature in dict.fromkeys(UNSUPPORTED.values()))
    return f"{names}"


def _known() -> str:
    families: dict[str, list[str]] = {}
    for name, arch in KNOWN.items():
        families.setdefault(arch.family, []).append(f"`{name}`")
    return "\n\n".join(
        f"{len(names)} of the family {family}: {', '.join(names)}." for family, names in families.items()
    )


_TABLES = {
    "layouts": _layouts,
    "facts": _facts,
    "refused networks": _refused,
    "refused features": _features,
    "known names": _known,
}


def render(page: str) -> str:
    """The page with each table made anew. Raises ValueError when it lacks the marks of one."""
    for name, table in _TABLES.items():
        head, begin, rest = page.partition(_mark(name))
        _, end, tail = rest.partition(_END)
        if not begin or not end:
            raise ValueError(f"the page lacks the marks {_mark(name)} and {_END}")
        page = f"{head}{begin}\n\n{table()}\n\n{end}{tail}"
    return page


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the page. Returns 1 when `--check` finds it out of date."""
    parser = argparse.ArgumentParser(description="Writes what is read and refused into the documentation.")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/models.md"))
    parser.add_argument("--check", action="store_true", help="only say whether the page is current")
    options = parser.parse_args(arguments)
    old = options.output.read_text(encoding="utf-8")
    new = render(old)
    if options.check:
        return int(old != new)
    options.output.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
