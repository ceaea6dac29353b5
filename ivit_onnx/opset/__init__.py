"""The operator set of the domain `ivit`: one file per base operator and its variants, each with its function and its
numpy reference.

An operator's plain name is its common form; a suffix 16 or 32 names another output width. Output types are part of
the name because ONNX Runtime custom operators cannot take an output type from an attribute.
"""

from __future__ import annotations

from collections.abc import Iterable

from onnx import FunctionProto

from ivit_onnx.opset import (
    _deferred,
    _window_attention,
    _windows,
    add_requantize,
    int_attention,
    int_deferred_attention,
    int_layer_norm,
    int_linear,
    int_mlp,
    int_patch_embed,
    int_patch_embed_norm,
    int_patch_merge,
    int_token_mean,
    int_window_attention,
    quantize_image,
    requantize,
    shift_gelu,
    shiftmax,
    table_gelu,
    table_softmax,
)
from ivit_onnx.opset._primitives import PRIMITIVES
from ivit_onnx.opset._readable import readable
from ivit_onnx.opset._spec import (
    DOMAIN,
    OPSET_VERSION,
    OUTPUT_PARTS,
    STANDARD_OPSET_VERSION,
    Attribute,
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

#: Every operator by name, finer ones before the composites that call them.
OPERATORS: dict[str, Operator] = {
    operator.name: operator
    for module in (
        requantize,
        add_requantize,
        quantize_image,
        shiftmax,
        shift_gelu,
        table_softmax,
        table_gelu,
        int_layer_norm,
        int_linear,
        int_attention,
        int_window_attention,
        int_deferred_attention,
        int_mlp,
        int_patch_embed,
        int_patch_embed_norm,
        int_patch_merge,
        int_token_mean,
    )
    for operator in module.OPERATORS
}

_VARIANTS = {(operator.base, operator.parts): operator.name for operator in OPERATORS.values()}


#: What `ivit-export --flat` keeps as functions of the domain; everything else becomes standard integer operators.
FLAT_FUNCTIONS = ("Shiftmax", "ShiftGELU", "TableSoftmax", "TableGELU", "IntLayerNorm", "IntLayerNorm16")

#: Functions that operators call and that are no operators.
_HELPERS = (
    *PRIMITIVES,
    *_windows.PRIMITIVES,
    *_window_attention.PRIMITIVES,
    *_deferred.PRIMITIVES,
    *int_deferred_attention.PRIMITIVES,
    shiftmax.ScoreShiftmax,
    table_softmax.ScoreTableSoftmax,
    int_layer_norm.NewtonStep,
    int_layer_norm.Normalized,
    int_patch_embed.Patches,
)


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
    functions = [*_HELPERS, *(operator.function for operator in OPERATORS.values())]
    return [readable(function.to_function_proto()) for function in functions]
