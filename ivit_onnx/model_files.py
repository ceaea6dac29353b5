"""Reads model files of anybody: what would crash or occupy a reader, or ONNX Runtime, is refused here."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, Message

from ivit_onnx.budgets import FIELDS, INPUT_ELEMENTS, MODEL_BYTES
from ivit_onnx.errors import ModelError
from ivit_onnx.external_data import check_external_data
from ivit_onnx.function_calls import all_nodes, check_calls, inner_graphs
from ivit_onnx.inputs import read_input, reason_of
from ivit_onnx.protobuf_fields import count_fields

__all__ = ["load_graph", "load_with_weights", "parse_model"]

#: Operators of any number of inputs. Kernels of ONNX Runtime crash where one of these is left out.
_VARIADIC = frozenset({"Max", "Mean", "Min", "Sum"})


def parse_model(path: str | os.PathLike[str]) -> onnx.ModelProto:
    """The protobuf of a file, without external data; ModelError when it is missing, damaged or beyond the budgets."""
    try:
        content = read_input(path, MODEL_BYTES)
        FIELDS.check(count_fields(content, onnx.ModelProto.DESCRIPTOR, FIELDS.most), path, ModelError)
        return onnx.load_model_from_string(content)
    except FileNotFoundError:
        raise ModelError(f"model {path} does not exist") from None
    except IsADirectoryError:
        raise ModelError(f"{path} is a folder, expected an ONNX file") from None
    except (OSError, DecodeError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {reason_of(error)}") from None


def load_graph(path: str | os.PathLike[str]) -> onnx.ModelProto:
    """The model without external data; ModelError when it is missing, damaged, not ONNX or beyond the budgets.

    That external data could be loaded is checked too: ONNX Runtime loads them with the model.
    """
    model = parse_model(path)
    if not model.graph.node:
        raise ModelError(f"{path} is not an ONNX model, or an empty one")
    if not _is_text(model):
        raise ModelError(f"{path} is damaged: it has names that are not valid UTF-8")
    check_calls(model)
    for value in _declared(model):
        if any(
            dim.dim_value < 0 for dim in value.type.tensor_type.shape.dim
        ):  # readers behind this one end the process
            raise ModelError(f"the model is not valid: value {value.name[:200]!r} has a dimension below 0")
    for source in model.graph.input:
        dims = [dim.dim_value for dim in source.type.tensor_type.shape.dim if dim.dim_value > 0]
        INPUT_ELEMENTS.check(math.prod(dims), f"input {source.name[:200]!r}", ModelError)
    check_external_data(model, Path(path).parent)
    for node in all_nodes(model):
        if node.op_type in _VARIADIC and "" in node.input:
            raise ModelError(f"the model is not valid: an input of {node.op_type} {node.name!r} is left out")
    return model


def load_with_weights(path: str | os.PathLike[str]) -> onnx.ModelProto:
    """The model with external data; ModelError when anything of it is missing or damaged."""
    model = load_graph(path)
    try:
        # Beside the path as it is given, also where that is a link: there ONNX Runtime looks.
        onnx.load_external_data_for_model(model, str(Path(path).parent))
    except (OSError, DecodeError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(f"cannot read the weights of {path}: {' '.join(str(error).split())}") from None
    return model


def _declared(model: onnx.ModelProto) -> Iterator[onnx.ValueInfoProto]:
    """All values whose types the file declares."""
    graphs = [model.graph]
    for node in all_nodes(model):
        graphs += inner_graphs(node)
    for graph in graphs:
        yield from (*graph.input, *graph.output, *graph.value_info)
    for function in model.functions:
        yield from function.value_info


def _is_text(message: Message) -> bool:
    """Whether every string in the message is text; bytes that are not UTF-8 come as bytes, or not at all."""
    try:
        for field, value in message.ListFields():
            if field.type not in (field.TYPE_STRING, field.TYPE_MESSAGE):
                continue
            for item in (value,) if isinstance(value, (str, bytes, Message)) else value:
                if isinstance(item, bytes) or (isinstance(item, Message) and not _is_text(item)):
                    return False
    except UnicodeDecodeError:
        return False
    return True
