"""Writes the tables of docs/models.md from the code that reads checkpoints.

    python -m ivit_onnx.checkpoints.models_page            writes docs/models.md
    python -m ivit_onnx.checkpoints.models_page --check    exits 1 if the file is not what would be written

Each table stands between two marks of the page; what is between them is replaced.
"""

from __future__ import annotations

import re
import sys

from ivit_onnx.architectures import KNOWN, UNSUPPORTED
from ivit_onnx.checkpoints.facts import FIELDS
from ivit_onnx.checkpoints.layouts import LAYOUTS
from ivit_onnx.checkpoints.layouts.refused import REFUSED
from ivit_onnx.generated_page import GeneratedPage, table

__all__ = ["PAGE"]


def _anchor(pattern: str) -> str:
    """The name of a tensor in a pattern, without what may stand before it."""
    return re.sub(r"\(\?<!.*?\)|\(\?:(?:[^()]|\(\?:[^()]*\))*\)\?", "", pattern).replace("\\", "")


def _layouts() -> str:
    rows = [
        [layout.title, f"`{_anchor(layout.anchor)}`", ", ".join(f"`{kind}`" for kind in layout.model_types)]
        for layout in LAYOUTS
    ]
    return table(["layout", "recognised by the tensor", "`model_type` in config.json"], rows)


def _facts() -> str:
    rows = [[f"`{name}`", words, f"`{option}`" if option else ""] for name, (words, option) in FIELDS.items()]
    return table(["fact", "what it is", "option that settles it"], rows)


def _refused() -> str:
    by_name = dict.fromkeys((refused.title, refused.why) for refused in REFUSED)
    return table(["network", "why, or what to do"], by_name)


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


PAGE = GeneratedPage("docs/models.md", "ivit_onnx.checkpoints.models_page", _TABLES)

if __name__ == "__main__":
    sys.exit(PAGE.main())
