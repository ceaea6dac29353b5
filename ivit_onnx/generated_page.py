"""Pages with tables that are made from the code, each between two marks of the page."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["GeneratedPage", "table"]

_END = "<!-- end of table -->"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


@dataclass(frozen=True)
class GeneratedPage:
    """A page, the module that writes its tables, and each table by the name in its mark."""

    path: str
    module: str
    tables: Mapping[str, Callable[[], str]]

    def render(self, page: str) -> str:
        """The page with each table made anew. Raises ValueError when it lacks the marks of one."""
        for name, made in self.tables.items():
            mark = f"<!-- {name}: written by python -m {self.module} -->"
            head, begin, rest = page.partition(mark)
            _, end, tail = rest.partition(_END)
            if not begin or not end:
                raise ValueError(f"the page lacks the marks {mark} and {_END}")
            page = f"{head}{begin}\n\n{made()}\n\n{end}{tail}"
        return page

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Write or check the page. Returns 1 when `--check` finds it out of date."""
        parser = argparse.ArgumentParser(prog=f"python -m {self.module}", description=f"Writes tables of {self.path}.")
        parser.add_argument("-o", "--output", type=Path, default=Path(self.path))
        parser.add_argument("--check", action="store_true", help="only say whether the page is current")
        options = parser.parse_args(arguments)
        old = options.output.read_text(encoding="utf-8")
        new = self.render(old)
        if options.check:
            return int(old != new)
        options.output.write_text(new, encoding="utf-8")
        return 0
