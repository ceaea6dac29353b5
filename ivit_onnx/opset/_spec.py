"""How an operator describes itself: the records from which docs, checks and tests are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from onnxscript import OnnxFunction, opset21, values

from ivit_onnx.opset_version import DOMAIN, OPSET_VERSION

__all__ = ["DOMAIN", "IVIT", "OPSET_VERSION", "STANDARD_OPSET_VERSION", "Attribute", "Operator", "Tensor", "op"]

STANDARD_OPSET_VERSION = 21

#: Standard operators. onnxscript declares their type constraints in a form that no Python type of a value satisfies.
op: Any = opset21

#: The onnxscript handle of the domain; every function below registers itself here.
IVIT = values.Opset(DOMAIN, OPSET_VERSION)


@dataclass(frozen=True)
class Tensor:
    """One input or output: name, ONNX element type, symbolic shape and meaning."""

    name: str
    dtype: str
    shape: str
    doc: str


@dataclass(frozen=True)
class Attribute:
    """One required integer attribute with the inclusive range that kernels enforce."""

    name: str
    minimum: int
    maximum: int
    doc: str
    allowed: tuple[int, ...] = ()


@dataclass(frozen=True)
class Operator:
    """An operator of the domain: its ONNX function, its numpy reference and its contract.

    `reference` takes numpy arrays in the order of `inputs` and the attributes by keyword, and returns the output array,
    or a tuple of them where there are several. Both are exact: they agree bit for bit on every valid input.
    """

    function: OnnxFunction[..., Any]
    reference: Callable[..., Any]
    summary: str
    formula: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    attributes: tuple[Attribute, ...] = ()
    composite: bool = False

    @property
    def name(self) -> str:
        return self.function.name
