"""Ways to spoil an ONNX model: each takes the model and a random generator, and changes the model in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.checker import ValidationError

Model = onnx.ModelProto
Rng = np.random.Generator

NUMBERS = [-(2**63), -(2**31), -65536, -129, -2, -1, 0, 1, 2, 3, 7, 31, 32, 62, 63, 255, 256, 1023, 1024, 65536]
NUMBERS += [2**24, 2**29 + 1, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1]
#: Dimensions of tensors without elements cost nothing.
DIMS = [0, 1, 2, 3, 5, 48, 255, 2**16, 2**31, 2**40, 2**62, 2**63 - 1, -1]


def pick(items: Any, rng: Rng) -> Any:
    """One of the items; raises IndexError where there is none, which ends the mutation."""
    return items[int(rng.integers(len(items)))] if len(items) else [][0]


def some_node(model: Model, rng: Rng) -> onnx.NodeProto:
    if model.functions and rng.random() < 0.15:
        return pick(pick(model.functions, rng).node, rng)
    return pick(model.graph.node, rng)


def attribute_value(model: Model, rng: Rng) -> None:
    node = some_node(model, rng)
    attribute = pick(node.attribute, rng)
    if rng.random() < 0.2:
        attribute.CopyFrom(helper.make_attribute(attribute.name, pick([1.5, "8", [1, 2], 1, b"\xff"], rng)))
    elif rng.random() < 0.5:
        attribute.i = int(pick(NUMBERS, rng))
    else:
        attribute.i += int(pick([-1, 1, 2], rng))


def attribute_dropped(model: Model, rng: Rng) -> None:
    node = some_node(model, rng)
    del node.attribute[int(rng.integers(len(node.attribute)))]


def some_tensor(model: Model, rng: Rng) -> TensorProto:
    return pick(model.graph.initializer, rng)


def tensor_values(model: Model, rng: Rng) -> None:
    tensor = some_tensor(model, rng)
    if tensor.data_location == TensorProto.EXTERNAL:
        return
    array = np.array(onnx.numpy_helper.to_array(tensor))
    info = np.iinfo(array.dtype)
    value = pick([info.min, info.max, 0, 1, -1 if info.min else 1, 63, 62], rng)
    if rng.random() < 0.5:
        array.fill(value)
    else:
        array.reshape(-1)[int(rng.integers(array.size))] = value
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))


def tensor_shape(model: Model, rng: Rng) -> None:
    """Other dimensions, with elements to match or without."""
    tensor = some_tensor(model, rng)
    array = onnx.numpy_helper.to_array(tensor)
    kind = int(rng.integers(7))
    if kind == 0:
        array = array.T
    elif kind == 1:
        array = array[None] if rng.random() < 0.5 else array[..., None]
    elif kind == 2:
        array = array.reshape(-1)
    elif kind == 3:
        array = array.reshape(-1)[: int(pick([0, 1, 2], rng))]
    elif kind == 4:
        array = np.repeat(array, 2, axis=int(rng.integers(array.ndim)))
    if kind < 5:
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))
    elif kind == 5:
        tensor.dims[int(rng.integers(len(tensor.dims)))] = int(pick(DIMS, rng))
    else:
        dims = [int(pick(DIMS, rng)) for _ in tensor.dims]
        dims[int(rng.integers(len(dims)))] = 0
        tensor.CopyFrom(TensorProto(name=tensor.name, data_type=tensor.data_type, dims=dims))


def consistent_width(model: Model, rng: Rng) -> None:
    """One dimension everywhere it stands: no longer that of the model, but the same in all tensors."""
    old = int(pick([d for tensor in model.graph.initializer for d in tensor.dims], rng))
    new = int(pick([0, 1, 2, 3, old - 1, old + 1, 2 * old], rng))
    for tensor in model.graph.initializer:
        if old in tensor.dims:
            array = onnx.numpy_helper.to_array(tensor)
            shape = [new if dim == old else dim for dim in array.shape]
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.resize(array, shape), tensor.name))


def tensor_type(model: Model, rng: Rng) -> None:
    tensor = some_tensor(model, rng)
    if rng.random() < 0.5:
        tensor.data_type = int(pick([0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 12, 16, 17, 22, 99, 2**31 - 1], rng))
    else:
        array = onnx.numpy_helper.to_array(tensor).astype(pick(["int8", "int16", "int32", "int64", "float32"], rng))
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))


def tensor_data(model: Model, rng: Rng) -> None:
    tensor = some_tensor(model, rng)
    if rng.random() < 0.5:
        tensor.raw_data = tensor.raw_data[: int(rng.integers(len(tensor.raw_data)))]
        return
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (
        ("location", pick(["/dev/zero", "../case.onnx", "case.onnx", "absent", "", "/etc/hostname"], rng)),
        ("offset", str(pick([0, 1, 4096, -1, 2**63], rng))),
        ("length", str(pick([0, 1, 100, 2**40, 2**64], rng))),
    ):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def tensor_removed(model: Model, rng: Rng) -> None:
    del model.graph.initializer[int(rng.integers(len(model.graph.initializer)))]


def tensor_as_input(model: Model, rng: Rng) -> None:
    """A parameter that is given with every run, alone or with the initializer as its default."""
    index = int(rng.integers(len(model.graph.initializer)))
    tensor = model.graph.initializer[index]
    shape = list(tensor.dims) if rng.random() < 0.5 else [None] * len(tensor.dims)
    model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, shape))
    if rng.random() < 0.7:
        del model.graph.initializer[index]


def all_values(model: Model) -> list[str]:
    names = [value.name for value in (*model.graph.input, *model.graph.initializer)]
    return names + [output for node in model.graph.node for output in node.output]


def edge(model: Model, rng: Rng) -> None:
    """An input of a node: another value (a later one too), none, one less or one more."""
    node = some_node(model, rng)
    index = int(rng.integers(len(node.input)))
    kind = rng.random()
    if kind < 0.6 or (kind < 0.75 and node.op_type in ("Max", "Min")):  # known: ONNX Runtime crashes without an input
        node.input[index] = pick(all_values(model), rng)
    elif kind < 0.75:
        node.input[index] = ""
    elif kind < 0.9:
        del node.input[index]
    else:
        node.input.append(pick([*([] if node.op_type in ("Max", "Min") else [""]), *all_values(model)], rng))


def output(model: Model, rng: Rng) -> None:
    node = some_node(model, rng)
    index = int(rng.integers(len(node.output)))
    kind = rng.random()
    if kind < 0.5:
        node.output[index] = pick(["", *all_values(model)], rng)
    elif kind < 0.75:
        del node.output[index]
    else:
        node.output.append("more")


def operator(model: Model, rng: Rng) -> None:
    node = some_node(model, rng)
    if rng.random() < 0.7:
        node.op_type = pick(model.functions, rng).name
    else:
        node.domain = pick(["", "ivit", "ai.onnx", "com.microsoft", "other"], rng)


def nodes(model: Model, rng: Rng) -> None:
    index = int(rng.integers(len(model.graph.node)))
    kind = rng.random()
    if kind < 0.4:
        del model.graph.node[index]
    elif kind < 0.6:
        model.graph.node.append(model.graph.node[index])
    else:
        order = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
        rng.shuffle(order)  # type: ignore[arg-type]
        del model.graph.node[:]
        model.graph.node.extend(order)


def interface(model: Model, rng: Rng) -> None:
    """Declared type or shape of an input or output."""
    value = pick([*model.graph.input, *model.graph.output], rng)
    tensor = value.type.tensor_type
    kind = rng.random()
    if kind < 0.3:
        tensor.elem_type = int(pick([0, 1, 2, 3, 5, 6, 7, 9, 99], rng))
    elif kind < 0.4:
        tensor.ClearField("shape")
    elif kind < 0.5:
        tensor.shape.dim.add().dim_value = int(pick(DIMS, rng))
    elif kind < 0.6:
        value.type.CopyFrom(helper.make_sequence_type_proto(value.type))
    else:
        dim = pick(tensor.shape.dim, rng)
        dim.Clear()
        if rng.random() < 0.7:
            dim.dim_value = int(pick(DIMS, rng))


def standard_node(model: Model, rng: Rng) -> None:
    """A node of the standard operators between two others, or a value that has to go through one."""
    node = pick(model.graph.node, rng)
    index = int(rng.integers(len(node.input)))
    source, name = node.input[index], f"between.{len(model.graph.node)}"
    if rng.random() < 0.3:
        source = pick(all_values(model), rng)
    kind = str(rng.choice(["Cast", "Slice", "Flatten", "Identity", "Neg", "Loop", "If", "Optional", "Sequence"]))
    constants = [
        onnx.numpy_helper.from_array(np.array([pick([0, 1, -1, 2, 2**31, -(2**63)], rng)], np.int64), f"{name}.{i}")
        for i in range(4)
    ]
    inputs = [source]
    attributes: dict[str, Any] = {}
    if kind == "Cast":
        attributes["to"] = int(pick([3, 5, 6, 7, 1, 99], rng))
    elif kind == "Flatten":
        attributes["axis"] = int(pick([0, 1, 2, -1, 2**40], rng))
    elif kind == "Slice":
        model.graph.initializer.extend(constants)
        inputs += [tensor.name for tensor in constants[: int(rng.integers(2, 5))]]
        if rng.random() < 0.2:
            inputs[-1] = ""
    elif kind in ("Loop", "If"):
        body = helper.make_node("Identity", [source], ["inner"])
        condition = onnx.numpy_helper.from_array(np.array(True), f"{name}.condition")
        model.graph.initializer.append(condition)
        result = helper.make_empty_tensor_value_info("inner")
        if kind == "If":
            branch = helper.make_graph([body], "branch", [], [result])
            inputs, attributes = [condition.name], {"then_branch": branch, "else_branch": branch}
        else:
            count = onnx.numpy_helper.from_array(np.array(2), f"{name}.count")
            model.graph.initializer.append(count)
            arguments = [
                helper.make_tensor_value_info("i", TensorProto.INT64, []),
                helper.make_tensor_value_info("go", TensorProto.BOOL, []),
                helper.make_empty_tensor_value_info("carried"),
            ]
            go = helper.make_node("Not", ["go"], ["on"])  # once around
            on = helper.make_tensor_value_info("on", TensorProto.BOOL, [])
            inputs, first = [count.name, condition.name, source], int(rng.integers(3))
            inputs[first if first < 2 else 0] = "" if first < 2 else count.name
            attributes = {"body": helper.make_graph([go, body], "body", arguments, [on, result])}
    elif kind == "Optional":
        optional = helper.make_node("Optional", [source], [f"{name}.optional"])
        model.graph.node.insert(0, optional)
        kind, inputs = "OptionalGetElement", [f"{name}.optional"]
    elif kind == "Sequence":
        model.graph.node.insert(0, helper.make_node("SequenceConstruct", [source], [f"{name}.sequence"]))
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0), f"{name}.at"))
        kind, inputs = "SequenceAt", [f"{name}.sequence", f"{name}.at"]
    position = next(i for i, other in enumerate(model.graph.node) if other is node or other == node)
    node.input[index] = name
    model.graph.node.insert(position, helper.make_node(kind, inputs, [name], **attributes))


def function(model: Model, rng: Rng) -> None:
    index = int(rng.integers(len(model.functions)))
    chosen = model.functions[index]
    kind = rng.random()
    if kind < 0.3:
        del model.functions[index]
    elif kind < 0.4:
        model.functions.append(chosen)
    elif kind < 0.6:
        pick(chosen.node, rng).op_type = pick(model.functions, rng).name
    elif kind < 0.8:
        del chosen.input[int(rng.integers(len(chosen.input)))]
    else:
        chosen.output.append(chosen.input[0])


def versions(model: Model, rng: Rng) -> None:
    if rng.random() < 0.7:
        pick(model.opset_import, rng).version = int(pick([0, 1, 2, 13, 18, 23, 100, 2**31 + 1, -1], rng))
    else:
        model.ir_version = int(pick([0, 3, 9, 11, 12, 100, -1], rng))


def metadata(model: Model, rng: Rng) -> None:
    entry = pick(model.metadata_props, rng)
    entry.value = pick(["", "{}", "[]", "null", "0", "-1", "1e999", "NaN", '{"size": 0}', "x" * 1000, "[" * 9000], rng)


def outputs(model: Model, rng: Rng) -> None:
    """A value in the middle is an output of the graph, or the one output another."""
    name = pick([*all_values(model), "nothing"], rng)
    if rng.random() < 0.5:
        model.graph.output.append(helper.make_empty_tensor_value_info(name))
    else:
        model.graph.output[0].name = name


MUTATIONS: list[Callable[[Model, Rng], None]] = [
    *[attribute_value] * 4,
    attribute_dropped,
    *[tensor_values] * 2,
    *[tensor_shape] * 4,
    *[consistent_width] * 3,
    *[tensor_type] * 2,
    tensor_data,
    tensor_removed,
    *[tensor_as_input] * 2,
    *[edge] * 2,
    output,
    operator,
    nodes,
    *[interface] * 2,
    *[standard_node] * 4,
    function,
    versions,
    metadata,
    *[outputs] * 2,
]


#: What changing a model that was changed before may raise.
MISFITS = (IndexError, ValueError, TypeError, OverflowError, StopIteration, AttributeError, KeyError, ValidationError)


def mutate(model: Model, rng: Rng) -> list[str]:
    """Applies one to three mutations; those that do not fit the model are left out. Returns their names."""
    names = []
    for _ in range(int(rng.integers(1, 4))):
        mutation = MUTATIONS[int(rng.integers(len(MUTATIONS)))]
        try:
            mutation(model, rng)
        except MISFITS:
            continue
        names.append(mutation.__name__)
    return names
