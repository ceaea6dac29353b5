"""Measurements of a training: a CSV file and TensorBoard, without duplicates when a run is resumed."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from types import TracebackType
from typing import Any

from ivit_onnx.errors import TrainingError
from ivit_onnx.inputs import open_input, reason_of

__all__ = ["COLUMNS", "CSV", "TENSORBOARD", "Metrics"]

CSV = "metrics.csv"
TENSORBOARD = "tensorboard"
COLUMNS = ("step", "epoch", "lr", "loss", "images_per_second", "val_loss", "val_accuracy")


class Metrics:
    """Writes rows to `folder`/metrics.csv and scalars to `folder`/tensorboard. Rows after `step` are dropped first."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        kept = _rows(folder / CSV, step) if step else []
        self._file = (folder / CSV).open("w", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, COLUMNS)
        self._writer.writeheader()
        self._writer.writerows(kept)
        self._file.flush()
        self._board: Any = SummaryWriter(str(folder / TENSORBOARD), purge_step=step + 1 if step else None)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Metrics:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._board.close()

    def write(self, step: int, epoch: float, **values: float) -> None:
        """One row after `step` steps; the names of `values` are columns."""
        row = {name: f"{value:.6g}" for name, value in values.items()}
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
