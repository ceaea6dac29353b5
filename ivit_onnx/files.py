"""Output files that appear whole or not at all, and text that anybody may have written with any editor."""

from __future__ import annotations

import codecs
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ivit_onnx.budgets import TEXT_BYTES, check_depth
from ivit_onnx.errors import ExportError
from ivit_onnx.inputs import read_input

__all__ = ["atomic_write", "check_output", "parse_json", "read_text"]

#: Of integers in JSON: those of 64 bits, with their sign. Others do not fit floating point or tensors.
_MOST_DIGITS = 20


def check_output(path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Raise ExportError unless a file can be written at `path`; to be called before any long work.

    The folder must exist and accept new files. An existing regular file is allowed only with `force`; a folder or a
    device never is.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise ExportError(f"cannot write {path}: it is a folder; pass the name of a file")
        if os.path.lexists(path):
            if not path.is_symlink() and not path.is_file():
                raise ExportError(f"cannot write {path}: it exists and is not a regular file")
            if not force:
                raise ExportError(f"{path} exists; pass --force to replace it")
        if not path.parent.is_dir():
            raise ExportError(f"cannot write {path}: the folder {path.parent} does not exist")
        _temporary_folder(path).rmdir()
    except OSError as error:
        raise _cannot_write(path, error) from None
    return path


@contextmanager
def atomic_write(path: str | os.PathLike[str], *, force: bool = False) -> Iterator[Path]:
    """Yield a path to write to; what was written moves to `path` when the block ends, and is removed when it raises.

    The yielded path has the final file name inside a fresh folder beside the destination, so a model may write
    companions next to itself (`model.onnx.data`) and refer to them by their final names. Companions are moved first
    and the main file last; when there are any, the old main file is removed before, so that a model never stands
    beside the data of another one. With `force`, the stale `.data` companion of a replaced file goes with it.

    Raises ExportError when the destination exists and `force` is not given, or when it cannot be written.
    """
    path = check_output(path, force=force)
    try:
        folder = _temporary_folder(path)
    except OSError as error:
        raise _cannot_write(path, error) from None
    try:
        yield folder / path.name
        _publish(folder, path, force=force)
    except OSError as error:  # the disk is full, for example
        raise _cannot_write(path, error) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _publish(folder: Path, path: Path, *, force: bool) -> None:
    """Move the files of `folder` beside `path`, the main file last."""
    written = folder / path.name
    if not written.is_file():
        raise ExportError(f"cannot write {path}: nothing was written")
    companions = sorted(file for file in folder.iterdir() if file != written)
    for target in [path, *(path.with_name(companion.name) for companion in companions)]:
        check_output(target, force=force)
    stale = path.with_name(path.name + ".data")
    if companions or (force and path.exists() and stale.is_file()):
        path.unlink(missing_ok=True)
        stale.unlink(missing_ok=True)
    for companion in companions:
        companion.replace(path.with_name(companion.name))
    written.replace(path)


def _temporary_folder(path: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f".{path.name[:100]}.", suffix=".tmp", dir=path.parent))


def _cannot_write(path: Path, error: Exception) -> ExportError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ExportError(f"cannot write {path}: {reason}")


def parse_json(text: str | bytes, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """What the text says. Raises ValueError for text that is no JSON, too long, or nested too deeply."""
    TEXT_BYTES.check(len(text), "JSON")
    try:
        found = json.loads(text, object_pairs_hook=pairs, parse_int=_integer)
        check_depth(found, "JSON")
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return found


def _integer(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"an integer of {len(text)} digits")
    return int(text)


def read_text(path: str | os.PathLike[str]) -> tuple[str, str | None]:
    """The text of a file with lines that end in a line feed, and a note where its encoding had to be assumed.

    UTF-8, with or without a byte order mark, or UTF-16 with one. Other bytes are taken as Windows-1252, of which
    Latin-1's letters are a part. Raises OSError when the file cannot be read, ValueError when it is too long or no
    text.
    """
    content, note = read_input(path, TEXT_BYTES), None
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = content.decode("utf-16")
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("cp1252")
            note = f"{path} is not UTF-8: read as Windows-1252 (Latin-1)"
    if "\0" in text:
        raise ValueError("expected text in UTF-8, UTF-16 with a byte order mark, or Latin-1, found zero bytes")
    return text.replace("\r\n", "\n").replace("\r", "\n"), note
