"""How an operator describes itself: the records from which kernels' checks, docs, proofs and tests are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, partial
from typing import Any, Protocol

from onnx import FunctionProto
from onnxscript import opset21, values

from ivit_onnx.opset_version import DOMAIN, OPSET_VERSION

__all__ = [
    "DOMAIN",
    "IVIT",
    "OPSET_VERSION",
    "OUTPUT_PARTS",
    "STANDARD_OPSET_VERSION",
    "Attribute",
    "Body",
    "Computation",
    "Group",
    "Limit",
    "Operator",
    "Part",
    "Role",
    "Tensor",
    "activation",
    "op",
    "tensors",
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


class Part(Enum):
    """What a variant of an operator has that its base has not; the value says it for documentation."""

    INT16 = "int16 output"
    INT32 = "int32 output"
    TABLE = "its function by table"
    DEFERRED = "exponentials by table, divided by their sum at the end"
    TOKEN = "a scale for each token"
    PIXELS = "pixels as input"
    NORM = "a second output, the first one normalised"


#: The parts of an operator by the bits of its output; 8 are plain.
OUTPUT_PARTS = {
    8: frozenset[Part](),
    16: frozenset({Part.INT16}),
    32: frozenset({Part.INT32}),
}


class Body(Protocol):
    """An ONNX function: one that onnxscript reads, or one that is composed of others."""

    @property
    def name(self) -> str: ...

    def to_function_proto(self) -> FunctionProto: ...


@dataclass(frozen=True, kw_only=True)
class Computation:
    """How integers are computed: `compute` takes implementations of `uses`, then tensors, and attributes by keyword.

    Without `uses` it is for numpy arrays. With them it is for those of any library that implements them, unless that
    library has an implementation of its own.
    """

    compute: Callable[..., Any]
    uses: tuple[Computation, ...] = ()

    @cached_property
    def reference(self) -> Callable[..., Any]:
        """The implementation in numpy."""
        return partial(self.compute, *(used.reference for used in self.uses)) if self.uses else self.compute


@dataclass(frozen=True, kw_only=True)
class Operator(Computation):
    """An operator of the domain: its ONNX function, its numpy reference and its contract.

    `reference` takes numpy arrays in the order of `inputs` and the attributes by keyword, and returns the output array,
    or a tuple of them where there are several. Both are exact: they agree bit for bit on every valid input.

    `since` is the first version of the domain that has it. `base` names the operator of which this is the variant with
    `parts`: by default its own name, of no parts.
    """

    function: Body
    summary: str
    formula: str
    signature: tuple[Tensor | Group, ...]
    outputs: tuple[Tensor, ...]
    attributes: tuple[Attribute, ...] = ()
    limits: tuple[Limit, ...] = ()
    composite: bool = False
    since: int = 1
    base: str = ""
    parts: frozenset[Part] = frozenset()

    def __post_init__(self) -> None:
        object.__setattr__(self, "base", self.base or self.name)

    @property
    def name(self) -> str:
        return self.function.name

    @cached_property
    def inputs(self) -> tuple[Tensor, ...]:
        """The inputs in order, those inside groups too."""
        return tuple(tensors(self.signature))

    def groups(self, kind: str) -> list[tuple[Tensor, ...]]:
        """The inputs of each group of a kind."""
        found = [member for member in self.signature if isinstance(member, Group) and member.kind == kind]
        return [tuple(tensors(group.members)) for group in found]


def tensors(members: Sequence[Tensor | Group]) -> Iterator[Tensor]:
    """The tensors of a signature in order, those inside groups too."""
    for member in members:
        if isinstance(member, Group):
            yield from tensors(member.members)
        else:
            yield member
