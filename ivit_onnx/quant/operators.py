"""The operator set in PyTorch: the same integers as the numpy reference, on any device, in int64.

A module of this folder that has `IMPLEMENTATIONS` says how PyTorch computes an operator in its own way. All other
operators call those that they are made of, by the same code as in numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

from ivit_onnx import quant
from ivit_onnx.discovery import modules
from ivit_onnx.opset import OPERATORS, Computation, Operator

__all__ = ["Implementations", "implementation", "operator"]

#: Functions by the name of the operator, or by another computation. They take the operator's inputs in order and
#: its attributes by keyword, behind implementations of what it uses, and return int64.
Implementations = Mapping[str | Computation, Callable[..., Any]]


@cache
def operator(name: str) -> Callable[..., Any]:
    """The implementation of an operator: takes its inputs in order and its attributes by keyword, returns int64, a
    tuple where the operator has several outputs."""
    return implementation(OPERATORS[name])


def implementation(of: Computation) -> Callable[..., Any]:
    """`operator`, of any computation.

    Raises:
        NotImplementedError: no module implements it, or something that it uses.
    """
    own = _own().get(_key(of))
    if own is None and not of.uses:
        name = of.name if isinstance(of, Operator) else getattr(of.compute, "__name__", "a step")
        raise NotImplementedError(
            f"{name}: expected an implementation in PyTorch, found none; add it to IMPLEMENTATIONS of a module in "
            "ivit_onnx/quant/"
        )
    return partial(own or of.compute, *map(implementation, of.uses))


def _key(of: Computation) -> str | Computation:
    return of.name if isinstance(of, Operator) else of


@cache
def _own() -> dict[str | Computation, Callable[..., Any]]:
    """All `IMPLEMENTATIONS`. Modules need this one: they are looked for when the first operator is."""
    found: dict[str | Computation, Callable[..., Any]] = {}
    for module in modules(quant.__name__, quant.__path__):
        own: Implementations = getattr(module, "IMPLEMENTATIONS", {})
        for key in own.keys() & found.keys():
            raise ValueError(f"{module.__name__}: expected {key} to be implemented once, found it in two modules")
        found |= own
    return found
