"""Operators by base and parts: the look-ups, what composed functions are, and that no name is made or taken apart."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ivit_onnx.opset import DOMAIN, OPERATORS, OUTPUT_PARTS, Part, forms_with, function_protos, variant
from ivit_onnx.quant.tables import FUNCTION_PARTS, NONLINEAR

ROOT = Path(__file__).parents[1]
SOURCES = [
    path
    for folder in (ROOT / "ivit_onnx", ROOT / "exporters")
    for path in sorted(folder.rglob("*.py"))
    # The names of tensors in others' checkpoints.
    if not path.is_relative_to(ROOT / "ivit_onnx" / "checkpoints")
]

#: Pieces of operators' names beside a place in a format string, and as arguments of the methods below.
BEFORE = re.compile(r"\bInt([A-Z]\w*)?$|\b(Table|Window|Shift)$")
AFTER = re.compile(r"^(Add|Attention|Embed|GELU|LayerNorm|Linear|Mlp|Norm|Softmax|TokenMean|Window)")
PIECE = re.compile(r"(Int|Add|Norm|Norm16|Patch|Pixel|Table|Window|Int[A-Z]\w*|multiplier|offset|shift|weight)")
TAKING_APART = {"endswith", "partition", "removeprefix", "removesuffix", "replace", "split", "startswith"}


def surgery(source: str) -> Iterator[str]:
    """The expressions that put a name of an operator or of its inputs together, or take one apart."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            for one, other in zip(node.values, node.values[1:], strict=False):
                before = isinstance(one, ast.Constant) and BEFORE.search(str(one.value))
                after = isinstance(other, ast.Constant) and AFTER.search(str(other.value))
                if before or after:
                    yield ast.unparse(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in TAKING_APART:
            texts = [
                part.value for argument in node.args for part in ast.walk(argument) if isinstance(part, ast.Constant)
            ]
            if any(isinstance(text, str) and PIECE.fullmatch(text) for text in texts):
                yield ast.unparse(node)


@pytest.mark.parametrize("expression", [
    'f"Int{attention}"', 'f"IntTable{attention}"', 'f"{op}Norm"', 'f"{op}Attention"', 'name.endswith("Norm")',
    'name.replace("IntPatch", "IntPixel")', 'name.startswith("IntTable")', 'name.endswith(("shift", "offset"))',
])  # fmt: skip
def test_surgery_is_found(expression: str) -> None:
    assert list(surgery(expression))


@pytest.mark.parametrize(
    "expression", ['f"Integer {what}"', 'f"{name}.weight"', 'name.endswith(".onnx")', '"IntLinear"']
)
def test_other_strings_are_none(expression: str) -> None:
    assert not list(surgery(expression))


def test_names_of_operators_are_data() -> None:
    found = {str(path.relative_to(ROOT)): list(surgery(path.read_text(encoding="utf-8"))) for path in SOURCES}
    assert len(found) > 150
    assert {path: expressions for path, expressions in found.items() if expressions} == {}


def test_every_operator_is_found_by_its_base_and_parts() -> None:
    for name, operator in OPERATORS.items():
        assert variant(operator.base, operator.parts) == name
        base = OPERATORS[operator.base]
        assert (base.base, base.parts) == (operator.base, frozenset())
        assert bool(operator.parts) is (operator is not base)


def test_variants_have_the_names_of_the_file_format() -> None:
    norm = {
        "IntLinearAdd": "IntLinearAddNorm",
        "IntMlpAdd": "IntMlpAddNorm",
        "IntTableMlpAdd": "IntTableMlpAddNorm",
        "IntTokenMlpAdd": "IntTokenMlpAddNorm",
    }
    assert forms_with(Part.NORM) == norm
    assert forms_with(Part.PIXELS) == {"IntPatchEmbed": "IntPixelEmbed", "IntPatchEmbedNorm16": "IntPixelEmbedNorm16"}
    assert [variant("IntWindowAttention", FUNCTION_PARTS[kind]) for kind in NONLINEAR] == [
        "IntWindowAttention",
        "IntTableWindowAttention",
    ]
    assert [variant("IntLinear", OUTPUT_PARTS[bits]) for bits in (8, 16, 32)] == [
        "IntLinear",
        "IntLinear16",
        "IntLinear32",
    ]


@pytest.mark.parametrize(("base", "parts", "message"), [
    ("IntPatchMerge", {Part.NORM}, "found IntPatchMerge with a second output, the first one normalised"),
    ("IntLinear64", set(), "found IntLinear64 with no parts"),
])  # fmt: skip
def test_unknown_variants_are_refused(base: str, parts: set[Part], message: str) -> None:
    with pytest.raises(KeyError, match=message):
        variant(base, parts)


def test_the_output_type_is_that_of_the_parts() -> None:
    wide = {Part.INT16: "int16", Part.INT32: "int32"}
    for operator in OPERATORS.values():
        for part in wide.keys() & operator.parts:
            assert [tensor.dtype for tensor in operator.outputs] == [wide[part]]


def test_composed_functions_take_what_their_records_say() -> None:
    """No step is left open, and nodes are numbered as in a function that is written out."""
    functions = {function.name: function for function in function_protos()}
    for name, operator in OPERATORS.items():
        function = operator.function.to_function_proto()
        assert [node.name for node in function.node] == [f"n{i}" for i in range(len(function.node))]
        assert list(function.input) == [tensor.name for tensor in operator.inputs]
        assert list(function.output) == [tensor.name for tensor in operator.outputs]
        assert list(function.attribute) == [attribute.name for attribute in operator.attributes]
        assert {node.op_type for node in function.node if node.domain == DOMAIN} <= functions.keys(), name
