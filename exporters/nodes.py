"""Values and nodes of a graph: every operator call is one documented node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from ivit_onnx.exporters.contract import contract

__all__ = ["BATCH", "ROLE", "Dim", "constant", "dtype", "operator", "value"]

BATCH = "batch"
#: Key under which a node remembers what it does in the network, for the documentation of what it becomes part of.
ROLE = "ivit.role"
Dim = int | str


def value(name: str, element_type: str, shape: Sequence[Dim], doc: str | None = None) -> ir.Value:
    """A value; `element_type` is numpy's name."""
    element = ir.DataType.from_numpy(np.dtype(element_type))
    return ir.Value(name=name, type=ir.TensorType(element), shape=ir.Shape(shape), doc_string=doc)


def dtype(of: ir.Value) -> str:
    """numpy's name of the element type of a value that has one."""
    assert of.dtype is not None
    return str(of.dtype.numpy())


def constant(name: str, array: np.ndarray[Any, Any]) -> ir.Value:
    """An initializer; it shares the memory of a contiguous array."""
    tensor = ir.tensor(np.asarray(array, order="C"), name=name)
    return ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor)


def operator(
    name: str | None,
    role: str,
    op_type: str,
    inputs: Sequence[ir.Value | None],
    attributes: Mapping[str, Any],
    outputs: Sequence[ir.Value],
) -> ir.Node:
    """The node of an operator; `role` is what it does in the network."""
    known = contract(op_type)
    doc = " ".join(filter(None, (role, known.doc)))
    node = ir.node(op_type, inputs, attributes, domain=known.domain, outputs=outputs, name=name, doc_string=doc)
    node.meta[ROLE] = role
    return node
