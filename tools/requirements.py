"""Prints what the extras of this project need, one per line, for those who do not install the project itself.

python tools/requirements.py export dev
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements(extras: list[str]) -> list[str]:
    """The project's own requirements and those of extras, with the extras that these name."""
    found, wanted, seen = list(PROJECT["dependencies"]), list(extras), set()
    while wanted:
        extra = wanted.pop()
        if extra in seen:
            continue
        seen.add(extra)
        for requirement in PROJECT["optional-dependencies"][extra]:
            own = re.fullmatch(rf"{re.escape(PROJECT['name'])}\[(.*)\]", requirement)
            if own:
                wanted += [name.strip() for name in own[1].split(",")]
            else:
                found.append(requirement)
    return sorted(set(found))


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1:])))
