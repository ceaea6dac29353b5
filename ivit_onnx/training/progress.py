"""The progress bar of a training, on standard error, or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

__all__ = ["Bar", "bar"]


class Bar:
    """Shows nothing; the base of what does."""

    def begin(self, total: int, done: int) -> None:
        """Start with `done` of `total` steps."""

    def report(self, step: int, values: Mapping[str, float]) -> None:
        """Show the step and the values."""


class _RichBar(Bar):
    def __init__(self, progress: Any) -> None:
        self._progress = progress

    def begin(self, total: int, done: int) -> None:
        self._task = self._progress.add_task("training", total=total, completed=done, values="")

    def report(self, step: int, values: Mapping[str, float]) -> None:
        shown = [f"loss {values['loss']:.4f}", f"{values['images_per_second']:.0f} images/s"]
        if "val_accuracy" in values:
            self._progress.console.print(
                f"step {step}: loss {values['loss']:.4f}, accuracy {values['val_accuracy']:.2%}", highlight=False
            )
        self._progress.update(self._task, completed=step, values=", ".join(shown))


@contextmanager
def bar(show: bool) -> Iterator[Bar]:
    """A bar with time, loss and speed, if `show`."""
    if not show:
        yield Bar()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[values]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield _RichBar(progress)
