"""Files with the names of classes in the forms that people have: lines, CSV, JSON of Hugging Face or Keras."""

from __future__ import annotations

import ast
import csv
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ivit_onnx.budgets import LITERAL_BYTES
from ivit_onnx.errors import IvitError
from ivit_onnx.files import parse_json, read_text

__all__ = ["read_class_names"]

#: A synset of WordNet and the names of the class, as in `LOC_synset_mapping.txt`.
_SYNSET = re.compile(r"(n\d{8})[\s,:]+(\S.*)")
_NUMBERED = re.compile(r"(\d+)\s*[\s,:]\s*(\S.*)")


def read_class_names(path: str | os.PathLike[str], classes: int | None = None) -> tuple[list[list[str]], str | None]:
    """The names of every class in order, for each at least one, and a note where the encoding had to be assumed.

    The last name of a class is the one for people; before it come a number or a synset, where the file has them. Forms:

    * text: one class per line; `n01440764 tench, Tinca tinca`; or with its number, `0 tench` or `0: tench`, in any
      order;
    * CSV or TSV by the suffix: one class per row, or with its number in the first or last column; with or without
      header;
    * JSON, or the same written in Python: a list, or an object `{"0": "tench"}` or `{"tench": 0}`, also below the key
      `id2label`; a class may have a list of names.

    Blank lines are left out, unless `classes`, the expected number, needs them.

    Raises:
        IvitError: the file is unreadable, has no names, has numbers with gaps, or another number of classes than
            `classes`.
    """
    path = Path(path)
    try:
        text, note = read_text(path)
        rows = _rows(text, path.suffix.lower(), classes)
    except (OSError, ValueError, csv.Error) as error:
        raise IvitError(f"cannot read labels {path}: {getattr(error, 'strerror', None) or error}") from None
    if classes is not None and len(rows) != classes:
        raise IvitError(f"{path} has {len(rows)} labels, the model {classes} classes")
    return rows, note


def _rows(text: str, suffix: str, classes: int | None) -> list[list[str]]:
    if suffix == ".json":
        return _from_object(parse_json(text))
    if suffix in (".csv", ".tsv"):
        return _from_table(text, suffix, classes)
    if text.lstrip().startswith("{"):
        return _from_object(_literal(text))
    lines = [line.strip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    filled = [line for line in lines if line]
    if not filled:
        raise ValueError("expected the name of one class per line, found none")
    if len(lines) == classes:
        filled = lines
    numbered = [_NUMBERED.fullmatch(line) for line in filled]
    pairs = [(int(match[1]), [match[1], match[2]]) for match in numbered if match is not None]
    if len(pairs) == len(filled) and sorted(number for number, _ in pairs) == list(range(len(pairs))):
        return [names for _, names in sorted(pairs)]
    synsets = [_SYNSET.fullmatch(line) for line in filled]
    if all(synsets):
        return [[match[1], match[2]] for match in synsets if match is not None]
    return [[line] for line in filled]


def _literal(text: str) -> Any:
    """An object in JSON, or a dictionary in Python, whose keys are numbers."""
    try:
        return parse_json(text)
    except ValueError:
        pass
    LITERAL_BYTES.check(len(text))
    try:
        return ast.literal_eval(text.strip())
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ValueError("expected an object in JSON or a dictionary in Python after {") from None


def _from_object(content: Any) -> list[list[str]]:
    if isinstance(content, dict) and isinstance(content.get("id2label"), dict):
        content = content["id2label"]
    if isinstance(content, list):
        return [_names(entry) for entry in content]
    if not isinstance(content, dict):
        raise ValueError("expected a list of labels or an object by class number")
    if content and all(isinstance(value, int) and not isinstance(value, bool) for value in content.values()):
        return _by_number((number, [str(name)]) for name, number in content.items())
    return _by_number((_number(key), _names(value)) for key, value in content.items())


def _names(entry: Any) -> list[str]:
    names = entry if isinstance(entry, list | tuple) else [entry]
    if not names or not all(isinstance(name, str | int | float) for name in names):
        raise ValueError(f"expected the name of a class, or a list of its names, found {entry!r}")
    return [str(name) for name in names]


def _number(key: Any) -> int:
    if not str(key).isdecimal():
        raise ValueError(f"expected an object by class number, found the key {key!r}")
    return int(key)


def _by_number(pairs: Iterable[tuple[int, list[str]]]) -> list[list[str]]:
    found = sorted(pairs, key=lambda pair: pair[0])
    numbers = [number for number, _ in found]
    if numbers != list(range(len(numbers))):
        wrong = next(place for place, number in enumerate(numbers) if place != number)
        raise ValueError(
            f"expected {len(numbers)} labels by class number, 0 to {len(numbers) - 1}, found none for class {wrong}"
            if numbers[wrong] > wrong
            else f"expected one label for each class number from 0, found two for class {numbers[wrong]}"
        )
    return [names for _, names in found]


def _from_table(text: str, suffix: str, classes: int | None) -> list[list[str]]:
    first = text.lstrip().split("\n", 1)[0]
    delimiter = "\t" if suffix == ".tsv" else max(",;\t", key=first.count)
    rows = [[cell.strip() for cell in row if cell.strip()] for row in csv.reader(text.split("\n"), delimiter=delimiter)]
    rows = [row for row in rows if row]
    if not rows:
        raise ValueError("expected the name of one class per row, found none")
    places: tuple[Callable[[list[str]], str], ...] = (lambda row: row[0], lambda row: row[-1])
    for place, number in enumerate(places):
        head = 0 if number(rows[0]).isdecimal() else 1
        table = rows[head:]
        if table and all(len(row) > 1 and number(row).isdecimal() for row in table):
            return _by_number((int(number(row)), row[1:] if place == 0 else row[:-1]) for row in table)
    # Without numbers, only the count tells a header.
    return rows[1:] if classes is not None and len(rows) == classes + 1 else rows
