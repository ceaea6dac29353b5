"""Messages of protocol buffers in lists: copied, exchanged, shuffled."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

Rng = np.random.Generator


def copied(message: Any) -> Any:
    new = type(message)()
    new.CopyFrom(message)
    return new


def replace_all(listed: Any, items: Iterable[Any]) -> None:
    items = [copied(item) for item in items]
    del listed[:]
    listed.extend(items)


def shuffle(listed: Any, rng: Rng) -> None:
    replace_all(listed, [listed[int(index)] for index in rng.permutation(len(listed))])
