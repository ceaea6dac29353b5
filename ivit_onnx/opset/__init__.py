"""The operator set of the domain `ivit`: one file per base operator and its variants, each with its function and its
numpy reference.

A module of this folder that has `OPERATORS` adds them to the set; `PRIMITIVES` are functions that operators call and
that are no operators. An operator's plain name is its common form; a suffix 16 or 32 names another output width. Output
types are part of the name because ONNX Runtime custom operators cannot take an output type from an attribute.
"""

from __future__ import annotations

from collections.abc import Iterable

from onnx import FunctionProto

from ivit_onnx.discovery import modules
from ivit_onnx.opset._readable import readable
from ivit_onnx.opset._spec import (
    DOMAIN,
    OPSET_VERSION,
    OUTPUT_PARTS,
    STANDARD_OPSET_VERSION,
    Attribute,
    Body,
    Computation,
    Limit,
    Operator,
    Part,
    Role,
    Tensor,
)
from ivit_onnx.opset._windows import merged_tokens, token_places, window_offsets, window_regions, window_tokens
from ivit_onnx.opset.shiftmax import MASKED

__all__ = [
    "DOMAIN",
    "FLAT_FUNCTIONS",
    "MASKED",
    "OPERATORS",
    "OPSET_VERSION",
    "OUTPUT_PARTS",
    "STANDARD_OPSET_VERSION",
    "Attribute",
    "Computation",
    "Limit",
    "Operator",
    "Part",
    "Role",
    "Tensor",
    "forms_with",
    "function_protos",
    "merged_tokens",
    "token_places",
    "variant",
    "version_of",
    "window_offsets",
    "window_regions",
    "window_tokens",
]

_MODULES = list(modules(__name__, __path__))


def _operators() -> dict[str, Operator]:
    """By name: elementary ones, then composites, each in the order of their modules."""
    found = [operator for module in _MODULES for operator in getattr(module, "OPERATORS", ())]
    names = [operator.name for operator in found]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"expected one operator of a name, found several of {', '.join(sorted(twice))}")
    return {operator.name: operator for operator in sorted(found, key=lambda operator: operator.composite)}


#: Every operator by name.
OPERATORS = _operators()

_VARIANTS = {(operator.base, operator.parts): operator.name for operator in OPERATORS.values()}


#: What `ivit-export --flat` keeps as functions of the domain; everything else becomes standard integer operators.
FLAT_FUNCTIONS = ("Shiftmax", "ShiftGELU", "TableSoftmax", "TableGELU", "IntLayerNorm", "IntLayerNorm16")

#: Functions that operators call and that are no operators.
_PRIMITIVES: list[Body] = [function for module in _MODULES for function in getattr(module, "PRIMITIVES", ())]


def variant(base: str, parts: Iterable[Part]) -> str:
    """The name of the operator that is `base` with these parts.

    Raises:
        KeyError: there is none.
    """
    name = _VARIANTS.get((base, frozenset(parts)))
    if name is None:
        found = " and ".join(part.value for part in parts) or "no parts"
        raise KeyError(f"expected an operator of the domain, found {base} with {found}")
    return name


def version_of(operators: Iterable[str]) -> int:
    """The version of the domain that a model with these operators needs; other names do not count."""
    return max((OPERATORS[name].since for name in operators if name in OPERATORS), default=1)


def forms_with(part: Part) -> dict[str, str]:
    """The operators that have a part, by the name of the operator that they are without it."""
    forms = [operator for operator in OPERATORS.values() if part in operator.parts]
    return {_VARIANTS[form.base, form.parts - {part}]: form.name for form in forms}


def function_protos() -> list[FunctionProto]:
    """The model-local functions of the whole domain, callees before callers (as onnx.reference requires)."""
    bodies = [*_PRIMITIVES, *(operator.function for operator in OPERATORS.values())]
    functions = {body.name: body.to_function_proto() for body in bodies}
    ordered: dict[str, FunctionProto] = {}

    def add(function: FunctionProto) -> None:
        if function.name not in ordered:
            for node in function.node:
                if node.domain == DOMAIN:
                    add(functions[node.op_type])
            ordered[function.name] = readable(function)

    for function in functions.values():
        add(function)
    return list(ordered.values())
