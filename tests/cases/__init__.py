"""Valid calls of every operator, a file an operator: the one source of inputs for body, twin and kernel tests.

A module of this folder has `CALLS`, how random calls of its operators are drawn, and where tiles of kernels matter
`shaped`, calls of given shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from cases.case import Arguments, Case
from drawing import Draw
from ivit_onnx.discovery import modules
from ivit_onnx.opset import OPERATORS, Role

__all__ = ["Case", "activations", "odd_cases", "random_case", "random_cases"]

_MODULES = list(modules(__name__, __path__))

#: How the call of each operator is drawn.
CALLS: dict[str, Callable[[Draw, str], Arguments]] = {
    operator: call for module in _MODULES for operator, call in getattr(module, "CALLS", {}).items()
}


def activations(operator: str) -> set[str]:
    """The inputs of an operator that change with every run."""
    return {tensor.name for tensor in OPERATORS[operator].inputs if tensor.role is Role.ACTIVATION}


def random_case(operator: str, rng: np.random.Generator, *, extreme: bool = False, size: int = 1) -> Case:
    """A valid call of `operator` with small random dimensions (odd sizes included), scaled by `size`."""
    if operator not in CALLS:
        raise KeyError(f"no random case is known for operator {operator}; add one to a file in tests/cases/")
    inputs, attributes = CALLS[operator](Draw(rng, extreme, size), operator)
    return Case(operator, inputs, attributes)


def random_cases(rng: np.random.Generator, count: int) -> Iterator[Case]:
    """`count` normal and as many extreme calls of every operator."""
    for operator in OPERATORS:
        for i in range(2 * count):
            yield random_case(operator, rng, extreme=i % 2 == 1, size=3)


def odd_cases(rng: np.random.Generator) -> Iterator[Case]:
    """Calls at shapes that are no multiples of tiles, and at the sizes of models."""
    for module in _MODULES:
        if hasattr(module, "shaped"):
            yield from module.shaped(rng)
