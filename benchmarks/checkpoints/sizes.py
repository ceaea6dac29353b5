"""Real sizes: the export of networks as transformers saves them, beside the same weights in a file with timm's names.

    pip install transformers
    python benchmarks/checkpoints/sizes.py -o benchmarks/checkpoints/sizes.json

Weights are random, of transformers' own configurations: ViT-B/16, CLIP ViT-L/14, DINOv2-B/14 and Swin-T. Each export
is a process of its own, in interleaved rounds; the JSON has seconds and peak memory of the median, and their quotients.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ivit_onnx.checkpoints import load_checkpoint
from ivit_onnx.files import atomic_write

OPTIONS = ["--calib-preset", "fast", "--calib-images", "8", "--force"]

_EXPORT = r"""
import json, re, sys, time
from ivit_onnx.cli.export import app
started = time.perf_counter()
try:
    app(sys.argv[2:], standalone_mode=False)
finally:
    peak = int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]) / 2**20
    found = {"seconds": round(time.perf_counter() - started, 2), "gigabytes": round(peak, 3)}
    open(sys.argv[1], "w").write(json.dumps(found))
"""


def networks() -> dict[str, Callable[[], Any]]:
    """Networks of transformers by the name of the model on a hub that has this configuration."""
    import transformers as hf

    large = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    return {
        "google/vit-base-patch16-224": lambda: hf.ViTForImageClassification(hf.ViTConfig(num_labels=1000)),
        "openai/clip-vit-large-patch14": lambda: hf.CLIPVisionModelWithProjection(
            hf.CLIPVisionConfig(**large, patch_size=14, projection_dim=768)
        ),
        "facebook/dinov2-base": lambda: hf.Dinov2Model(hf.Dinov2Config(image_size=518, patch_size=14)),
        "microsoft/swin-tiny-patch4-window7-224": lambda: hf.SwinForImageClassification(hf.SwinConfig(num_labels=1000)),
    }


def measured(checkpoint: Path, arguments: list[str], folder: Path) -> dict[str, float]:
    """Seconds and peak memory of one export."""
    result = folder / "result.json"
    command = [sys.executable, "-c", _EXPORT, str(result), str(checkpoint), "-o", str(folder / "model.onnx")]
    subprocess.run([*command, *OPTIONS, *arguments], check=True, stdout=subprocess.DEVNULL)
    found: dict[str, float] = json.loads(result.read_text())
    return found


def compare(make: Callable[[], Any], rounds: int, size: str | None) -> dict[str, Any]:
    """The export of both forms of one network."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        torch.manual_seed(0)
        make().eval().save_pretrained(folder / "transformers")
        options = [] if size is None else ["--img-size", size]
        loaded = load_checkpoint(folder / "transformers")
        torch.save(loaded.state_dict, folder / "timm.pt")
        arch = loaded.arch
        said = ["--num-heads", str(arch.heads), "--act", arch.act] if arch.family == "vit" else []  # type: ignore[attr-defined]
        forms = {"transformers": (folder / "transformers", options), "timm": (folder / "timm.pt", [*options, *said])}
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in forms}
        for _ in range(rounds):
            for name, (checkpoint, arguments) in forms.items():
                runs[name].append(measured(checkpoint, arguments, folder))
    row: dict[str, Any] = {
        name: {key: statistics.median(run[key] for run in found) for key in ("seconds", "gigabytes")}
        for name, found in runs.items()
    }
    row["quotient"] = {key: round(row["transformers"][key] / row["timm"][key], 3) for key in ("seconds", "gigabytes")}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    rows: dict[str, Any] = {}
    for name, make in networks().items():
        started = time.perf_counter()
        rows[name] = compare(make, arguments.turns, "224" if "dinov2" in name else None)
        print(name, json.dumps(rows[name]), f"{time.perf_counter() - started:.0f} s", flush=True)
    with atomic_write(arguments.output, force=True) as temporary:
        temporary.write_text(json.dumps({"options": OPTIONS, "turns": arguments.turns, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
