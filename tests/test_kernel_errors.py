"""Calls that break an operator's contract: the kernel answers with an error that says what was expected and found."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from cases import Case, random_case
from drawing import Array
from graphs import single_operator_model
from ivit_onnx.opset import OPERATORS, Attribute, Tensor
from ivit_onnx.opset._shapes import evaluate, is_letter, parse
from sessions import run, session


def out_of_range(tensor: Tensor) -> list[int]:
    """Values of the input's type that its contract excludes."""
    if tensor.values is None:
        return []
    least, largest = tensor.values
    info = np.iinfo(tensor.dtype)
    return sorted(
        {value for value in (info.min, least - 1, largest + 1, info.max) if info.min <= value <= info.max}
        - set(tensor.values)
    )


ATTRIBUTES = [(name, attribute) for name, operator in OPERATORS.items() for attribute in operator.attributes]
INPUTS = [(name, tensor.name) for name, operator in OPERATORS.items() for tensor in operator.inputs]
RANGED = [
    (name, tensor.name, value)
    for name, operator in OPERATORS.items()
    for tensor in operator.inputs
    for value in out_of_range(tensor)
]
CONSTANTS = pytest.mark.parametrize("constants", [False, True], ids=["inputs", "initializers"])


def fails(case: Case, message: str, *, constants: bool = False) -> None:
    """Loading or running the case raises the runtime's exception with `message`, a regular expression."""
    model = single_operator_model(case, constants=constants, functions=False)
    with pytest.raises(Exception, match=rf"{case.operator}: {message}") as error:
        run(session(model), case)
    assert type(error.value).__module__.startswith("onnxruntime.")


def valid(operator: str) -> Case:
    """A case whose dimensions are all different from each other and above 1, so that no wrong shape fits by chance."""
    for seed in range(1000):
        case = random_case(operator, np.random.default_rng(seed), size=2)
        dims = case.inputs[OPERATORS[operator].inputs[0].name].shape
        scales = [array for name, array in case.inputs.items() if name in ("multiplier", "a_multiplier", "shift")]
        if min(dims) > 1 and len(set(dims)) == len(dims) and all(array.ndim == 1 for array in scales):
            return case
    raise AssertionError(f"no seed makes a case of {operator} with distinct dimensions")


@pytest.mark.parametrize(("operator", "attribute"), ATTRIBUTES, ids=lambda value: getattr(value, "name", value))
def test_attribute_out_of_range(operator: str, attribute: Attribute) -> None:
    values = {attribute.minimum - 1, attribute.maximum + 1, -(2**63), 2**63 - 1}
    if attribute.allowed:
        # Between the values that are allowed, however far apart they are: those beside them, and the middle.
        for low, high in itertools.pairwise(sorted(attribute.allowed)):
            values |= {low + 1, (low + high) // 2, high - 1} - set(attribute.allowed)
    for value in sorted(values):
        case = valid(operator)
        case.attributes[attribute.name] = value
        fails(case, f"attribute {attribute.name}: expected .*, found {value}")


@pytest.mark.parametrize(("operator", "attribute"), ATTRIBUTES, ids=lambda value: getattr(value, "name", value))
def test_attribute_missing_or_of_another_type(operator: str, attribute: Attribute) -> None:
    case = valid(operator)
    for value in (None, 1.5, "8"):
        case.attributes.pop(attribute.name, None)
        if value is not None:
            case.attributes[attribute.name] = value  # type: ignore[assignment]
        fails(case, f"attribute {attribute.name}: expected an integer, found none")


@pytest.mark.parametrize(("operator", "tensor"), INPUTS)
def test_wrong_rank(operator: str, tensor: str) -> None:
    case = valid(operator)
    shape = next(item.shape for item in OPERATORS[operator].inputs if item.name == tensor)
    array = case.inputs[tensor]
    case.inputs[tensor] = np.asarray(array.flat[0]) if ".." in shape else array[None, ..., None]
    # The message has the dimensions as docs/operators.md has them; where others are known, they stand for "..".
    expected = re.escape(shape).replace(r"\.\.", r"[\d., ]+")
    fails(case, rf"shape of input {tensor}: expected {expected}( with .*)?, found ")


def fits(case: Case) -> bool:
    """Whether the shapes of a call fit its operator's record."""
    operator = OPERATORS[case.operator]
    known = {attribute.symbol or attribute.name: case.attributes[attribute.name] for attribute in operator.attributes}
    leading, sizes = set(), []
    for tensor in operator.inputs:
        shape, dims = parse(tensor.shape), case.inputs[tensor.name].shape
        if dims == () and shape.or_scalar:
            continue
        if shape.leading:
            leading.add(dims[: len(dims) - len(shape.axes)])
        sizes += zip(shape.axes, dims[len(dims) - len(shape.axes) :], strict=True)
    # Letters first, then 3*C and the like, which give theirs where nothing else does.
    sizes.sort(key=lambda size: not is_letter(size[0], operator))
    for axis, size in sizes:
        factor, _, letter = axis.rpartition("*")
        known.setdefault(letter, size // int(factor) if factor.isdigit() else size)
    return (
        len(leading) <= 1
        and all(evaluate(axis, known) == size for axis, size in sizes)
        and all(known.get(dim, 0) % case.attributes[a.name] == 0 for a in operator.attributes for dim in a.divides)
    )


@CONSTANTS
@pytest.mark.parametrize("operator", OPERATORS)
def test_wrong_dimension(operator: str, constants: bool) -> None:
    """One dimension of one input is twice as large: an error, unless the call is as valid as before."""
    case = valid(operator)
    assert fits(case)
    wrong = 0
    for tensor, array in case.inputs.items():
        for axis in range(array.ndim):
            changed = Case(operator, case.inputs | {tensor: np.repeat(array, 2, axis=axis)}, case.attributes)
            if fits(changed):
                run(session(single_operator_model(changed, constants=constants, functions=False)), changed)
                continue
            # Where two inputs disagree, either may be the one that is named.
            fails(changed, r"(shape of input|attribute) \w+: expected .*, found ", constants=constants)
            wrong += 1
    assert wrong or len(case.inputs) == 1


def test_scalar_where_channels_are_needed() -> None:
    case = valid("IntLayerNorm")
    case.inputs["shift"] = np.asarray(20, np.int8)
    fails(case, r"shape of input shift: expected \[C\] with C = \d+, found \[\]")


def test_vector_where_a_scalar_is_needed() -> None:
    case = valid("IntAttention")
    case.inputs["score_shift"] = np.asarray([20], np.int8)
    fails(case, r"shape of input score_shift: expected \[\], found \[1\]")


@CONSTANTS
@pytest.mark.parametrize("table", [[0] * 256, [2, 3] + [1] * 254, [5] * 255 + [-1], [5] * 255 + [6]])
@pytest.mark.parametrize("operator", ["TableSoftmax", "IntTableAttention", "IntTableWindowAttention"])
def test_exponentials_must_not_rise(operator: str, table: list[int], constants: bool) -> None:
    case = valid(operator)
    case.inputs["exponentials"] = np.array(table, np.int32)
    fails(case, r"values of input exponentials: expected ", constants=constants)


def test_heads_must_divide_channels() -> None:
    case = valid("IntAttention")
    case.attributes["heads"] = 1024
    fails(case, r"attribute heads: expected a divisor of C = \d+, found 1024")


def test_qkv_must_be_three_times_something() -> None:
    case = valid("IntAttention")
    case.inputs["qkv"] = case.inputs["qkv"][..., :-1]
    fails(case, r"shape of input qkv: expected \[N, T, 3\*C\].*, found ")
    case = valid("IntWindowAttention")
    for name in ("qkv", "padding"):
        case.inputs[name] = case.inputs[name][..., :-1]
    fails(case, r"shape of input qkv: expected \[N, height\*width, 3\*C\].*, found ")


def test_windows_must_be_larger_than_their_shift() -> None:
    case = valid("IntWindowAttention")
    case.attributes["shift"] = case.attributes["window"]
    fails(case, r"attribute shift: expected less than window = \d+, found \d+")


@pytest.mark.parametrize("operator", ["IntWindowAttention", "IntPatchMerge"])
def test_the_grid_must_have_the_tokens(operator: str) -> None:
    case = valid(operator)
    case.attributes["height"] += 1
    tokens = case.attributes["height"] * case.attributes["width"]
    fails(case, rf"shape of input \w+: expected \[N, height\*width, .*\] with height\*width = {tokens}\b.*, found ")


def test_patch_must_divide_image() -> None:
    case = valid("IntPatchEmbed")
    case.attributes["patch_size"] = 1023
    fails(case, r"attribute patch_size: expected a divisor of H = \d+, found 1023")
    case = valid("IntPixelEmbedNorm16")
    case.inputs["image"] = np.repeat(case.inputs["image"], case.attributes["patch_size"], axis=2)[..., :-1]
    fails(case, r"attribute patch_size: expected a divisor of W = \d+, found \d+")


def test_pairs_of_tokens_of_a_window_are_limited() -> None:
    case = valid("IntWindowAttention")
    case.attributes["window"] = 256
    case.inputs["relative_position"] = np.zeros((511 * 511, case.attributes["heads"]), np.int16)
    fails(case, r"heads\*window\^4 \(pairs of tokens .*\): expected 1\.\.268435456, found \d+", constants=True)


@pytest.mark.parametrize("operator", ["IntTokenMean", "IntTokenMean16"])
@pytest.mark.parametrize("tokens", [0, 65536])
def test_number_of_tokens_to_average(operator: str, tokens: int) -> None:
    case = valid(operator)
    case.inputs["x"] = np.zeros((1, tokens, case.inputs["x"].shape[-1]), case.inputs["x"].dtype)
    fails(case, rf"T \(tokens\): expected 1\.\.65535, found {tokens}")


@CONSTANTS
@pytest.mark.parametrize(("operator", "tensor", "value"), RANGED)
def test_value_out_of_range(operator: str, tensor: str, value: int, constants: bool) -> None:
    case = valid(operator)
    array = np.array(case.inputs[tensor])
    array.flat[-1] = value
    case.inputs[tensor] = array
    (least, largest), *_ = (item.values for item in OPERATORS[operator].inputs if item.name == tensor)
    fails(case, rf"values of input {tensor}: expected {least}\.\.{largest}, found {value}", constants=constants)


@pytest.mark.parametrize(("operator", "tensor"), INPUTS)
def test_wrong_type(operator: str, tensor: str) -> None:
    """Element types are part of the registration: ONNX Runtime itself rejects the model and names node and input."""
    for dtype in (np.float32, np.uint16):
        case = valid(operator)
        case.inputs[tensor] = case.inputs[tensor].astype(dtype)
        with pytest.raises(Exception, match=rf"(?s){operator}.*{tensor}|{tensor}.*{operator}"):
            session(single_operator_model(case, functions=False))


def test_wrong_number_of_inputs() -> None:
    case = valid("IntLinear")
    model = single_operator_model(case, functions=False)
    del model.graph.node[0].input[-1]
    with pytest.raises(Exception, match="IntLinear"):
        session(model)


def test_errors_leave_the_session_usable() -> None:
    case = valid("IntLinear")
    good: Array = case.inputs["x"]
    linear = session(single_operator_model(case, constants=True, functions=False))
    before = run(linear, case)
    case.inputs["x"] = good[..., :-1]
    with pytest.raises(Exception, match="IntLinear: shape of input x"):
        run(linear, case)
    case.inputs["x"] = good
    np.testing.assert_array_equal(run(linear, case), before)
