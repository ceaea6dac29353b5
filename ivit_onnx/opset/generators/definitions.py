"""Adds to tests/data/definitions.json what operators that are new in this version of the domain mean.

    python -m ivit_onnx.opset.generators.definitions            writes the file
    python -m ivit_onnx.opset.generators.definitions --check    exits 1 if the file is not what would be written

What stands there is never changed: an operator that computes something else takes another name (docs/trust.md).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ivit_onnx.function_bodies import definition_digest
from ivit_onnx.opset import OPERATORS, OPSET_VERSION
from ivit_onnx.opset.generators.generate import generate

__all__ = ["main", "render"]


_FILE = "tests/data/definitions.json"


def render() -> str:
    """The text of the file: by version of the domain, its new names, and hashes of what they compute."""
    versions: dict[str, dict[str, str]] = json.loads(Path(_FILE).read_text(encoding="utf-8"))
    known = {name for names in versions.values() for name in names}
    new = {name: definition_digest(name) for name in OPERATORS if name not in known}
    if new:
        versions[str(OPSET_VERSION)] = versions.get(str(OPSET_VERSION), {}) | new
    return json.dumps(versions, indent=2) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the file, or with --check compares it; returns the exit status."""
    return generate(
        "ivit_onnx.opset.generators.definitions",
        "Adds definitions of operators.",
        _FILE,
        render,
        arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
