"""Tensors of a file: as many numbers as the shape says, in the one field that is for the type."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper

from ivit_onnx.proof.report import Finding

__all__ = ["tensor_deviations"]

_FIELDS: Mapping[int, str] = {
    **dict.fromkeys(
        (
            TensorProto.INT8,
            TensorProto.UINT8,
            TensorProto.INT16,
            TensorProto.UINT16,
            TensorProto.INT32,
            TensorProto.BOOL,
        ),
        "int32_data",
    ),
    TensorProto.INT64: "int64_data",
    TensorProto.UINT32: "uint64_data",
    TensorProto.UINT64: "uint64_data",
    TensorProto.FLOAT: "float_data",
}
_DATA = frozenset({"raw_data", "string_data", "double_data", *_FIELDS.values()})


def tensor_deviations(model: onnx.ModelProto) -> Iterator[Finding]:
    """What is wrong with the numbers of initializers and of attributes. Weights have to be loaded."""
    for tensor in model.graph.initializer:
        for message in _messages(tensor):
            yield Finding(tensor.name, tensor.name, message)
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        for node in nodes:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    for message in _messages(attribute.t):
                        yield Finding.of(node, f"attribute {attribute.name}: {message}")


def _messages(tensor: TensorProto) -> Iterator[str]:
    if tensor.data_location == TensorProto.EXTERNAL:
        yield "its numbers are in another file, expected them in the model"
        return
    if tensor.data_type not in _FIELDS:
        return  # no integer and no scale: the analysis finds it where it is read
    if any(dim < 0 for dim in tensor.dims):
        yield f"has dimensions {list(tensor.dims)}, expected none below 0"
        return
    found = {field.name for field, _ in tensor.ListFields()} & _DATA
    field = _FIELDS[tensor.data_type]
    if len(found) > 1 or not found <= {field, "raw_data"}:
        yield f"expected numbers in raw_data or {field}, found {', '.join(sorted(found))}"
        return
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    count = len(tensor.raw_data) / dtype.itemsize if tensor.HasField("raw_data") else len(getattr(tensor, field))
    if count != math.prod(tensor.dims):
        yield f"has {count:g} numbers, expected {math.prod(tensor.dims)} as in its shape"
        return
    if tensor.data_type == TensorProto.BOOL:
        numbers = np.frombuffer(tensor.raw_data, np.uint8) if tensor.raw_data else np.asarray(tensor.int32_data)
        limit = (0, 1)
    elif tensor.HasField("raw_data") or tensor.data_type == TensorProto.FLOAT:
        return
    else:
        numbers, limit = np.asarray(getattr(tensor, field)), (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if numbers.size and not (limit[0] <= numbers.min() and numbers.max() <= limit[1]):
        yield f"has numbers {numbers.min()}..{numbers.max()}, expected {limit[0]}..{limit[1]}"
