"""What the fields of a record of options may be, read from their types."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

__all__ = ["choices_of", "literals"]


def literals(hint: Any) -> tuple[object, ...]:
    """The values of the Literal in a type, also in `Literal[...] | None`; none where it has no Literal."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        return tuple(value for part in get_args(hint) for value in literals(part))
    return ()


@cache
def choices_of(record: type) -> Mapping[str, tuple[object, ...]]:
    """The values of each field of a record that is a choice, None apart."""
    found = {name: literals(hint) for name, hint in get_type_hints(record).items()}
    return {name: values for name, values in found.items() if values}
