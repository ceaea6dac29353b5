"""Weights in files beside a model: which files, and how many bytes, before anything of them is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import onnx

from ivit_onnx.budgets import WEIGHT_BYTES, check_expansion
from ivit_onnx.errors import ModelError
from ivit_onnx.inputs import check_input, reason_of

__all__ = ["check_external_data", "external_files"]


def check_external_data(model: onnx.ModelProto, folder: Path) -> None:
    """Raise ModelError unless all external data are inside regular files in `folder`, and few enough to be loaded.

    Many tensors may name the same bytes, each of which would be loaded for each of them.
    """
    sizes: dict[str, int] = {}
    wanted = 0
    for tensor in _tensors(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        told = {entry.key: entry.value for entry in tensor.external_data}
        location = told.get("location", "")
        if location not in sizes:
            sizes[location] = _size(folder, location)
        offset, length = (_number(told, key) for key in ("offset", "length"))
        offset = offset or 0
        length = max(sizes[location] - offset, 0) if length is None else length
        if offset + length > sizes[location]:
            raise ModelError(
                f"tensor {tensor.name[:200]!r}: expected its data inside {location!r} of {sizes[location]} bytes, "
                f"found bytes {offset} to {offset + length}; copy the file again"
            )
        wanted += length
        WEIGHT_BYTES.check(wanted, "external data", ModelError)
    check_expansion(sum(sizes.values()), wanted, "external data", ModelError)


def external_files(model: onnx.ModelProto, folder: Path) -> list[Path]:
    """The files in `folder`, that of the model, that hold tensors of the model, each once, sorted."""
    external = (tensor for tensor in _tensors(model) if tensor.data_location == onnx.TensorProto.EXTERNAL)
    places = {entry.value for tensor in external for entry in tensor.external_data if entry.key == "location"}
    return [folder / place for place in sorted(places)]


def _size(folder: Path, location: str) -> int:
    place = PurePosixPath(location.replace("\\", "/"))
    if not place.parts or place.is_absolute() or ".." in place.parts:
        raise ModelError(f"expected external data in the folder of the model, found the location {location[:200]!r}")
    try:
        return check_input(folder / location)
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read external data {location[:200]!r}: {reason_of(error)}") from None


def _number(told: dict[str, str], key: str) -> int | None:
    text = told.get(key)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise ModelError(f"external data: expected a number of bytes as {key}, found {text[:200]!r}")
    return int(text)


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    yield from _of_graph(model.graph)
    for function in model.functions:
        for attribute in function.attribute_proto:
            yield from _of_attribute(attribute)
        yield from _of_nodes(function.node)


def _of_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield from _of_attribute(attribute)


def _of_attribute(attribute: onnx.AttributeProto) -> Iterator[onnx.TensorProto]:
    # Only what is there is looked at: reading an absent field makes an empty message of it.
    for field, value in attribute.ListFields():
        if field.name in ("t", "tensors"):
            yield from [value] if field.name == "t" else value
        elif field.name in ("sparse_tensor", "sparse_tensors"):
            for sparse in [value] if field.name == "sparse_tensor" else value:
                yield from (sparse.values, sparse.indices)
        elif field.name in ("g", "graphs"):
            for graph in [value] if field.name == "g" else value:
                yield from _of_graph(graph)
