"""Writes the tables of docs/performance.md that say what the baselines are.

python -m ivit_onnx.bench.baselines_page [--check] [-o PAGE]
"""

from __future__ import annotations

import sys
from functools import partial

from ivit_onnx.bench.baselines import BASELINES
from ivit_onnx.generated_page import GeneratedPage, table

__all__ = ["PAGE"]


def _baselines(device: str) -> str:
    rows = [(f"`{baseline.name}`", baseline.about, f"`{baseline.hint}`") for baseline in BASELINES[device]]
    return table(["name", "what it is", "comes with"], rows)


PAGE = GeneratedPage(
    "docs/performance.md",
    "ivit_onnx.bench.baselines_page",
    {f"baselines on {device}": partial(_baselines, device) for device in BASELINES},
)

if __name__ == "__main__":
    sys.exit(PAGE.main())
