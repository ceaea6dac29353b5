"""Exports randomly initialised full-size models of all kinds and proves that they cannot overflow.

    python benchmarks/proofs.py [--models NAME ...] [--images N] [--output results.json]

Each model is exported three times: as it is, with `--flat`, and with `--nonlinear ivit`. `ivit-verify --prove` makes
the proof of each file; its time is that of the whole command.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from full_size import MODELS, measured
from rich.console import Console
from rich.table import Table

from ivit_onnx.architectures import known_architecture
from ivit_onnx.bench.network import generated_images

KINDS: dict[str, list[str]] = {"default": [], "flat": ["--flat"], "ivit": ["--nonlinear", "ivit"]}


def spare_bits(nodes: list[dict[str, Any]], dtype: str) -> int:
    """The bits that the largest intermediate of a type leaves free."""
    return min(node["bits"] for node in nodes if node["dtype"] == dtype)


def prove(name: str, images: int, folder: Path) -> list[dict[str, Any]]:
    """One row for each kind of file."""
    import timm
    import torch

    torch.manual_seed(0)
    network = timm.create_model(name)
    checkpoint, model, data = folder / f"{name}.pt", folder / f"{name}.onnx", folder / f"{name}.npz"
    torch.save(network.state_dict(), checkpoint)
    np.savez(data, images=generated_images(images, 3, known_architecture(name).image_size))
    del network
    rows = []
    for kind, options in KINDS.items():
        export = ["ivit-export", str(checkpoint), "-o", str(model), "--arch", name, "--force", "--json", *options]
        export += ["--calib", str(data), "--calib-images", str(images), "--calib-preset", "fast"]
        code, text, _, _ = measured(export)
        if code:
            raise SystemExit(f"{name}: ivit-export failed with {code}")
        code, text, seconds, _ = measured(["ivit-verify", "--prove", str(model), "--json"])
        result = json.loads(text)
        rows.append(
            {
                "model": name,
                "kind": kind,
                "proven": code == 0 and result["passed"],
                "checks": result["checks"],
                "values": result["values"],
                "spare_bits_int32": spare_bits(result["nodes"], "int32"),
                "spare_bits_int64": spare_bits(result["nodes"], "int64"),
                "seconds": round(seconds, 1),
            }
        )
    for path in (checkpoint, model, data):
        path.unlink()
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--images", type=int, default=2, help="calibration images, of which little depends")
    parser.add_argument("--output", type=Path, help="also write the results as JSON")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models:
            rows += prove(name, arguments.images, Path(folder))
            print(f"{name}: {sum(row['proven'] for row in rows)} of {len(rows)} files proven", flush=True)
            if arguments.output:
                arguments.output.write_text(json.dumps(rows, indent=1) + "\n")
    table = Table(*(key.replace("_", " ") for key in rows[0]))
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)
    return int(not all(row["proven"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
