"""Nodes put into a model that was certified, as somebody would who wants other numbers, or floats, to go unseen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from fuzz.graft import Graft
from fuzz.model_mutations import pick

Model = onnx.ModelProto
Rng = np.random.Generator

_DTYPES = {TensorProto.INT8: "int8", TensorProto.UINT8: "uint8", TensorProto.INT16: "int16", TensorProto.INT32: "int32"}
_DTYPES |= {TensorProto.INT64: "int64"}
#: Elements of a constant that the analysis may no longer follow one by one.
_MANY = (1 << 18) + 1


def arithmetic(graft: Graft) -> str:
    """A few operators with constants."""
    dtype = pick(["int32", "int64"], graft.rng)
    value, info = graft.cast(graft.source, dtype), np.iinfo(dtype)
    for _ in range(int(graft.rng.integers(1, 5))):
        kinds = ("Add", "Sub", "Mul", "Mul", "Div", "Div", "Mod", "Mod", "Min", "Max", "Neg", "Where")
        kind = pick((*kinds, "Square", "Max of", pick(("Abs", "Sign", "Min"), graft.rng)), graft.rng)
        numbers = [int(np.clip(graft.number(), info.min, info.max)) for _ in range(int(pick([1, 1, 1, 2], graft.rng)))]
        other = graft.constant(numbers if len(numbers) > 1 else numbers[0], dtype)
        if len(numbers) > 1:
            other = graft.node("ReduceMax", other, keepdims=0)
        if kind in ("Neg", "Abs", "Sign"):
            value = graft.node(kind, value)
        elif kind == "Square":
            value = graft.node("Mul", value, value)
        elif kind == "Max of":
            value = graft.node("Sub", value, graft.node("ReduceMax", value, graft.constant([-1])))
        elif kind == "Where":
            value = graft.node("Where", graft.node("Greater", value, other), value, other)
        elif kind == "Mod":
            value = graft.node("Mod", value, other, fmod=int(graft.rng.random() < 0.4))
        else:
            pair = [value, other] if graft.rng.random() < 0.8 else [other, value]
            value = graft.node(kind, *pair)
    return graft.back(value)


def many_divisors(graft: Graft) -> str:
    """Divisions by a large constant with divisors of both signs, 1 and -1 among them."""
    dtype = pick(["int32", "int64"], graft.rng)
    info = np.iinfo(dtype)
    wide = graft.cast(graft.node("ReduceMax", graft.source, keepdims=0), dtype)
    scaled = graft.node("Mul", wide, graft.constant(2 ** (24 if dtype == "int32" else 56), dtype))
    divisors = np.full(_MANY, int(pick([9, 1000, info.max], graft.rng)), dtype)
    divisors[0], divisors[1:3] = -divisors[0], (1, -1)
    result = graft.node(pick(["Div", "Div", "Mod"], graft.rng), scaled, graft.constant(divisors, dtype))
    result = graft.node("Mul", result, graft.constant(int(pick([1, 5, 8], graft.rng)), dtype))
    return graft.node("ReduceMax", result, keepdims=0)


def floats(graft: Graft) -> str:
    """A detour through floating point, without a type that says so where that can be."""
    kind = int(graft.rng.integers(7))
    wide = graft.cast(graft.source, "int32")
    if kind == 0:
        return graft.back(graft.node("Pow", wide, graft.constant(int(pick([1, 2, 3], graft.rng)), "int32")))
    if kind == 1:
        return graft.back(graft.node("Mod", wide, graft.constant(7, "int32"), fmod=1))
    if kind == 2:
        shape = graft.node("Shape", graft.source)
        mode = pick(["nearest", "linear"], graft.rng)
        return graft.node("Resize", graft.source, "", "", shape, mode=mode)
    if kind == 3:
        return graft.back(graft.node("ReduceMean", wide, graft.constant([-1])))
    if kind == 4:
        return graft.back(graft.cast(graft.cast(wide, pick(["float32", "float64", "float16"], graft.rng)), "int32"))
    zeros = graft.node("ConstantOfShape", graft.constant([1]))  # of float32, if it does not say of what else
    floating = graft.node("CastLike", graft.source, zeros)
    chosen = pick(["Softmax", "Exp", "Sqrt", "Identity", "Floor"], graft.rng)
    return graft.node("CastLike", graft.node(chosen, floating), graft.source)


def shapes_in_data(graft: Graft) -> str:
    """Another shape that follows from a tensor of a free size with the name of the batch's, or from nothing known."""
    name = graft.name()
    dims = [dim for value in graft.model.graph.input for dim in value.type.tensor_type.shape.dim]
    free = pick([*{dim.dim_param for dim in dims if dim.dim_param}, "new", -1, 1], graft.rng)
    graft.model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.INT8, [free]))
    size = graft.node("Shape", name)
    wide = graft.cast(graft.source, "int32")
    rows = graft.node("Reshape", wide, graft.node("Concat", size, graft.constant([-1]), axis=0))
    scaled = graft.node("Mul", rows, graft.constant(2 ** int(graft.rng.integers(8, 24)), "int32"))
    kind = pick(["ReduceSum", "ReduceMax", "Expand"], graft.rng)
    if kind == "Expand":
        return graft.node("ReduceSum", graft.node("Expand", wide, size), graft.constant([-1]))
    return graft.node(kind, scaled, graft.constant([int(pick([0, 1, -1], graft.rng))]))


def moves(graft: Graft) -> str:
    """Elements to other places and back, with odd bounds and axes."""
    source, axis = graft.source, int(pick([0, 1, -1, -2], graft.rng))
    kind = int(graft.rng.integers(6))
    if kind == 0:
        return graft.node("Squeeze", graft.node("Unsqueeze", source, graft.constant([axis])), graft.constant([axis]))
    if kind == 1:
        bounds = ([int(pick([0, 1, -1], graft.rng))], [int(pick([2**31, 1, -(2**40)], graft.rng))], [axis])
        steps = [int(pick([1, 2, -1], graft.rng))]
        return graft.node("Slice", source, *(graft.constant(bound) for bound in (*bounds, steps)))
    if kind == 2:
        return graft.node("Concat", source, source, axis=axis)
    if kind == 3:
        index = [int(pick([0, 1, -1], graft.rng)) for _ in range(int(graft.rng.integers(1, 4)))]
        return graft.node("Gather", source, graft.constant(index), axis=axis)
    if kind == 4:
        return graft.node("Reshape", graft.node("Flatten", source, axis=axis), graft.node("Shape", source))
    return graft.node("Reshape", source, graft.constant(pick([[0, -1], [-1], [-1, 1], [1, -1, 1]], graft.rng)))


def older_form(graft: Graft) -> str:
    """Axes as attributes, as the operators had them before, and what is added up of that."""
    axes = [int(pick([0, 1, -1], graft.rng))]
    kind = pick(["ReduceMax", "ReduceSum", "Squeeze", "Unsqueeze"], graft.rng)
    wide = graft.cast(graft.source, "int32")
    attributes = {"keepdims": 1} if kind.startswith("Reduce") else {}
    reduced = graft.node(kind, wide, axes=axes, **attributes)
    scaled = graft.node("Mul", reduced, graft.constant(2 ** int(graft.rng.integers(8, 24)), "int32"))
    return graft.node("ReduceSum", scaled, keepdims=0)


def products(graft: Graft) -> str:
    """Sums of products of bytes, with zero points."""
    byte = graft.cast(graft.back(graft.source), graft.dtype if graft.dtype in ("int8", "uint8") else "int32")
    if graft.dtype not in ("int8", "uint8"):
        return graft.node("Mul", byte, graft.constant(graft.number() % 2**31, "int32"))
    weight = np.full((3, 2), int(pick([127, -128, 1], graft.rng)))
    three = graft.node("Expand", graft.node("ReduceMax", byte, keepdims=0), graft.constant([2, 3]))
    points = [
        graft.constant(int(pick([0, 5], graft.rng)), graft.dtype),
        graft.constant([1, int(graft.rng.integers(2))], "int8"),
    ]
    used = points[: int(graft.rng.integers(3))]
    return graft.node("MatMulInteger", three, graft.constant(weight, "int8"), *used)


def control(graft: Graft) -> str:
    """A branch or a loop whose condition is a constant."""
    inner = helper.make_node(pick(["Identity", "Neg", "Abs"], graft.rng), [graft.source], ["inner"])
    result = helper.make_empty_tensor_value_info("inner")
    condition = graft.constant(graft.rng.random() < 0.5, "bool")
    other = helper.make_node("Identity", [graft.source], ["inner"])
    branches = [helper.make_graph([node], "branch", [], [result]) for node in (inner, other)]
    return graft.node("If", condition, then_branch=branches[0], else_branch=branches[1])


@cache
def _schemas() -> list[onnx.defs.OpSchema]:
    """Every version of every operator, in an order that does not change from run to run."""
    schemas = onnx.defs.get_all_schemas_with_history()
    return sorted(schemas, key=lambda schema: (schema.domain, schema.name, schema.since_version))


def any_operator(graft: Graft) -> str:
    """Some operator of ONNX, of some version, with the value at all its inputs and attributes at random."""
    schema = pick(_schemas(), graft.rng)
    attributes: dict[str, Any] = {}
    kinds = onnx.defs.OpSchema.AttrType
    for attribute in schema.attributes.values():
        if not attribute.required and graft.rng.random() < 0.6:
            continue
        if attribute.type == kinds.INT:
            attributes[attribute.name] = int(pick([0, 1, -1, 2, 3, 6, 7], graft.rng))
        elif attribute.type == kinds.INTS:
            attributes[attribute.name] = [int(pick([0, 1, 2], graft.rng)) for _ in range(2)]
        elif attribute.type == kinds.STRING:
            attributes[attribute.name] = pick(["nearest", "linear", "LEFT", "RIGHT", "add", "NOTSET"], graft.rng)
    inputs = [graft.source]
    least, most = schema.min_input, min(schema.max_input, 4)
    while len(inputs) < int(graft.rng.integers(least, max(least, most) + 1)):
        inputs.append(
            pick([graft.source, graft.constant(1), graft.constant([0]), graft.constant(2, graft.dtype)], graft.rng)
        )
    return graft.node(schema.name, *inputs[: max(most, 0)], domain=schema.domain, **attributes)


SPLICES: list[Callable[[Graft], str]] = [
    *[arithmetic] * 4,
    *[many_divisors] * 2,
    *[floats] * 4,
    *[shapes_in_data] * 2,
    *[moves] * 2,
    *[older_form] * 2,
    products,
    control,
    *[any_operator] * 3,
]

#: What these give is not of the type of the value that they are put on.
_OF_OTHER_TYPES = (many_divisors, shapes_in_data, older_form, products)


def splice(model: Model, rng: Rng) -> str:
    """Puts one of SPLICES on a value: between it and who reads it, or beside, as an output of the graph more."""
    types = _types(model)
    source = pick(sorted(types), rng)
    inside = bool(rng.random() < 0.12)
    graft = Graft(model, rng, source, types[source], inside=inside)
    chosen = pick(SPLICES, rng)
    result = chosen(graft)
    if inside:
        result = _as_function(model, graft, result, rng)
    readers = [index for index, node in enumerate(model.graph.node) if source in node.input]
    if readers and rng.random() < 0.5:
        place = readers[0]
        result = graft.back(result) if chosen in _OF_OTHER_TYPES else result
        node = model.graph.node[place]
        node.input[:] = [result if name == source else name for name in node.input]
    else:
        place = len(model.graph.node)
        model.graph.output.append(helper.make_empty_tensor_value_info(result))
    for node in reversed(graft.nodes):
        model.graph.node.insert(place, node)
    return chosen.__name__


def _as_function(model: Model, graft: Graft, result: str, rng: Rng) -> str:
    """The nodes as a function of the model, which says itself of which version its operators are."""
    versions = [entry.version for entry in model.opset_import if not entry.domain]
    own = int(pick([*versions * 3, 11, 13, 18, 21], rng))
    inputs = list(dict.fromkeys(name for node in graft.nodes for name in node.input))
    made = {name for node in graft.nodes for name in node.output}
    inputs = [name for name in inputs if name and name not in made]
    domain = pick(["ivit", "other", "com.microsoft"], rng)
    imports = [helper.make_opsetid("", own)]
    function = helper.make_function(domain, "Grafted", inputs, [result], graft.nodes, imports)
    model.functions.append(function)
    if domain not in {entry.domain for entry in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    graft.nodes = []
    return graft.node("Grafted", *inputs, domain=domain)


def _types(model: Model) -> dict[str, str]:
    """Integer values of the main graph by name."""
    with contextlib.suppress(Exception):  # onnx raises several types of its own, for models that were changed before
        model = onnx.shape_inference.infer_shapes(model)
    values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    found = {value.name: _DTYPES.get(value.type.tensor_type.elem_type) for value in values}
    return {name: dtype for name, dtype in found.items() if dtype is not None}
