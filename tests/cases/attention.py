"""What both attentions are tried with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from cases.case import Case, with_table

__all__ = ["ALONE", "EXPONENTIALS", "also_by_table"]

#: x0 and n of a published model, of one whose distances all matter, and of two whose sums saturate.
EXPONENTIALS = ((-20, 15), (-90, 12), (-200, 23), (-1000, 23), (-3, 8))
#: One key alone has an exponential that is a power of two.
ALONE = tuple((x0, n, frac_bits) for x0, n in ((-64, 15), (-1, 1), (-(2**29), 31)) for frac_bits in (7, 8, 15))


def also_by_table(rng: np.random.Generator, cases: Iterable[Case], operator: str) -> Iterator[Case]:
    """Cases of an attention by shifts, and some of them as calls of `operator`, that by table: all of one token too."""
    for index, case in enumerate(cases):
        yield case
        if index % 3 == 0 or case.inputs["qkv"].shape[1] == 1:
            yield with_table(rng, case, operator, extreme=index % 2 == 1)
