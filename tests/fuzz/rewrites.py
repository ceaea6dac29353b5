"""Changes that keep what a graph means, or seem to: names, order, the form of constants, types and shapes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fuzz.function_rewrites import FUNCTION_REWRITES
from fuzz.messages import copied, replace_all, shuffle
from fuzz.model_mutations import all_values, pick, some_node, some_tensor

Model = onnx.ModelProto
Rng = np.random.Generator


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


def order_of_nodes(model: Model, rng: Rng, folder: Path) -> None:
    """Another order in which each node comes after those that it reads."""
    graph = pick([model.graph, model.graph, *model.functions], rng)
    made = {name for node in graph.node for name in node.output}
    pending, order, done = [copied(node) for node in graph.node], [], set[str]()
    while pending:
        ready = [i for i, node in enumerate(pending) if all(name in done or name not in made for name in node.input)]
        node = pending.pop(pick(ready, rng))
        done.update(node.output)
        order.append(node)
    replace_all(graph.node, order)


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
        shuffle(items, rng)


def no_order(model: Model, rng: Rng, folder: Path) -> None:
    shuffle(model.graph.node, rng)


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
            constant = helper.make_node("Constant", [], [tensor.name], value=copied(tensor))
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
    order_of_nodes,
    order_of_rest,
    no_order,
    weight_form,
    weight_twice,
    weight_sparse,
    weight_as_input,
    *[shapes] * 2,
    inner_types,
    nothing_of_weight,
    *FUNCTION_REWRITES,
]
