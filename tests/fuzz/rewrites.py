"""Changes that keep what a model means, or seem to: names, order, the form of constants, versions, functions, types."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from fuzz.model_mutations import all_values, pick, some_node, some_tensor

Model = onnx.ModelProto
Rng = np.random.Generator


def _copy(message: Any) -> Any:
    new = type(message)()
    new.CopyFrom(message)
    return new


def _replaced(listed: Any, items: Iterable[Any]) -> None:
    items = [_copy(item) for item in items]
    del listed[:]
    listed.extend(items)


def _shuffle(listed: Any, rng: Rng) -> None:
    _replaced(listed, [listed[int(index)] for index in rng.permutation(len(listed))])


def names_of_values(model: Model, rng: Rng, folder: Path) -> None:
    """Other names for inner values and weights, the same at every place."""
    kept = {value.name for value in (*model.graph.input, *model.graph.output)}
    chosen = [name for name in all_values(model) if name and name not in kept and rng.random() < 0.5]
    new = {name: pick([f"{name}'", f"r{index}", f"a/b:{index}"], rng) for index, name in enumerate(chosen)}
    for tensor in (*model.graph.initializer, *model.graph.value_info):
        tensor.name = new.get(tensor.name, tensor.name)
    for node in model.graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]


def names_of_nodes(model: Model, rng: Rng, folder: Path) -> None:
    for index, node in enumerate(model.graph.node):
        if rng.random() < 0.7:
            node.name = pick(["", f"node{index}", "one", node.name + "2"], rng)


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


def order_of_nodes(model: Model, rng: Rng, folder: Path) -> None:
    """Another order in which each node comes after those that it reads."""
    graph = pick([model.graph, model.graph, *model.functions], rng)
    made = {name for node in graph.node for name in node.output}
    pending, order, done = [_copy(node) for node in graph.node], [], set[str]()
    while pending:
        ready = [i for i, node in enumerate(pending) if all(name in done or name not in made for name in node.input)]
        node = pending.pop(pick(ready, rng))
        done.update(node.output)
        order.append(node)
    _replaced(graph.node, order)


def order_of_rest(model: Model, rng: Rng, folder: Path) -> None:
    listed = [
        model.graph.initializer,
        model.functions,
        model.opset_import,
        model.metadata_props,
        model.graph.value_info,
    ]
    listed += [some_node(model, rng).attribute for _ in range(4)]
    for items in listed:
        _shuffle(items, rng)


def no_order(model: Model, rng: Rng, folder: Path) -> None:
    _shuffle(model.graph.node, rng)


def attribute_twice(model: Model, rng: Rng, folder: Path) -> None:
    """An attribute once more, with another number, before or after."""
    nodes = [node for function in model.functions for node in function.node] if rng.random() < 0.7 else model.graph.node
    node = pick([node for node in nodes if len(node.attribute)], rng)
    other = _other_number(_copy(pick(node.attribute, rng)), rng)
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
            _replaced(node.attribute, [entry for entry in node.attribute if entry.name != name])


def weight_form(model: Model, rng: Rng, folder: Path) -> None:
    """Numbers as bytes, in fields of their type, in a file of their own, or made by a node."""
    for tensor in [some_tensor(model, rng) for _ in range(int(rng.integers(1, 6)))]:
        array = numpy_helper.to_array(tensor)
        form = int(rng.integers(4))
        if form == 0:
            tensor.CopyFrom(helper.make_tensor(tensor.name, tensor.data_type, array.shape, array.reshape(-1).tolist()))
        elif form == 1:
            path = folder / "case.data"
            with path.open("ab") as file:
                offset = file.tell()
                file.write(array.tobytes())
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", path.name), ("offset", str(offset)), ("length", str(array.nbytes))):
                tensor.external_data.add(key=key, value=value)
        elif form == 2:
            constant = helper.make_node("Constant", [], [tensor.name], value=_copy(tensor))
            model.graph.node.insert(0, constant)
            if rng.random() < 0.7:
                model.graph.initializer.remove(tensor)
        elif tensor.HasField("raw_data"):  # both forms, with different numbers
            tensor.int32_data.extend([1] * array.size)


def weight_twice(model: Model, rng: Rng, folder: Path) -> None:
    """A weight once more under its name, with other numbers, before or after; or as a value of a node."""
    tensor = some_tensor(model, rng)
    array = np.array(numpy_helper.to_array(tensor))
    array.fill(pick([0, 1, np.iinfo(array.dtype).max, np.iinfo(array.dtype).min], rng))
    other = numpy_helper.from_array(array, tensor.name)
    if rng.random() < 0.3:
        model.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=other))
    else:
        model.graph.initializer.insert(int(pick([0, len(model.graph.initializer)], rng)), other)


def weight_sparse(model: Model, rng: Rng, folder: Path) -> None:
    tensor = some_tensor(model, rng)
    array = numpy_helper.to_array(tensor)
    flat = array.reshape(-1)
    places = np.flatnonzero(flat)
    sparse = onnx.SparseTensorProto(dims=array.shape)
    sparse.values.CopyFrom(numpy_helper.from_array(flat[places], tensor.name))
    sparse.indices.CopyFrom(numpy_helper.from_array(places.astype(np.int64), f"{tensor.name}.places"))
    model.graph.sparse_initializer.append(sparse)
    model.graph.initializer.remove(tensor)


def weight_as_input(model: Model, rng: Rng, folder: Path) -> None:
    tensor = some_tensor(model, rng)
    shape = list(tensor.dims) if rng.random() < 0.6 else [pick([dim, None, -1, "n"], rng) for dim in tensor.dims]
    model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, shape))
    if rng.random() < 0.4:
        model.graph.initializer.remove(tensor)


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
        function = _copy(pick(model.functions, rng))
        function.overload = "more"
        _replaced(function.node, [helper.make_node("Identity", [function.input[0]], [function.output[0]])])
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
        entry.CopyFrom(_other_number(_copy(entry), rng))


def shapes(model: Model, rng: Rng, folder: Path) -> None:
    """Dimensions of inputs: free, of one name, negative, none at all; of outputs and inner values: anything."""
    value = pick([*model.graph.input, *model.graph.input, *model.graph.output, *model.graph.value_info], rng)
    tensor = value.type.tensor_type
    kind = rng.random()
    if kind < 0.15:
        tensor.ClearField("shape")
        return
    for dim in tensor.shape.dim:
        if rng.random() < 0.5:
            size = int(pick([-1, 1, 2, 3, 8, 2**31], rng))
            free = pick(["n", "batch", "m", ""], rng)
            dim.CopyFrom(pick([dim, helper.make_tensor_value_info("", 1, [free]).type.tensor_type.shape.dim[0]], rng))
            if rng.random() < 0.4:
                dim.dim_value = size
            elif rng.random() < 0.2:
                dim.Clear()


def inner_types(model: Model, rng: Rng, folder: Path) -> None:
    """Types of inner values, said rightly or wrongly."""
    for name in [pick(all_values(model), rng) for _ in range(3)]:
        shape = pick([None, [], [1], [-1, 2], ["n", 1], [2, 3, 4]], rng)
        model.graph.value_info.append(helper.make_tensor_value_info(name, int(pick([1, 3, 5, 6, 7], rng)), shape))


def nothing_of_weight(model: Model, rng: Rng, folder: Path) -> None:
    """Notes that nobody reads, in every message that has room for them."""
    node = some_node(model, rng)
    for message in (model, model.graph, node, pick([*model.graph.input, *model.graph.initializer], rng)):
        message.doc_string = "note"
        if hasattr(message, "metadata_props"):
            message.metadata_props.add(key="note", value="x")
    model.producer_name = "somebody"
    model.graph.name = pick(["", "other"], rng)


REWRITES: list[Callable[[Model, Rng, Path], None]] = [
    names_of_values,
    names_of_nodes,
    names_in_function,
    name_of_function,
    order_of_nodes,
    order_of_rest,
    no_order,
    attribute_twice,
    attribute_twice,
    attribute_default,
    weight_form,
    weight_twice,
    weight_sparse,
    weight_as_input,
    version,
    version,
    domain_of_nodes,
    function_more,
    function_more,
    function_body,
    shapes,
    shapes,
    inner_types,
    nothing_of_weight,
]
