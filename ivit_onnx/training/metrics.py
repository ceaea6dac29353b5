"""Measurements of a training: a CSV file and TensorBoard, without duplicates when a run is resumed."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from types import TracebackType
from typing import Any

from ivit_onnx.errors import TrainingError
from ivit_onnx.files import atomic_write, writing
from ivit_onnx.inputs import open_input, reason_of

__all__ = ["COLUMNS", "CSV", "TENSORBOARD", "Metrics"]

CSV = "metrics.csv"
TENSORBOARD = "tensorboard"
COLUMNS = ("step", "epoch", "lr", "loss", "images_per_second", "val_loss", "val_accuracy")


class Metrics:
    """Writes rows to `folder`/metrics.csv and scalars to `folder`/tensorboard. Rows after `step` are dropped first."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._folder, path = folder, folder / CSV
        kept = _rows(path, step) if step else []
        with atomic_write(path, force=True) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(kept)
        with writing(folder):
            self._file = path.open("a", newline="", encoding="utf-8")
            self._writer = csv.DictWriter(self._file, COLUMNS)
            self._board: Any = SummaryWriter(str(folder / TENSORBOARD), purge_step=step + 1 if step else None)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Metrics:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with writing(self._folder):
            self._file.close()
            self._board.close()

    def write(self, step: int, epoch: float, **values: float) -> None:
        """One row after `step` steps; the names of `values` are columns."""
        row = {name: f"{value:.6g}" for name, value in values.items()}
        with writing(self._folder):
            self._writer.writerow({"step": step, "epoch": f"{epoch:.4g}", **row})
            self._file.flush()
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
            self._board.flush()


def _rows(path: Path, step: int) -> list[dict[str, str]]:
    """The whole rows of up to `step`; the last one may be torn."""
    if not path.exists():
        return []
    try:
        with io.TextIOWrapper(open_input(path), newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise TrainingError(f"cannot read {path}: {reason_of(error)}; remove it to go on without") from None
    whole = [{name: row.get(name) or "" for name in COLUMNS} for row in rows]
    return [row for row in whole if row["step"].isdigit() and int(row["step"]) <= step]
