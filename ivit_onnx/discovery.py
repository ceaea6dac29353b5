"""Modules that are found by standing in a folder, so that no list of them has to be kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

__all__ = ["modules"]


def modules(package: str, folders: Iterable[str]) -> Iterator[ModuleType]:
    """The modules of a package by name, imported; `folders` is its `__path__`. Packages inside of it are left out."""
    for name in sorted({found.name for found in iter_modules(folders) if not found.ispkg}):
        yield import_module(f"{package}.{name}")
