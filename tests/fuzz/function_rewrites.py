"""Changes of what a model calls: its functions, their attributes and names, versions of operator sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, helper, numpy_helper

from fuzz.messages import copied, replace_all
from fuzz.model_mutations import pick

Model = onnx.ModelProto
Rng = np.random.Generator


def names_in_function(model: Model, rng: Rng, folder: Path) -> None:
    function = pick(model.functions, rng)
    new = {
        name: f"v{index}" for index, name in enumerate((*function.input, *(o for n in function.node for o in n.output)))
    }
    function.input[:] = [new.get(name, name) for name in function.input]
    function.output[:] = [new.get(name, name) for name in function.output]
    for node in function.node:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]


def name_of_function(model: Model, rng: Rng, folder: Path) -> None:
    """A function and its calls under another domain or name; names of other functions and of standard operators too."""
    function = pick(model.functions, rng)
    old = (function.domain, function.name)
    function.domain = pick([function.domain, "other", "", "com.microsoft", "ai.onnx"], rng)
    function.name = pick([f"{function.name}2", pick(["Neg", "Abs", "Identity", "Relu"], rng)], rng)
    for node in (*model.graph.node, *(node for other in model.functions for node in other.node)):
        if (node.domain, node.op_type) == old:
            node.domain, node.op_type = function.domain, function.name
    if function.domain not in {entry.domain for entry in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(function.domain, 1))
        for other in model.functions:
            other.opset_import.append(helper.make_opsetid(function.domain, 1))


def attribute_twice(model: Model, rng: Rng, folder: Path) -> None:
    """An attribute once more, with another number, before or after."""
    nodes = [node for function in model.functions for node in function.node] if rng.random() < 0.7 else model.graph.node
    node = pick([node for node in nodes if len(node.attribute)], rng)
    other = _other_number(copied(pick(node.attribute, rng)), rng)
    node.attribute.insert(int(pick([0, len(node.attribute)], rng)), other)


def _other_number(attribute: AttributeProto, rng: Rng) -> AttributeProto:
    if attribute.ref_attr_name or attribute.type == AttributeProto.INT:
        attribute.ref_attr_name, attribute.type = "", AttributeProto.INT
        attribute.i += int(pick([-1, 1, 2, 7, 2**20], rng))
    elif attribute.type == AttributeProto.INTS:
        attribute.ints[:] = [*reversed(attribute.ints)] if rng.random() < 0.5 else [*attribute.ints, 0]
    elif attribute.HasField("t"):
        array = numpy_helper.to_array(attribute.t)
        other = (
            array + np.asarray(int(pick([1, -1, 100], rng))).astype(array.dtype) if array.dtype.kind in "iu" else ~array
        )
        attribute.t.CopyFrom(numpy_helper.from_array(np.asarray(other, array.dtype)))
    return attribute


def attribute_default(model: Model, rng: Rng, folder: Path) -> None:
    """An attribute of a function with a default, given or not."""
    function = pick([function for function in model.functions if len(function.attribute)], rng)
    name = pick(function.attribute, rng)
    function.attribute_proto.append(helper.make_attribute(name, int(rng.integers(1, 20))))
    if rng.random() < 0.5:
        function.attribute.remove(name)
    for node in model.graph.node:
        if node.op_type == function.name and rng.random() < 0.5:
            replace_all(node.attribute, [entry for entry in node.attribute if entry.name != name])


def version(model: Model, rng: Rng, folder: Path) -> None:
    """Another version of an operator set, of the model or of one function, or an import more."""
    imports = (
        model.opset_import if rng.random() < 0.5 or not model.functions else pick(model.functions, rng).opset_import
    )
    entry = pick(imports, rng)
    new = int(pick([1, 2, 9, 11, 12, 13, 14, 15, 17, 18, 19, 20, 21, 22, 23, 24, 25], rng))
    kind = int(rng.integers(4))
    if kind == 0:
        entry.version = new
    elif kind == 1:
        domain = pick([entry.domain, "ai.onnx", "", "ai.onnx.ml", "com.microsoft"], rng)
        imports.insert(int(pick([0, len(imports)], rng)), helper.make_opsetid(domain, new))
    elif kind == 2:
        imports.remove(entry)
    else:
        entry.domain = "ai.onnx" if entry.domain == "" else entry.domain
        if rng.random() < 0.5:
            imports.append(helper.make_opsetid("", new))


def domain_of_nodes(model: Model, rng: Rng, folder: Path) -> None:
    """The two names of ONNX's own domain."""
    for node in (*model.graph.node, *(node for function in model.functions for node in function.node)):
        if not node.domain and rng.random() < 0.3:
            node.domain = "ai.onnx"


def function_more(model: Model, rng: Rng, folder: Path) -> None:
    """A function that nothing calls, one of a standard operator's name, one with an overload."""
    imports = [helper.make_opsetid("", int(pick([11, 13, 17, 18, 21], rng)))]
    used = sorted({node.op_type for function in model.functions for node in function.node if not node.domain})
    used += sorted({node.op_type for node in model.graph.node if not node.domain})
    kind = int(rng.integers(4))
    if kind == 0:
        body = [helper.make_node("Softmax", ["x"], ["y"])]
        model.functions.append(helper.make_function("ivit", "Unused", ["x"], ["y"], body, imports))
    elif kind == 1:
        function = copied(pick(model.functions, rng))
        function.overload = "more"
        replace_all(function.node, [helper.make_node("Identity", [function.input[0]], [function.output[0]])])
        model.functions.insert(int(pick([0, len(model.functions)], rng)), function)
    else:
        chosen = pick(used, rng)
        count = int(pick([1, 2, 3], rng))
        inputs = [f"x{index}" for index in range(count)]
        body = [helper.make_node("Identity", [inputs[0]], ["y"])]
        if rng.random() < 0.5:
            body = [helper.make_node("Constant", [], ["z"], value=numpy_helper.from_array(np.zeros(1, np.int32)))]
            body.append(helper.make_node("Cast", ["z"], ["y"], to=int(pick([3, 6, 7], rng))))
        domain = pick(["", "ai.onnx"], rng)
        model.functions.append(helper.make_function(domain, chosen, inputs, ["y"], body, imports))


def function_body(model: Model, rng: Rng, folder: Path) -> None:
    """A body that computes something else."""
    node = pick(pick(model.functions, rng).node, rng)
    exchange = {
        "Add": "Sub",
        "Sub": "Add",
        "Min": "Max",
        "Max": "Min",
        "Greater": "Less",
        "Less": "Greater",
        "Mul": "Add",
    }
    if node.op_type in exchange:
        node.op_type = exchange[node.op_type]
    elif len(node.input) > 1 and rng.random() < 0.5:
        node.input[:] = [*reversed(node.input)]
    else:
        entry = pick(node.attribute, rng)
        entry.CopyFrom(_other_number(copied(entry), rng))


FUNCTION_REWRITES: list[Callable[[Model, Rng, Path], None]] = [
    names_in_function,
    name_of_function,
    *[attribute_twice] * 2,
    attribute_default,
    *[version] * 2,
    domain_of_nodes,
    *[function_more] * 2,
    function_body,
]
