"""The state of an evaluation in a file, from which it goes on after it was stopped."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from ivit_onnx.budgets import TEXT_BYTES
from ivit_onnx.errors import IvitError
from ivit_onnx.evaluation.counts import Counts
from ivit_onnx.files import atomic_write, check_output, parse_json
from ivit_onnx.inputs import open_input, read_input

__all__ = ["State", "file_hash"]

_FORMAT = "ivit-eval 2"
#: Seconds between two writes: what is lost when the process is killed.
_INTERVAL = 1.0

PathLike = str | os.PathLike[str]


class State:
    """Counts that are kept in a file, if there is a path, together with what they are counts of.

    `unreadable` are the indices of images that were passed over, as they could not be read; they come before the first
    image that was not seen, so that their number and that of the counted ones tell which it is. `identity` names model
    and choice of images by what decides the result; `fingerprint` identifies the data, given the indices of images
    whose contents play no part, as they were not read. A file with another one is refused.
    """

    def __init__(
        self, path: PathLike | None, identity: dict[str, Any], fingerprint: Callable[[Collection[int]], str]
    ) -> None:
        self._path, self._identity, self._written = None if path is None else Path(path), identity, time.monotonic()
        self._fingerprint = fingerprint
        self._known: tuple[tuple[int, ...], str] = (-1,), ""
        self.counts = Counts()
        self.unreadable: list[int] = []
        if self._path is None:
            return
        check_output(self._path, force=True)
        if self._path.exists():
            self.counts, self.unreadable = self._read(self._path)

    def _read(self, path: Path) -> tuple[Counts, list[int]]:
        try:
            content = parse_json(read_input(path, TEXT_BYTES))
            if content["format"] != _FORMAT:
                raise ValueError("another format")
            identity, counts = content["identity"], Counts.from_json(content["counts"])
            unreadable = content.get("unreadable", [])
            if not all(isinstance(index, int) and not isinstance(index, bool) for index in unreadable):
                raise ValueError(f"unreadable is {unreadable!r}")
            different = [name for name, value in self._identified(unreadable).items() if identity[name] != value]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise IvitError(
                f"{path} is not the state of an evaluation ({type(error).__name__}: {error}); name another file"
            ) from None
        if different:
            raise IvitError(
                f"{path} is the state of another evaluation: expected the same {' and '.join(different)}; "
                "remove it or name another file"
            )
        return counts, unreadable

    def _identified(self, unreadable: Sequence[int]) -> dict[str, Any]:
        """What the counts are of; the data, which may be many files, are looked at where the images not read differ."""
        if self._known[0] != tuple(unreadable):
            self._known = tuple(unreadable), self._fingerprint(unreadable)
        return {"data": self._known[1]} | self._identity

    def save(self, *, now: bool = False) -> None:
        """Write the counts, whole or not at all; unless `now`, only when the last time is a second ago."""
        if self._path is None or (not now and time.monotonic() - self._written < _INTERVAL):
            return
        counts = {"counts": self.counts.to_json(), "unreadable": self.unreadable}
        content = {"format": _FORMAT, "identity": self._identified(self.unreadable)} | counts
        with atomic_write(self._path, force=True) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        self._written = time.monotonic()


def file_hash(model: PathLike) -> str:
    """SHA-256 of a model's file, and of the files that it names for its weights, whatever they are called."""
    from ivit_onnx.external_data import external_files
    from ivit_onnx.model_files import load_graph

    content, folder = hashlib.sha256(), Path(model).parent
    for path in (Path(model), *external_files(load_graph(model), folder)):
        with open_input(path) as file:
            content.update(hashlib.file_digest(file, "sha256").digest())
    return content.hexdigest()
