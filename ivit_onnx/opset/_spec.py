"""How an operator describes itself: the records from which kernels' checks, docs, proofs and tests are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

from onnxscript import OnnxFunction, opset21, values

from ivit_onnx.opset_version import DOMAIN, OPSET_VERSION

__all__ = [
    "DOMAIN",
    "IVIT",
    "OPSET_VERSION",
    "STANDARD_OPSET_VERSION",
    "Attribute",
    "Group",
    "Limit",
    "Operator",
    "Role",
    "Tensor",
    "activation",
    "op",
]

STANDARD_OPSET_VERSION = 21

#: Standard operators. onnxscript declares their type constraints in a form that no Python type of a value satisfies.
op: Any = opset21

#: The onnxscript handle of the domain; every function below registers itself here.
IVIT = values.Opset(DOMAIN, OPSET_VERSION)


class Role(Enum):
    """What an input is to a model."""

    #: Changes with every run.
    ACTIVATION = "activation"
    #: A constant of the model; the GPU and the execution provider insist on that.
    PARAMETER = "parameter"
    #: A parameter that kernels keep in a layout of their own: nobody reads the model's copy afterwards.
    PACKED = "packed parameter"


@dataclass(frozen=True)
class Tensor:
    """One input or output: name, ONNX element type, shape (see `_shapes`) and meaning.

    `values` are the least and the largest value that kernels take, both included, where the type has more.
    """

    name: str
    dtype: str
    shape: str
    doc: str
    role: Role = Role.PARAMETER
    values: tuple[int, int] | None = None


def activation(name: str, dtype: str, shape: str, doc: str) -> Tensor:
    """An input that changes with every run."""
    return Tensor(name, dtype, shape, doc, Role.ACTIVATION)


@dataclass(frozen=True)
class Group:
    """Inputs that belong together. `kind` is Scale, Affine or Linear: in C++, the type of their positions is
    ScaleInputs, AffineInputs or LinearInputs, which has a member for each of `members`, in the same order."""

    kind: str
    name: str
    members: tuple[Tensor | Group, ...]


@dataclass(frozen=True)
class Attribute:
    """One required integer attribute with the inclusive range that kernels enforce.

    `symbol` stands for it in shapes; without one, its name does. It must divide the dimensions `divides`, and be less
    than the attribute `below`.
    """

    name: str
    minimum: int
    maximum: int
    doc: str
    allowed: tuple[int, ...] = ()
    symbol: str = ""
    divides: tuple[str, ...] = ()
    below: str = ""


@dataclass(frozen=True)
class Limit:
    """The inclusive range of a dimension, or of another form (see `_shapes`); `doc` says what it counts."""

    form: str
    minimum: int
    maximum: int
    doc: str

    def __str__(self) -> str:
        return f"{self.form} ({self.doc})"


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
    signature: tuple[Tensor | Group, ...]
    outputs: tuple[Tensor, ...]
    attributes: tuple[Attribute, ...] = ()
    limits: tuple[Limit, ...] = ()
    composite: bool = False

    @property
    def name(self) -> str:
        return self.function.name

    @cached_property
    def inputs(self) -> tuple[Tensor, ...]:
        """The inputs in order, those inside groups too."""
        return tuple(_tensors(self.signature))

    def groups(self, kind: str) -> list[tuple[Tensor, ...]]:
        """The inputs of each group of a kind."""
        found = [member for member in self.signature if isinstance(member, Group) and member.kind == kind]
        return [tuple(_tensors(group.members)) for group in found]


def _tensors(members: tuple[Tensor | Group, ...]) -> Iterator[Tensor]:
    for member in members:
        if isinstance(member, Group):
            yield from _tensors(member.members)
        else:
            yield member
