"""Exports and verifies randomly initialised full-size models through the installed commands, and measures both.

    python benchmarks/full_size.py [--models NAME ...] [--images N] [--count N] [--output results.json]

Weights are random and images are generated: this shows shapes, time, memory, size and exactness, never accuracy.
Peak memory is the largest resident set of the child process, as the kernel accounts it (wait4).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ivit_onnx.architectures import known_architecture
from ivit_onnx.bench.network import generated_images

MODELS = (
    "vit_tiny_patch16_224",
    "vit_small_patch16_224",
    "vit_base_patch16_224",
    "vit_large_patch16_224",
    "vit_base_patch32_224",
    "vit_base_patch8_224",
    "vit_base_patch16_384",
    "deit_tiny_patch16_224",
    "deit_small_patch16_224",
    "deit_base_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "deit_small_distilled_patch16_224",
    "deit_base_distilled_patch16_224",
    "deit3_small_patch16_224",
    "deit3_base_patch16_224",
    "vit_small_patch14_dinov2",
    "vit_base_patch14_dinov2",
    "vit_small_patch14_reg4_dinov2",
    "vit_base_patch14_reg4_dinov2",
    "vit_base_patch16_clip_224",
    "vit_base_patch16_clip_quickgelu_224",
    "vit_medium_patch16_gap_256",
    "vit_medium_patch16_reg4_gap_256",
    "swin_tiny_patch4_window7_224",
    "swin_small_patch4_window7_224",
    "swin_base_patch4_window7_224",
)


def measured(command: list[str]) -> tuple[int, str, float, float]:
    """Exit status, standard output, seconds and peak memory in MiB of a command."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        output.seek(0)
        return process.returncode, output.read(), seconds, usage.ru_maxrss / 1024


def check(name: str, images: int, count: int | None, folder: Path) -> dict[str, Any]:
    """Create, export and verify one model, with `count` images of each kind."""
    import timm
    import torch

    torch.manual_seed(0)
    network = timm.create_model(name)
    checkpoint, model, data = folder / f"{name}.pt", folder / f"{name}.onnx", folder / f"{name}.npz"
    torch.save(network.state_dict(), checkpoint)
    np.savez(data, images=generated_images(images, 3, network.default_cfg["input_size"][-2:]))
    tokens = known_architecture(name).tokens
    del network
    export = ["ivit-export", str(checkpoint), "-o", str(model), "--arch", name, "--calib", str(data), "--json"]
    code, text, seconds, memory = measured([*export, "--calib-images", str(images)])
    if code:
        raise SystemExit(f"{name}: ivit-export failed with {code}")
    report = json.loads(text)
    # Function bodies take seconds per image, minutes with a thousand tokens.
    if count is None:
        count = 4 if tokens < 500 else 1
    verify = ["ivit-verify", str(model), "--against", str(checkpoint), "--images", str(data), "--json"]
    verify += ["--count", str(count)]
    code, text, verify_seconds, verify_memory = measured(verify)
    result = json.loads(text)
    for path in (checkpoint, model, data):
        path.unlink()
    return {
        "model": name,
        "parameters": report["parameters"],
        "export_seconds": round(seconds, 1),
        "export_peak_mib": round(memory),
        "size_ratio": round(report["file_bytes"] / report["float32_bytes"], 4),
        "verify_seconds": round(verify_seconds, 1),
        "verify_peak_mib": round(verify_memory),
        "verify_exit": code,
        "integer_only": result["integer_only"],
        "bit_exact": result["bit_exact"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--images", type=int, default=128, help="calibration images (default 128, that of ivit-export)")
    parser.add_argument(
        "--count", type=int, help="images of each kind for ivit-verify (default 4, or 1 for many tokens)"
    )
    parser.add_argument("--output", type=Path, help="also write the results as JSON")
    arguments = parser.parse_args()
    table = Table(
        "model", "parameters", "export s", "peak MiB", "size / float32", "verify s", "integer-only", "bit-exact"
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models:
            row = check(name, arguments.images, arguments.count, Path(folder))
            rows.append(row)
            keys = ("model", "parameters", "export_seconds", "export_peak_mib", "size_ratio", "verify_seconds")
            table.add_row(*(str(row[key]) for key in keys), str(row["integer_only"]), row["bit_exact"])
    Console().print(table)
    if arguments.output:
        machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
        arguments.output.write_text(json.dumps({"machine": machine, "results": rows}, indent=2) + "\n")
    return int(any(row["verify_exit"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
